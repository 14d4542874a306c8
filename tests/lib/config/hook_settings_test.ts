import assert from "node:assert/strict";
import { inspectConfig } from "../../../lib/config/config.ts";
import { maskSetting } from "../../../lib/config/mask.ts";
import { warningsOf } from "../../../lib/config/warnings.ts";

const CONNECT = { CONNECT_HOOK_URL: "http://app.internal/connect" };
const PUBLISH = { PUBLISH_HOOK_URL: "http://localhost/publish?key=s3cr3t" };
const JOIN = { JOIN_HOOK_URL: "https://app.example/join?key=s3cr3t" };

function problemsOf(env: Record<string, string>): readonly string[] {
  return inspectConfig(env).problems;
}

Deno.test("hooks are undefined by default, and have defaults if a URL is set", () => {
  assert.equal(inspectConfig({}).config.hooks, undefined);
  const { config, problems } = inspectConfig({ ...CONNECT, ...JOIN });
  assert.deepEqual(problems, []);
  assert.deepEqual(config.hooks, {
    connectUrl: CONNECT.CONNECT_HOOK_URL,
    joinUrl: JOIN.JOIN_HOOK_URL,
    publishUrl: undefined,
    rooms: ["*"],
    headers: ["cookie", "authorization"],
    timeoutMs: 1000,
    secret: undefined,
  });
});

Deno.test("the settings of hooks are read", () => {
  const { config, problems } = inspectConfig({
    ...JOIN,
    HOOK_ROOMS: "chat, news.*",
    HOOK_HEADERS: "Cookie, X-Tenant",
    HOOK_TIMEOUT_MS: "250",
    HOOK_SECRET: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  });
  assert.deepEqual(problems, []);
  assert.deepEqual(config.hooks, {
    connectUrl: undefined,
    joinUrl: JOIN.JOIN_HOOK_URL,
    publishUrl: undefined,
    rooms: ["chat", "news.*"],
    headers: ["cookie", "x-tenant"],
    timeoutMs: 250,
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  });
  const none = inspectConfig({ ...JOIN, HOOK_HEADERS: "-" });
  assert.deepEqual(none.config.hooks?.headers, []);
});

Deno.test("settings of hooks that are not valid are refused, without secrets in the problem", () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ CONNECT_HOOK_URL: "" }, /^CONNECT_HOOK_URL is set and empty/],
    [{ JOIN_HOOK_URL: " " }, /^JOIN_HOOK_URL is set and empty/],
    [{ ...CONNECT, HOOK_SECRET: "" }, /^HOOK_SECRET is set and empty/],
    [{ ...JOIN, HOOK_ROOMS: "" }, /^HOOK_ROOMS is set and empty/],
    [{ CONNECT_HOOK_URL: "app/connect" }, /^CONNECT_HOOK_URL is not an http/],
    [{ CONNECT_HOOK_URL: "ftp://s3cr3t" }, /^CONNECT_HOOK_URL is not an http/],
    [{ JOIN_HOOK_URL: "http://ann:s3cr3t@app/" }, /^JOIN_HOOK_URL is not an/],
    [{ ...CONNECT, HOOK_SECRET: "whsec_s3cr3t!" }, /^HOOK_SECRET is not valid/],
    [{ ...CONNECT, HOOK_TIMEOUT_MS: "0" }, /^HOOK_TIMEOUT_MS is "0", not a/],
    [{ ...CONNECT, HOOK_HEADERS: "a b" }, /^HOOK_HEADERS has "a b"/],
    [{ ...CONNECT, HOOK_HEADERS: "host" }, /^HOOK_HEADERS has "host"/],
    [{ ...CONNECT, HOOK_HEADERS: "Webhook-Id" }, /^HOOK_HEADERS has "webhook/],
    [{ ...CONNECT, HOOK_HEADERS: "-,cookie" }, /^HOOK_HEADERS has "-" and/],
    [{ ...CONNECT, HOOK_HEADERS: "*" }, /^HOOK_HEADERS has "\*", .* list each/],
    [{ ...CONNECT, HOOK_HEADERS: "x-*" }, /^HOOK_HEADERS has "x-\*", .* list/],
    [{ ...CONNECT, HOOK_HEADERS: "," }, /^HOOK_HEADERS is a list without/],
    [{ ...JOIN, HOOK_ROOMS: "a*b" }, /^HOOK_ROOMS has "a\*b"/],
    [{ ...CONNECT, HOOK_ROOMS: "chat" }, /^HOOK_ROOMS has no effect without J/],
    [{ HOOK_ROOMS: "chat" }, /^HOOK_ROOMS has no effect without a hook/],
    [{ HOOK_HEADERS: "cookie" }, /^HOOK_HEADERS has no effect without a hook/],
    [{ HOOK_TIMEOUT_MS: "9" }, /^HOOK_TIMEOUT_MS has no effect without a hook/],
    [{ HOOK_SECRET: "s3cr3t" }, /^HOOK_SECRET has no effect without a hook/],
    [
      { ...CONNECT, ALLOWED_ORIGINS: "*" },
      /^ALLOWED_ORIGINS is \*, and a hook/,
    ],
    [{ PUBLISH_HOOK_URL: "app" }, /^PUBLISH_HOOK_URL is not an http/],
    [{ PUBLISH_HOOK_URL: " " }, /^PUBLISH_HOOK_URL is set and empty/],
    [
      { ...PUBLISH, ALLOWED_ORIGINS: "*" },
      /^ALLOWED_ORIGINS is \*, and a hook/,
    ],
    [{ ...PUBLISH, PUBLIC_ROOMS: "a" }, /^PUBLIC_ROOMS has no effect without/],
    [{ PUBLIC_ROOMS: "a" }, /^PUBLIC_ROOMS has no effect without tokens and/],
    [{ ...JOIN, TOKEN_ROOMS: "u.{sub}=sub" }, /^TOKEN_ROOMS has no effect/],
  ];
  for (const [env, expected] of cases) {
    const problems = problemsOf(env);
    const text = problems.join("\n");
    assert.ok(
      problems.some((problem) => expected.test(problem)),
      `${JSON.stringify(env)}: ${text}`,
    );
    assert.doesNotMatch(text, /s3cr3t/);
  }
});

Deno.test("settings that a hook makes useful are accepted with it", () => {
  for (
    const env of [
      { ...CONNECT, PUBLIC_ROOMS: "lobby", TOKEN_ROOMS: "user.{sub}=sub" },
      { ...JOIN, PUBLIC_ROOMS: "lobby" },
      { ...PUBLISH, HOOK_ROOMS: "chat", HOOK_TIMEOUT_MS: "100" },
      { ...CONNECT, ALLOWED_ORIGINS: "*", HOOK_HEADERS: "authorization" },
      { ...CONNECT, ALLOWED_ORIGINS: "https://example.com" },
    ]
  ) assert.deepEqual(problemsOf(env), [], JSON.stringify(env));
});

Deno.test("maskSetting() hides HOOK_SECRET and the query of the URLs of hooks", () => {
  const { settings } = inspectConfig({
    ...CONNECT,
    ...JOIN,
    ...PUBLISH,
    HOOK_SECRET: "plain secret",
  });
  const shown = new Map(
    settings.map((setting) => [setting.name, maskSetting(setting)]),
  );
  assert.equal(shown.get("HOOK_SECRET"), "****");
  assert.equal(shown.get("JOIN_HOOK_URL"), "https://app.example/join?****");
  assert.equal(shown.get("CONNECT_HOOK_URL"), CONNECT.CONNECT_HOOK_URL);
  assert.equal(
    shown.get("PUBLISH_HOOK_URL"),
    "http://localhost/publish?****",
  );
});

Deno.test("inspectConfig() returns no HOOK_SECRET if it is not valid, so that warnings can be asked for", () => {
  const inspection = inspectConfig({
    ...CONNECT,
    HOOK_SECRET: "whsec_!!!",
  });
  assert.equal(inspection.problems.length, 1);
  assert.equal(inspection.config.hooks?.secret, undefined);
  assert.doesNotThrow(() => warningsOf(inspection));
});

Deno.test("warningsOf() warns about a hook on another machine that is asked over http: without HOOK_SECRET", () => {
  const warnings = (env: Record<string, string>) =>
    warningsOf(inspectConfig(env));
  assert.match(`${warnings(CONNECT)}`, /^HOOK_SECRET is unset, /);
  assert.match(`${warnings({ ...JOIN, ...CONNECT })}`, /^HOOK_SECRET is unset/);
  assert.match(
    `${warnings({ PUBLISH_HOOK_URL: "http://app/" })}`,
    /^HOOK_SECRET is unset/,
  );
  for (
    const url of ["https://app.example/", "http://localhost/", "http://[::1]/"]
  ) {
    assert.deepEqual(warnings({ CONNECT_HOOK_URL: url }), [], url);
    assert.deepEqual(warnings({ JOIN_HOOK_URL: url }), [], url);
    assert.deepEqual(warnings({ PUBLISH_HOOK_URL: url }), [], url);
  }
});

Deno.test("warningsOf() warns about a short HOOK_SECRET", () => {
  const warnings = (secret: string) =>
    warningsOf(inspectConfig({ ...CONNECT, HOOK_SECRET: secret }));
  assert.match(`${warnings("short")}`, /HOOK_SECRET has less than 24 bytes/);
  assert.deepEqual(warnings("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), []);
});
