/** Which routes exist at a port for clients, and which at a port for backends and operators. */
import assert from "node:assert/strict";
import { makeOriginRule } from "../../lib/access/origins.ts";
import { type AppReply, TestApp } from "../support/app.ts";
import { fetchDocumented } from "../support/documented.ts";
import { makeToken, SECRET } from "../support/tokens.ts";

const KEY = { authorization: "Bearer correct-horse" };
const SETTINGS = {
  PUBLISH_KEYS: "web:correct-horse",
  TOKEN_SECRET: SECRET,
};
const JSON_TYPE = { "content-type": "application/json" };

/** What backends and operators use, as a request with a publish key. */
const INTERNAL: readonly (readonly [
  method: string,
  path: string,
  body?: string,
])[] = [
  ["POST", "/publish", '{"message":1}'],
  ["POST", "/publish/batch", '{"messages":[{"message":1}]}'],
  ["POST", "/revoke", '{"user":"ann"}'],
  ["POST", "/disconnect", '{"user":"ann"}'],
  ["GET", "/nodes"],
  ["GET", "/rooms"],
  ["GET", "/rooms/chat"],
  ["POST", "/rooms/chat/join", '{"user":"ann"}'],
  ["POST", "/rooms/chat/leave", '{"client":"abcdefghijklmnop"}'],
  ["DELETE", "/rooms/chat/history"],
  ["GET", "/metrics"],
  ["GET", "/livez"],
  ["GET", "/readyz"],
];
/** What clients and the page use. */
const PUBLIC = [
  "/",
  "/static/page.js",
  "/roomcast.js",
  "/roomcast_publish.js",
  "/roomcast_state.js",
  "/roomcast.d.ts",
  "/page.json",
  "/socket.io/socket.io.js",
];

/** What both have. */
const SHARED = ["/openapi.json", "/docs", "/docs/docs.css", "/docs/base.css"];

function isMissing({ status, body }: AppReply): boolean {
  return status === 404 && body.error.code === "not_found";
}

for (const audience of ["clients", "backends", "everyone"] as const) {
  Deno.test(`a port for ${audience} has the routes for ${audience}, and no others`, async () => {
    await using app = new TestApp(SETTINGS, { audience });
    for (const [method, path, body = null] of INTERNAL) {
      for (const suffix of ["", "/"]) {
        const reply = await app.request(path + suffix, {
          method,
          headers: { ...KEY, ...JSON_TYPE },
          body,
        });
        const what = `${method} ${path}${suffix}`;
        assert.equal(isMissing(reply), audience === "clients", what);
        assert.ok(reply.status < 400 || audience === "clients", what);
      }
    }
    for (const path of PUBLIC) {
      const reply = await app.request(path);
      assert.equal(isMissing(reply), audience === "backends", path);
      assert.ok(reply.status === 200 || audience === "backends", path);
    }
    for (const path of SHARED) {
      const { status } = await app.request(path);
      assert.equal(status, 200, path);
    }
  });
}

Deno.test("an unknown path at a port for clients or for backends gets an error that names the other port", async () => {
  const cases = [
    ["clients", "/publish", "INTERNAL_PORT"],
    ["clients", "/metrics", "INTERNAL_PORT"],
    ["backends", "/", "PORT"],
    ["backends", "/socket.io/", "PORT"],
  ] as const;
  for (const [audience, path, port] of cases) {
    await using app = new TestApp(SETTINGS, { audience });
    const reply = await app.request(path, { headers: KEY });
    assert.ok(isMissing(reply), path);
    const pattern = new RegExp(`: this port is for ${audience} .* to ${port},`);
    assert.match(reply.body.error.message, pattern);
    assert.match(reply.body.error.message, / GET \/docs /);
  }
});

Deno.test("a path that a port does not have is 404 for every method, and Allow lists only what the port has", async () => {
  await using app = new TestApp(SETTINGS, { audience: "clients" });
  for (const method of ["GET", "POST", "PUT", "OPTIONS"]) {
    const reply = await app.request("/publish", { method });
    assert.ok(isMissing(reply), method);
    assert.equal(reply.headers.get("allow"), null);
  }
  const history = "/rooms/chat/history";
  const options = await app.request(history, { method: "OPTIONS" });
  assert.equal(options.headers.get("allow"), "GET, HEAD, OPTIONS");
  const put = await app.request(history, { method: "PUT" });
  assert.equal(put.status, 405);
  assert.equal(put.headers.get("allow"), "GET, HEAD, OPTIONS");
  const cleared = await app.request(history, { method: "DELETE" });
  assert.ok(isMissing(cleared));
});

Deno.test("at a port for clients, a history needs a client token, and a publish key is no credential", async () => {
  await using app = new TestApp(SETTINGS, { audience: "clients" });
  const token = await makeToken({
    sub: "ann",
    caps: [{ rooms: ["chat"], allow: ["history"] }],
  });
  const get = (path: string, headers: Record<string, string> = {}) =>
    app.request(path, { headers });
  const history = "/rooms/chat/history";
  const bearer = { authorization: `Bearer ${token}` };
  assert.equal((await get(history, bearer)).status, 200);
  assert.equal((await get("/rooms/news/history", bearer)).status, 403);
  for (const headers of [{}, KEY, { authorization: "Basic d2ViOng=" }]) {
    const { status, body } = await get(history, headers);
    assert.equal(status, 401);
    assert.doesNotMatch(body.error.message, /publish key|correct-horse/i);
  }
});

for (const audience of ["clients", "backends", "everyone"] as const) {
  Deno.test(`a port for ${audience} has streams`, async () => {
    await using app = new TestApp(SETTINGS, { audience });
    const origin = `http://127.0.0.1:${await app.serve()}`;
    for (const path of ["/events?rooms=chat", "/rooms/chat/events/"]) {
      for (const method of ["GET", "HEAD"]) {
        const { status } = await fetchDocumented(
          origin + path,
          { method },
          () => audience,
        );
        assert.equal(status, 401);
      }
    }
  });
}

Deno.test("at a port for clients without tokens, a history can be read unless publish keys are set", async () => {
  await using open = new TestApp({}, { audience: "clients" });
  const history = "/rooms/chat/history";
  assert.equal((await open.request(history)).status, 200);
  await using guarded = new TestApp({ PUBLISH_KEYS: SETTINGS.PUBLISH_KEYS }, {
    audience: "clients",
  });
  for (const headers of [{}, KEY]) {
    const { status, body } = await guarded.request(history, { headers });
    assert.equal(status, 401);
    assert.match(body.error.message, /publish key.+INTERNAL_PORT$/);
  }
});

Deno.test("a port for backends serves no page of another origin, not even a GET", async () => {
  await using app = new TestApp(SETTINGS, {
    audience: "backends",
    originRule: makeOriginRule({
      allowedOrigins: [],
      host: "127.0.0.1",
      forBackends: true,
    }),
  });
  for (const origin of ["http://localhost:3000", "https://evil.tld", "null"]) {
    for (const [method, path] of INTERNAL) {
      const reply = await app.request(path, {
        method,
        headers: { ...KEY, origin },
      });
      assert.equal(reply.status, 403, `${method} ${path}`);
      assert.equal(reply.body.error.code, "origin_not_allowed");
      assert.match(reply.body.error.message, /INTERNAL_PORT.* from a backend/);
    }
  }
  const own = await app.request("/livez", {
    headers: { origin: "http://127.0.0.1:4001", host: "127.0.0.1:4001" },
  });
  assert.equal(own.status, 200);
});
