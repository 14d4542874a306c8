import assert from "node:assert/strict";
import { inspectConfig } from "../../../lib/config/config.ts";
import { foreignWarnings } from "../../../lib/config/foreign.ts";
import { warningsOf } from "../../../lib/config/warnings.ts";
import { SECRET } from "../../support/tokens.ts";
import { ENVIRONMENTS } from "./environments.ts";

Deno.test("warningsOf() warns about a setting of another server if the own one is unset, without its value", () => {
  const cases: [
    env: Record<string, string>,
    meant: string,
    own: Record<string, string>[],
  ][] = [
    [{ REDIS_HOST: "10.0.0.7" }, "REDIS_URL", [{
      REDIS_URL: "redis://10.0.0.7",
    }]],
    [{ JWT_SECRET: "hunter2" }, "TOKEN_SECRET", [
      { TOKEN_SECRET: SECRET },
      { TOKEN_JWKS_URL: "https://id.example/keys", TOKEN_AUDIENCE: "chat" },
      { CONNECT_HOOK_URL: "http://127.0.0.1/hook" },
    ]],
    [{ TOKEN_COOKIE_NAME: "hunter2" }, "TOKEN_COOKIE", [
      { TOKEN_SECRET: SECRET, TOKEN_COOKIE: "session" },
    ]],
    [{ CORS_ORIGIN: "https://a.example" }, "ALLOWED_ORIGINS", [
      { ALLOWED_ORIGINS: "http://localhost:3000" },
    ]],
  ];
  for (const [env, meant, own] of cases) {
    const [name] = Object.keys(env);
    assert.deepEqual(warningsOf(inspectConfig(env)), [
      `${name} is set and is not a setting of Roomcast, and ${meant} is unset; set ${meant} if that is what you mean`,
    ]);
    for (const settings of own) {
      assert.deepEqual(warningsOf(inspectConfig({ ...env, ...settings })), []);
    }
  }
});

Deno.test("foreignWarnings() returns nothing in the environments that shells, platforms and orchestrators make", () => {
  const {
    // A platform may set `REDISHOST` beside the URL, and a file may have the settings of any program.
    "platforms": _platforms,
    "the settings of other programs, in a shared file": _others,
    ...others
  } = ENVIRONMENTS;
  for (const [environment, names] of Object.entries(others)) {
    assert.deepEqual(foreignWarnings(names), [], environment);
  }
});

Deno.test("warningsOf() warns of an empty REDIS_URL, which counts as unset", () => {
  for (const blank of ["", " ", "\t\n"]) {
    const inspection = inspectConfig({ REDIS_URL: blank });
    assert.deepEqual(inspection.problems, []);
    assert.deepEqual(warningsOf(inspection), [
      "REDIS_URL is set and empty, so messages are kept only in this process and are lost when it stops; set a value, or unset it",
    ]);
  }
  assert.deepEqual(warningsOf(inspectConfig({})), []);
});

Deno.test("warningsOf() warns of KEY_PREFIX without REDIS_URL, because it has no effect", () => {
  const KEY_PREFIX = "chat";
  const [warning, ...others] = warningsOf(inspectConfig({ KEY_PREFIX }));
  assert.deepEqual(others, []);
  assert.match(`${warning}`, /^KEY_PREFIX has no effect without REDIS_URL, /);
  const REDIS_URL = "redis://localhost";
  assert.deepEqual(warningsOf(inspectConfig({ KEY_PREFIX, REDIS_URL })), []);
  // One warning is enough.
  const empty = warningsOf(inspectConfig({ KEY_PREFIX, REDIS_URL: "" }));
  assert.deepEqual(empty.map((text) => text.split(" ")[0]), ["REDIS_URL"]);
});
