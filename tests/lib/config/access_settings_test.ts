import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { inspectConfig, readConfig } from "../../../lib/config/config.ts";
import { warningsOf } from "../../../lib/config/warnings.ts";
import { SECRET } from "../../support/tokens.ts";

const JWKS = "https://a.example/jwks.json";
/** A certificate of a key that was deleted, as identity providers show certificates: DER in base64. */
const CERTIFICATE =
  "MIIBbzCCARWgAwIBAgIUZIes7J2Nn59blnhmt3G3uLvNX4IwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBYTAgFw0yNjExMzAxNjAwNTFaGA8yMTI2MTEwNjE2MDA1MVowDDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGm69cIC6IR38pwHBMmeyavjmPVle0HpQKfCnbVo421OLfwnkzz1wStbagfm80n854+SGJ+bAYD/gVidXTo3yAqjUzBRMB0GA1UdDgQWBBRC+vCDcXEc7Z8t96zW9+cFhDWMYjAfBgNVHSMEGDAWgBRC+vCDcXEc7Z8t96zW9+cFhDWMYjAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIDs3l+Zb19EMibiPje3UGVu84kawLVDGe3eVd+KXGAKzAiEAr5WMcEAqDnBPWmyBdhd37SavVzEFGRQcFhkpBb1lshs=";

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
      [
        "other=chat",
        /entry 1 does not begin with the name of a key; use web, batch, all from/,
      ],
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

Deno.test("ALLOWED_ORIGINS says how to write an origin", () => {
  for (
    const [value, advice] of [
      ["https://a.example/", "write https://a.example, as browsers send it"],
      ["https://A.example:443", "write https://a.example, as browsers send it"],
      [
        "http://a.example:3000/chat",
        "write http://a.example:3000, as browsers",
      ],
      ["https://*.example", "list each origin, because * is no pattern"],
      ["chrome-extension://*", "list each origin, because * is no pattern"],
      ["Capacitor://localhost/", "write capacitor://localhost, as browsers"],
      ["app://./index.html", "write app://., as browsers send it"],
      ["app://", "write it as in https://example.com"],
      ["app://user@host", "write it as in https://example.com"],
      ["app:host", "write it as in https://example.com"],
      ["ftp://a.example", "write it as in https://example.com"],
      ["data://a.example", "write it as in https://example.com"],
      ["null", "all local files and sandboxed pages have it, so load the page"],
      ["file://", "all local files and sandboxed pages have it"],
      ["file:///opt/app/index.html", "all local files and sandboxed pages"],
      ["a.example", "write it as in https://example.com"],
      ["localhost:3000", "write it as in https://example.com"],
      ["wss://A.example", "write https://a.example, as browsers send it"],
      ["ws://localhost:3000/", "write http://localhost:3000, as browsers"],
      ["https://a.example;https://b.example", "separate origins with commas"],
      ["https://a.example https://b.example", "separate origins with commas"],
    ] as const
  ) {
    const [problem = "", ...others] = problems({ ALLOWED_ORIGINS: value });
    assert.deepEqual(others, [], value);
    assert.ok(problem.includes(`not an origin; ${advice}`), problem);
  }
});

Deno.test("ALLOWED_ORIGINS accepts the origins of web views and browser extensions", () => {
  const origins = [
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "http://tauri.localhost",
    "app://.",
    "app://-",
    "app://obsidian.md",
    "vscode-webview://1a2b3c4d-0000",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://4c2f7d3e-9b1a-4f6e-8f70-0123456789ab",
    "safari-web-extension://E6BA2B15-3D9A-4E1F-8E2B-000000000000",
  ];
  const config = readConfig({ ALLOWED_ORIGINS: origins.join(", ") });
  assert.deepEqual(config.allowedOrigins, origins);
});

Deno.test("a secret in the place of a key's name is not shown", () => {
  const [problem = ""] = problems({ PUBLISH_KEY_ROOMS: "hunter2=chat" });
  assert.ok(!problem.includes("hunter2"), problem);
});

Deno.test("TOKEN_SECRET refuses public keys and certificates, with which anyone could sign tokens", () => {
  for (
    const { publicKey } of [
      generateKeyPairSync("rsa", { modulusLength: 2048 }),
      generateKeyPairSync("ec", { namedCurve: "P-256" }),
      generateKeyPairSync("ed25519"),
    ]
  ) {
    const pem = String(publicKey.export({ format: "pem", type: "spki" }));
    const lines = pem.trim().split("\n");
    const jwk = JSON.stringify(publicKey.export({ format: "jwk" }));
    for (
      const value of [
        pem,
        lines.join("\\n"),
        lines.slice(1, -1).join(""),
        `${SECRET},${pem}`,
        jwk,
        `{"keys":[${jwk}]}`,
      ]
    ) {
      const found = problems({ TOKEN_SECRET: value });
      assert.deepEqual(found, [
        "TOKEN_SECRET has a key or a certificate instead of a secret, and anyone who knows a public key could sign tokens with it; set TOKEN_JWKS_URL to the key set of the issuer instead",
      ], value);
    }
  }
  assert.match(problems({ TOKEN_SECRET: CERTIFICATE })[0] ?? "", /certificate/);
  const secret = randomBytes(48).toString("base64");
  assert.deepEqual(problems({ TOKEN_SECRET: secret }), []);
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

Deno.test("TOKEN_ROOMS refuses templates that match no room which anybody means", () => {
  const env = { TOKEN_SECRET: SECRET };
  for (
    const [template, why] of [
      ["user.{sub}=sub; org.{o}=sub", /more than one template .* commas$/],
      ["a=sub b=sub+pub", /more than one template in it; separate .* commas$/],
      ["user.$sub=sub", /has \$sub, .*; write {sub}$/],
      ["user.${sub}=sub", /has \${sub}, .*; write {sub}$/],
      ["user.:sub=sub", /has :sub, .*; write {sub}$/],
      [":sub=sub", /has :sub, .*; write {sub}$/],
      ["org.<org_id>.*=sub", /has <org_id>, .*; write {org_id}$/],
      ["org.{groups[0]}=sub", /has {groups\[0\]}, but an item of a list/],
    ] as const
  ) {
    const [problem = "", ...others] = problems({
      ...env,
      TOKEN_ROOMS: template,
    });
    assert.deepEqual(others, [], template);
    assert.ok(
      problem.startsWith(`TOKEN_ROOMS has ${JSON.stringify(template)}, which `),
      problem,
    );
    assert.match(problem, why);
  }
  for (
    const template of [
      "org:{org_id}=sub",
      "chat:lobby=sub",
      "price.$AAPL=sub",
      "a;b=sub",
      "a=b=sub",
      "{https://example.com/org}=sub",
    ]
  ) assert.deepEqual(problems({ ...env, TOKEN_ROOMS: template }), [], template);
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

Deno.test("warningsOf() warns if anyone who reaches HOST can join every room", () => {
  const open = { HOST: "0.0.0.0", OPEN: "true" };
  const keyed = { HOST: "10.0.0.1", PUBLISH_KEYS: `web:${SECRET}` };
  for (const env of [open, keyed]) {
    const warnings = warningsOf(inspectConfig(env));
    assert.equal(warnings.length, 1);
    assert.match(`${warnings}`, /^HOST is .+ can join every room; set TOKEN_/);
    for (
      const guard of [
        { HOST: "127.0.0.1" },
        { TOKEN_SECRET: SECRET },
        { CONNECT_HOOK_URL: "https://app.example/connect" },
        { JOIN_HOOK_URL: "https://app.example/join" },
      ]
    ) {
      const warnings = warningsOf(inspectConfig({ ...env, ...guard }));
      assert.ok(!/can join/.test(`${warnings}`));
      // Who may join is decided, but anyone may put clients into rooms.
      const isUnguarded = env === open && guard.HOST === undefined;
      assert.equal(warnings.length, isUnguarded ? 1 : 0);
      if (isUnguarded) assert.match(`${warnings}`, /^HOST is .+ PUBLISH_KEYS/);
    }
  }
  const some = { JOIN_HOOK_URL: "https://app.example", HOOK_ROOMS: "news.*" };
  assert.match(
    `${warningsOf(inspectConfig({ ...open, ...some }))}`,
    /can join every room that HOOK_ROOMS does not match; set/,
  );
});

Deno.test("warningsOf() warns if anyone may publish and join through a proxy in front of a loopback HOST", () => {
  const keyed = { PUBLISH_KEYS: `web:${SECRET}` };
  const tokens = { TOKEN_SECRET: SECRET };
  const warned = (env: Record<string, string>): string[] =>
    warningsOf(inspectConfig(env)).map((text) => {
      assert.doesNotMatch(text, new RegExp(SECRET));
      return text.replace(/^.* the proxy /, "").replace(/[,;].*$/, "");
    });
  const publish = "may publish";
  const join = "can join every room";
  const proxies: Record<string, string>[] = [
    { TRUSTED_PROXIES: "127.0.0.1" },
    { ALLOWED_ORIGINS: "https://chat.example.com" },
    { ALLOWED_ORIGINS: "http://localhost:3000,http://10.0.0.7" },
    { ALLOWED_ORIGINS: "*" },
    { TRUSTED_PROXIES: "::1", HOST: "localhost" },
  ];
  for (const proxy of proxies) {
    assert.deepEqual(warned(proxy), [join, publish]);
    assert.deepEqual(warned({ ...proxy, OPEN: "false" }), [join, publish]);
    assert.deepEqual(warned({ ...proxy, OPEN: "true" }), [join]);
    assert.deepEqual(warned({ ...proxy, ...keyed }), [join]);
    assert.deepEqual(warned({ ...proxy, ...tokens }), [publish]);
    assert.deepEqual(warned({ ...proxy, ...keyed, ...tokens }), []);
    const internal = { ...proxy, INTERNAL_PORT: "4100" };
    assert.deepEqual(warned(internal), [join, "may publish over Socket.IO"]);
    assert.deepEqual(warned({ ...internal, ...tokens }), []);
  }
  for (
    const local of [
      {},
      {
        ALLOWED_ORIGINS: "http://localhost:3000,http://127.0.0.1,http://[::1]",
      },
      // Apps and extensions on this machine need no proxy.
      {
        ALLOWED_ORIGINS:
          "http://tauri.localhost,app://.,chrome-extension://abcdefgh",
      },
    ]
  ) assert.deepEqual(warned(local), []);
  assert.deepEqual(
    warningsOf(inspectConfig({ ...tokens, TRUSTED_PROXIES: "127.0.0.1" })),
    [
      "HOST is 127.0.0.1, but TRUSTED_PROXIES is set, as for a proxy in front, and anyone who reaches the proxy may publish, delete histories, put clients into any room, whatever their tokens and hooks allow, disconnect and revoke users; set PUBLISH_KEYS",
    ],
  );
});

Deno.test("warningsOf() names the publish keys that may be guessed, without their secrets", () => {
  const warnings = warningsOf(inspectConfig({
    PUBLISH_KEYS: `web:hunter2,batch:${SECRET.slice(0, 16)},cron:hunter3`,
  }));
  assert.equal(warnings.length, 1);
  assert.match(`${warnings}`, /less than 16 bytes \(web, cron\)/);
  assert.doesNotMatch(`${warnings}`, /hunter/);
});

Deno.test("warningsOf() warns of a key set without an audience, and of nothing else", () => {
  const warnings = (env: Record<string, string>) =>
    warningsOf(inspectConfig(env));
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

Deno.test("warningsOf() warns of an issuer or an audience with a comma, because it is one text", () => {
  for (const name of ["TOKEN_ISSUER", "TOKEN_AUDIENCE"]) {
    const warnings = warningsOf(
      inspectConfig({ TOKEN_SECRET: SECRET, [name]: "a,b" }),
    );
    assert.equal(warnings.length, 1);
    assert.ok(`${warnings}`.startsWith(`${name} has a comma and is one text`));
  }
});

Deno.test("warningsOf() warns of OPEN with PUBLISH_KEYS, because it has no effect", () => {
  const env = { PUBLISH_KEYS: `web:${SECRET}`, TOKEN_SECRET: SECRET };
  for (const HOST of ["127.0.0.1", "0.0.0.0"]) {
    const warned = (OPEN: string): readonly string[] =>
      warningsOf(inspectConfig({ ...env, HOST, OPEN }));
    const [warning, ...others] = warned("true");
    assert.match(`${warning}`, /^OPEN has no effect with PUBLISH_KEYS, /);
    assert.deepEqual(others, []);
    assert.deepEqual(warned("false"), []);
  }
});

Deno.test("warningsOf() warns about names and keys that are probably several, and about patterns in ROOMS", () => {
  const warnings = (env: Record<string, string>) =>
    warningsOf(inspectConfig(env));
  const tokens = { TOKEN_SECRET: SECRET };
  const redis = { REDIS_URL: "redis://redis" };
  for (
    const [env, setting] of [
      [{ ROOMS: "chat;news" }, "ROOMS"],
      [{ ROOMS: "chat news" }, "ROOMS"],
      [{ ROOMS: "chat,news.*" }, "ROOMS"],
      [{ LATEST_ROOMS: "a|b" }, "LATEST_ROOMS"],
      [{ CHANNELS: "a;b", ...redis }, "CHANNELS"],
      [{ PUBLIC_ROOMS: '["news"]', ...tokens }, "PUBLIC_ROOMS"],
      [{
        HOOK_ROOMS: "private;secret",
        JOIN_HOOK_URL: "http://localhost:3000/join",
      }, "HOOK_ROOMS"],
      [{ PUBLISH_KEYS: `a:${SECRET};b:${SECRET}` }, "PUBLISH_KEYS"],
      [{ PUBLISH_KEYS: `a:"${SECRET}"` }, "PUBLISH_KEYS"],
    ] as const
  ) {
    const [warning = "", ...others] = warnings(env);
    assert.match(warning, new RegExp(`^${setting} has .*(comma|list each)`));
    assert.ok(!warning.includes(SECRET));
    assert.deepEqual(others, []);
  }
  assert.deepEqual(
    warnings({
      ROOMS: "chat,room #1:a.b/c",
      PUBLISH_KEYS: `a:${SECRET}==`,
    }).map((warning) => warning.split(" as ")[0]),
    ['ROOMS has "room #1:a.b/c"'],
  );
});
