import assert from "node:assert/strict";
import { TestApp } from "../support/app.ts";

const ROOT = new URL("../../", import.meta.url);
const APP = "https://app.example.com";

/** Every path, with its methods as `Allow` names them. */
const PATHS: readonly [path: string, allow: string][] = [
  ["/", "GET, HEAD"],
  ["/static/page.js", "GET, HEAD"],
  ["/socket.io/socket.io.js", "GET, HEAD"],
  ["/livez", "GET, HEAD"],
  ["/readyz", "GET, HEAD"],
  ["/metrics", "GET, HEAD"],
  ["/publish", "POST"],
  ["/publish/batch", "POST"],
  ["/rooms/chat/history", "GET, HEAD, DELETE"],
];

Deno.test("a method that a path does not support is 405 method_not_allowed with Allow", async () => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  for (const [path, allow] of PATHS) {
    for (const method of ["PUT", "PATCH", "OPTIONS", "POST", "GET"]) {
      if (allow.includes(method)) continue;
      const { status, body, headers } = await app.request(path, { method });
      assert.equal(status, 405, `${method} ${path}`);
      assert.equal(body.error.code, "method_not_allowed");
      assert.ok(body.error.message.startsWith(`Cannot use ${method} here: `));
      assert.ok(
        body.error.message.endsWith(`; use ${allow.replaceAll(", ", " or ")}`),
      );
      assert.equal(headers.get("allow"), allow);
    }
  }
});

Deno.test("an unknown path is 404 not_found, and its message names the document that lists all routes", async () => {
  await using app = new TestApp();
  for (const path of ["/publishh", "/publish/other", "/rooms/chat", "//"]) {
    const { status, body } = await app.request(path);
    assert.equal(status, 404, path);
    assert.equal(body.error.code, "not_found");
    const { message } = body.error;
    const [, file] = /; see (\S+) for all routes$/.exec(message) ?? [];
    const text = await Deno.readTextFile(new URL(file ?? "", ROOT));
    assert.match(text, /^## `POST \/publish`$/m);
  }
});

Deno.test("a URL whose percent-encoding is not UTF-8 is 400 malformed_request", async () => {
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

Deno.test("a page of another origin may only send GET and HEAD, and cannot see the response", async () => {
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

Deno.test("HEAD is supported for every path that supports GET", async () => {
  await using app = new TestApp();
  for (const [path, allow] of PATHS) {
    if (!allow.includes("HEAD")) continue;
    const { status, text } = await app.request(path, { method: "HEAD" });
    assert.equal(status, 200, path);
    assert.equal(text, "");
  }
});

Deno.test("routes get the principal of a request's credentials", async () => {
  const names: (string | undefined)[] = [];
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" }, {
    publisher: {
      publish: (principal) => {
        names.push(principal.name);
        return Promise.resolve([[{ room: "a", id: "1-0", duplicate: false }]]);
      },
    },
  });
  await app.post("/publish", { message: 1 }, {
    authorization: "Bearer correct-horse",
  });
  assert.deepEqual(names, ["web"]);
});
