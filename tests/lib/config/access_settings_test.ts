import assert from "node:assert/strict";
import { warningsOf } from "../../../lib/config/access_settings.ts";
import { inspectConfig, readConfig } from "../../../lib/config/config.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const JWKS = "https://a.example/jwks.json";

function problems(env: Record<string, string>): readonly string[] {
  return inspectConfig(env).problems;
}

Deno.test("PUBLISH_KEY_ROOMS limits keys of PUBLISH_KEYS to rooms", () => {
  const env = { PUBLISH_KEYS: "web:1,batch:2,all:3" };
  const { publishKeys } = readConfig({
    ...env,
    PUBLISH_KEY_ROOMS: "batch=news.*|chat, web=*",
  });
  assert.deepEqual(publishKeys.map(({ name, rooms }) => [name, rooms]), [
    ["web", ["*"]],
    ["batch", ["news.*", "chat"]],
    ["all", undefined],
  ]);
  for (
    const [value, why] of [
      ["other=chat", /entry 1 does not begin with the name of a key/],
      ["web=a,Web=chat", /entry 2 does not begin/],
      ["__proto__=chat", /does not begin/],
      ["web", /names no rooms for "web"/],
      ["web=", /names no rooms/],
      ["web=|", /names no rooms/],
      ["web=a,web=b", /has "web" twice/],
      ["web=*.a", /in which a \* is not at the end/],
      ["web=a|..", /not valid as the name of a room/],
    ] as const
  ) {
    const [problem = "", ...others] = problems({
      ...env,
      PUBLISH_KEY_ROOMS: value,
    });
    assert.deepEqual(others, [], value);
    assert.match(problem, why);
    assert.match(problem, /^PUBLISH_KEY_ROOMS /);
  }
});

Deno.test("a secret in the place of a key's name is not shown", () => {
  const [problem = ""] = problems({ PUBLISH_KEY_ROOMS: "hunter2=chat" });
  assert.ok(!problem.includes("hunter2"), problem);
});

Deno.test("TOKEN_SECRET needs 32 bytes, counted in UTF-8, and is not shown", () => {
  assert.deepEqual(readConfig({ TOKEN_SECRET: "é".repeat(16) }).tokens, {
    secrets: ["é".repeat(16)],
    jwksUrl: undefined,
    issuer: undefined,
    audience: undefined,
  });
  const [problem = "", ...others] = problems({
    TOKEN_SECRET: `${SECRET},hunter2`,
  });
  assert.deepEqual(others, []);
  assert.match(problem, /^TOKEN_SECRET entry 2 has 7 bytes .* at least 32/);
  assert.ok(!problem.includes("hunter2"));
});

Deno.test("TOKEN_JWKS_URL is https:, or http: on a loopback address, and is not shown", () => {
  for (
    const url of [
      JWKS,
      "http://localhost:8080/x",
      "http://127.0.0.1/x",
      "http://[::1]:1/x",
    ]
  ) assert.equal(readConfig({ TOKEN_JWKS_URL: url }).tokens?.jwksUrl, url);
  const url = "http://a.example/jwks.json?key=hunter2";
  const [problem = ""] = problems({ TOKEN_JWKS_URL: url });
  assert.match(problem, /^TOKEN_JWKS_URL is not an https: URL/);
  assert.ok(!problem.includes("hunter2"));
});

Deno.test("TOKEN_ROOMS names the template that is not valid", () => {
  const env = { TOKEN_SECRET: SECRET };
  assert.deepEqual(
    problems({ ...env, TOKEN_ROOMS: "user.{sub}=sub, org.{o}*=sub, x=y" })
      .map((problem) => problem.replace(/;.*/, "")),
    [
      'TOKEN_ROOMS has "org.{o}*=sub", which has no separator after {o}',
      'TOKEN_ROOMS has "x=y", which grants "y"',
    ],
  );
});

Deno.test("PUBLIC_ROOMS has names and patterns that end in *", () => {
  const env = { TOKEN_SECRET: SECRET };
  assert.deepEqual(
    readConfig({ ...env, PUBLIC_ROOMS: "a, b.*, *" }).publicRooms,
    ["a", "b.*", "*"],
  );
  for (const rooms of ["*.a", "a.*.b", "a**", "..", "a\u0007"]) {
    const found = problems({ ...env, PUBLIC_ROOMS: rooms });
    assert.equal(found.length, 1, rooms);
    assert.match(found[0] ?? "", /^PUBLIC_ROOMS has /);
  }
});

Deno.test("settings that concern tokens are refused if no tokens are verified", () => {
  for (
    const env of [
      { TOKEN_ISSUER: "a" },
      { TOKEN_AUDIENCE: "a" },
      { TOKEN_ROOMS: "user.{sub}=sub" },
      { PUBLIC_ROOMS: "lobby" },
    ]
  ) {
    const [problem = "", ...others] = problems(env);
    assert.deepEqual(others, []);
    assert.match(problem, /has no effect without tokens/);
    assert.deepEqual(problems({ ...env, TOKEN_SECRET: SECRET }), []);
    assert.deepEqual(problems({ ...env, TOKEN_JWKS_URL: JWKS }), []);
  }
});

Deno.test("warningsOf() warns of a key set without an audience, and of nothing else", () => {
  const warnings = (env: Record<string, string>) => warningsOf(readConfig(env));
  assert.match(
    warnings({ TOKEN_JWKS_URL: JWKS })[0] ?? "",
    /^TOKEN_AUDIENCE is unset/,
  );
  assert.deepEqual(warnings({}), []);
  assert.deepEqual(warnings({ TOKEN_SECRET: SECRET }), []);
  assert.deepEqual(
    warnings({ TOKEN_JWKS_URL: JWKS, TOKEN_AUDIENCE: "chat" }),
    [],
  );
});
