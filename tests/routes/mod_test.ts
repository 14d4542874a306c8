import assert from "node:assert/strict";
import type { ErrorCode } from "../../lib/errors.ts";
import { type AppReply, TestApp } from "../support/app.ts";

const APP = "https://app.example.com";

/** All routes: for each, its pattern, a path that matches it, and its methods in the form of the header `Allow`. */
const ROUTES:
  readonly (readonly [pattern: string, path: string, allow: string])[] = [
    ["/", "/", "GET, HEAD, OPTIONS"],
    ["/roomcast.js", "/roomcast.js", "GET, HEAD, OPTIONS"],
    ["/roomcast_publish.js", "/roomcast_publish.js", "GET, HEAD, OPTIONS"],
    ["/roomcast_state.js", "/roomcast_state.js", "GET, HEAD, OPTIONS"],
    ["/roomcast.d.ts", "/roomcast.d.ts", "GET, HEAD, OPTIONS"],
    ["/asyncapi.json", "/asyncapi.json", "GET, HEAD, OPTIONS"],
    ["/page.json", "/page.json", "GET, HEAD, OPTIONS"],
    ["/openapi.json", "/openapi.json", "GET, HEAD, OPTIONS"],
    ["/docs", "/docs", "GET, HEAD, OPTIONS"],
    ["/docs/:name", "/docs/docs.css", "GET, HEAD, OPTIONS"],
    ["/static/:name", "/static/page.js", "GET, HEAD, OPTIONS"],
    ["/socket.io/:name", "/socket.io/socket.io.js", "GET, HEAD, OPTIONS"],
    ["/livez", "/livez", "GET, HEAD, OPTIONS"],
    ["/readyz", "/readyz", "GET, HEAD, OPTIONS"],
    ["/metrics", "/metrics", "GET, HEAD, OPTIONS"],
    ["/publish", "/publish", "POST, OPTIONS"],
    ["/publish/batch", "/publish/batch", "POST, OPTIONS"],
    ["/revoke", "/revoke", "POST, OPTIONS"],
    ["/events", "/events", "GET, HEAD, OPTIONS"],
    ["/rooms/:room/events", "/rooms/chat/events", "GET, HEAD, OPTIONS"],
    ["/disconnect", "/disconnect", "POST, OPTIONS"],
    ["/nodes", "/nodes", "GET, HEAD, OPTIONS"],
    ["/rooms", "/rooms", "GET, HEAD, OPTIONS"],
    ["/rooms/:room", "/rooms/chat", "GET, HEAD, OPTIONS"],
    ["/rooms/:room/join", "/rooms/chat/join", "POST, OPTIONS"],
    ["/rooms/:room/leave", "/rooms/chat/leave", "POST, OPTIONS"],
    [
      "/rooms/:room/history",
      "/rooms/chat/history",
      "GET, HEAD, DELETE, OPTIONS",
    ],
  ];
/** Matches the paths of files, which accept any query. */
const FILES = /^\/($|static|socket\.io|roomcast|openapi|asyncapi|docs)/;

function assertError(
  { status, headers, body, text }: AppReply,
  expected: number,
  code: ErrorCode,
): void {
  assert.equal(status, expected, text);
  assert.equal(headers.get("content-type"), "application/json");
  assert.deepEqual(Object.keys(body), ["error"]);
  assert.deepEqual(Object.keys(body.error), ["code", "message"]);
  assert.equal(body.error.code, code);
  assert.match(body.error.message, /^Cannot [^:]+: [^;]+; .+[^.]$/);
}

Deno.test("ROUTES of this file lists every route of createApp()", async () => {
  await using app = new TestApp();
  const patterns = app.app.routes.map(({ path }) => path)
    .filter((path) => path !== "/*");
  assert.deepEqual(
    [...new Set(patterns)].sort(),
    ROUTES.map(([pattern]) => pattern).sort(),
  );
});

Deno.test("every path serves its methods and responds with 405 to any other, with and without a trailing slash", async (t) => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  const headers = { authorization: "Bearer correct-horse" };
  for (const [, path, allow] of ROUTES) {
    for (const url of path === "/" ? ["/", "//"] : [path, `${path}/`]) {
      for (
        const method of ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "QUERY"]
      ) {
        await t.step(`${method} ${url}`, async () => {
          const reply = await app.request(url, { method, headers });
          const wanted = !allow.split(", ").includes(method)
            ? 405
            : method === "OPTIONS"
            ? 204
            : 200;
          assert.equal(reply.status, wanted, reply.text);
          if (method === "HEAD" || method === "OPTIONS") {
            assert.equal(reply.text, "");
          }
          if (wanted !== 200) assert.equal(reply.headers.get("allow"), allow);
          if (wanted !== 405 || method === "HEAD") return;
          assertError(reply, 405, "method_not_allowed");
          const others = allow.replace(", OPTIONS", "").replaceAll(
            ", ",
            " or ",
          );
          const { message } = reply.body.error;
          assert.ok(message.startsWith(`Cannot use ${method} here: `));
          assert.ok(message.endsWith(`; use ${others}`));
        });
      }
    }
  }
});

Deno.test("every path except those of files checks the credentials first and then refuses unknown query parameters", async (t) => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  const headers = { authorization: "Bearer correct-horse" };
  for (const [, path, allow] of ROUTES) {
    const methods = allow.split(", ").filter((name) => name !== "OPTIONS");
    for (const method of methods) {
      await t.step(`${method} ${path}`, async () => {
        const url = `${path}?nonsense=1`;
        const reply = await app.request(url, { method, headers });
        if (FILES.test(path)) return assert.equal(reply.status, 200);
        if (method === "HEAD") return assert.equal(reply.status, 400);
        assertError(reply, 400, "unknown_field");
        assert.match(reply.body.error.message, /"nonsense"/);
        const stranger = await app.request(url, { method });
        if (stranger.status !== 400) assertError(stranger, 401, "unauthorized");
      });
    }
  }
});

Deno.test("an unknown path gets 404 not_found with a message that names the page of all routes", async () => {
  await using app = new TestApp();
  for (
    const path of ["/publishh", "/publish/other", "/rooms/chat/x", "//publish"]
  ) {
    const { status, body } = await app.request(path);
    assert.equal(status, 404, path);
    assert.equal(body.error.code, "not_found");
    const { message } = body.error;
    const [, page = ""] = /; GET (\S+) shows all routes$/.exec(message) ?? [];
    assert.equal((await app.request(page)).status, 200, message);
  }
});

Deno.test("a URL whose percent-encoding is not UTF-8 gets 400 malformed_request", async () => {
  await using app = new TestApp();
  for (
    const path of ["/rooms/%zz/history", "/rooms/%ff/history", "/livez?a=%e9"]
  ) {
    const { status, body } = await app.request(path);
    assert.equal(status, 400, path);
    assert.equal(body.error.code, "malformed_request");
  }
});

Deno.test("every response forbids caching and MIME sniffing unless its route sets other headers", async () => {
  await using app = new TestApp();
  for (const path of ["/livez", "/rooms/chat/history", "/none", "/readyz"]) {
    const { headers } = await app.request(path);
    assert.equal(headers.get("cache-control"), "no-store", path);
    assert.equal(headers.get("x-content-type-options"), "nosniff", path);
    assert.equal(headers.get("vary"), "Origin", path);
  }
});

Deno.test("a page of an origin that is not allowed may only send GET and HEAD, and cannot read the response", async () => {
  await using app = new TestApp({ ALLOWED_ORIGINS: APP });
  for (const origin of ["https://evil.example", `${APP}.evil.example`]) {
    const headers = { origin };
    for (
      const [method, path] of [
        ["POST", "/publish"],
        ["DELETE", "/rooms/chat/history"],
        ["OPTIONS", "/publish"],
        ["POST", "/none"],
      ] as const
    ) {
      const { status, body } = await app.request(path, { method, headers });
      assert.equal(status, 403, `${method} ${path}`);
      assert.equal(body.error.code, "origin_not_allowed");
    }
    const read = await app.request("/livez", { headers });
    assert.equal(read.status, 200);
    assert.equal(read.headers.get("access-control-allow-origin"), null);
  }
});

Deno.test("a page of an allowed origin may publish and gets a preflight response", async () => {
  await using app = new TestApp({
    ALLOWED_ORIGINS: APP,
    PUBLISH_KEYS: "web:correct-horse",
  });
  const preflight = await app.request("/publish", {
    method: "OPTIONS",
    headers: { origin: APP, "access-control-request-method": "POST" },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), APP);
  assert.match(
    preflight.headers.get("access-control-allow-headers") ?? "",
    /authorization.*idempotency-key/,
  );
  const { status, headers } = await app.post("/publish", { message: 1 }, {
    origin: APP,
    authorization: "Bearer correct-horse",
  });
  assert.equal(status, 200);
  assert.equal(headers.get("access-control-allow-origin"), APP);
});

Deno.test("createApp() passes the principal of the request's publish key to Publisher.publish()", async () => {
  const names: (string | undefined)[] = [];
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" }, {
    publisher: {
      failed: () => {},
      publish: (principal) => {
        names.push(principal.key);
        return Promise.resolve([[{ room: "a", id: "1-0", duplicate: false }]]);
      },
    },
  });
  await app.post("/publish", { message: 1 }, {
    authorization: "Bearer correct-horse",
  });
  assert.deepEqual(names, ["web"]);
});
