import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { TestApp } from "../support/app.ts";

const ROOT = new URL("../../", import.meta.url);

Deno.test("GET / returns the page with a policy that allows no foreign scripts", async () => {
  await using app = new TestApp();
  const { status, headers, text } = await app.request("/");
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "text/html; charset=utf-8");
  assert.equal(
    text,
    await Deno.readTextFile(new URL("static/index.html", ROOT)),
  );
  const policy = headers.get("content-security-policy") ?? "";
  for (
    const directive of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ]
  ) assert.ok(policy.split("; ").includes(directive), directive);
  assert.doesNotMatch(policy, /unsafe|data:|\*|wss?:/);
  assert.equal(headers.get("x-content-type-options"), "nosniff");
  assert.equal(headers.get("referrer-policy"), "no-referrer");
  assert.equal(headers.get("cross-origin-opener-policy"), "same-origin");
});

Deno.test("pages of other origins may load the client module and the bundle, and no other asset", async () => {
  await using app = new TestApp();
  for (
    const [path, loadedBy] of [
      ["/", "same-origin"],
      ["/static/page.js", "same-origin"],
      ["/static/roomcast.js", "same-origin"],
      ["/roomcast.js", "cross-origin"],
      ["/roomcast_publish.js", "cross-origin"],
      ["/roomcast_state.js", "cross-origin"],
      ["/socket.io/socket.io.js", "cross-origin"],
    ] as const
  ) {
    const { headers } = await app.request(path);
    assert.equal(headers.get("cross-origin-resource-policy"), loadedBy, path);
  }
});

Deno.test("GET /roomcast.js returns the client module, and every file that it imports is served beside it", async () => {
  await using app = new TestApp();
  const left = ["roomcast.js"], seen = new Set(left);
  for (const name of left) {
    const { status, headers, text } = await app.request(`/${name}`);
    assert.equal(status, 200, name);
    assert.equal(headers.get("content-type"), "text/javascript; charset=utf-8");
    assert.equal(
      text,
      await Deno.readTextFile(new URL(`static/${name}`, ROOT)),
    );
    for (const [, path = ""] of text.matchAll(/^import .* from "(.+)";$/gm)) {
      const [, imported = ""] = /^\.\/([\w.]+)$/.exec(path) ?? [];
      assert.notEqual(imported, "", `${name} imports ${path}`);
      if (!seen.has(imported)) left.push(imported);
      seen.add(imported);
    }
  }
  assert.ok(seen.has("roomcast_publish.js"));
  assert.ok(seen.has("roomcast_state.js"));
});

Deno.test("an asset is compressed for clients that accept gzip, and has a different ETag for each encoding", async () => {
  await using app = new TestApp();
  const plain = await app.app.request("/socket.io/socket.io.js");
  const gzip = await app.app.request("/socket.io/socket.io.js", {
    headers: { "accept-encoding": "br, gzip" },
  });
  assert.equal(plain.headers.get("content-encoding"), null);
  assert.equal(gzip.headers.get("content-encoding"), "gzip");
  assert.deepEqual(
    new Uint8Array(gunzipSync(new Uint8Array(await gzip.arrayBuffer()))),
    new Uint8Array(await plain.arrayBuffer()),
  );
  const tags = [plain, gzip].map(({ headers }) => headers.get("etag") ?? "");
  assert.match(tags[0] ?? "", /^"[\w-]+"$/);
  assert.notEqual(tags[0], tags[1]);
  for (const { headers } of [plain, gzip]) {
    assert.equal(headers.get("vary"), "Origin, Accept-Encoding");
    assert.equal(headers.get("cache-control"), "no-cache");
  }
});

Deno.test("an asset that the client has cached is not sent again", async () => {
  await using app = new TestApp();
  const first = await app.request("/");
  const { status, text } = await app.request("/", {
    headers: { "if-none-match": `"other", ${first.headers.get("etag")}` },
  });
  assert.equal(status, 304);
  assert.equal(text, "");
});

Deno.test("HEAD returns the headers of an asset without its body", async () => {
  await using app = new TestApp();
  const { status, headers, text } = await app.request("/", { method: "HEAD" });
  assert.equal(status, 200);
  assert.ok(headers.has("etag"));
  assert.equal(text, "");
});

Deno.test("a request for an asset that does not exist gets 404 not_found", async () => {
  await using app = new TestApp();
  for (
    const path of [
      "/static/none.js",
      "/static/..%2fmain.ts",
      "/static/",
      "/socket.io/none.js",
      "/static/sub/index.html",
    ]
  ) {
    const { status, body } = await app.request(path);
    assert.equal(status, 404, path);
    assert.equal(body.error.code, "not_found");
  }
});
