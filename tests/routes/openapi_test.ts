import assert from "node:assert/strict";
import { makeDocument } from "../../routes/api/document.ts";
import { TestApp } from "../support/app.ts";

const AUDIENCES = ["clients", "backends", "everyone"] as const;

for (const audience of AUDIENCES) {
  Deno.test(`a port for ${audience} serves its document at /openapi.json, without a key`, async () => {
    await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" }, {
      audience,
    });
    const { status, headers, body } = await app.request("/openapi.json");
    assert.equal(status, 200);
    assert.equal(headers.get("content-type"), "application/json");
    assert.deepEqual(body, structuredClone(makeDocument(audience)));
  });

  Deno.test(`a port for ${audience} shows each of its operations at /docs, and serves what the page loads`, async () => {
    await using app = new TestApp({}, { audience });
    const { status, headers, text } = await app.request("/docs");
    assert.equal(status, 200);
    assert.equal(headers.get("content-type"), "text/html; charset=utf-8");
    for (const methods of Object.values(makeDocument(audience).paths)) {
      for (const { operationId } of Object.values(methods)) {
        assert.ok(text.includes(`<article id="${operationId}">`), operationId);
      }
    }
    const loaded = [
      ...text.matchAll(/<(?:link|script|img)[^>]+(?:href|src)="([^"]+)"/g),
    ];
    assert.ok(loaded.length > 1);
    for (const [, path = ""] of loaded) {
      const file = await app.request(path);
      assert.equal(file.status, 200, path);
    }
    assert.doesNotMatch(text, /<script|<style| style=|https?:\/\//);
  });
}

Deno.test("links within the page at /docs lead to an element of it", async () => {
  await using app = new TestApp();
  const { text } = await app.request("/docs");
  const ids = new Set([...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
  const links = [...text.matchAll(/ href="#([^"]+)"/g)].map(([, id]) => id);
  assert.ok(links.length > 20);
  assert.deepEqual(links.filter((id) => !ids.has(id)), []);
  assert.equal([...text.matchAll(/ id="/g)].length, ids.size, "an id is twice");
});

Deno.test("/openapi.json and /docs are sent again only if they have changed", async () => {
  await using app = new TestApp();
  for (const path of ["/openapi.json", "/docs", "/docs/docs.css"]) {
    const first = await app.request(path);
    const etag = first.headers.get("etag") ?? "";
    assert.match(etag, /^"[\w-]{16}"$/);
    assert.equal(first.headers.get("cache-control"), "no-cache");
    const again = await app.request(path, {
      headers: { "if-none-match": etag },
    });
    assert.equal(again.status, 304, path);
    assert.equal(again.text, "");
    const head = await app.request(path, { method: "HEAD" });
    assert.equal(head.status, 200);
    assert.equal(head.text, "");
    assert.equal(head.headers.get("etag"), etag);
    const zipped = await app.app.request(path, {
      headers: { "accept-encoding": "gzip" },
    });
    assert.equal(zipped.headers.get("content-encoding"), "gzip");
    const bytes = zipped.body?.pipeThrough(new DecompressionStream("gzip"));
    assert.equal(await new Response(bytes).text(), first.text);
  }
});

Deno.test("/docs/{name} serves only files of the page at /docs", async () => {
  await using app = new TestApp();
  for (const name of ["page.js", "index.html", "none.css", "..%2Fbase.css"]) {
    const { status } = await app.request(`/docs/${name}`);
    assert.equal(status, 404, name);
  }
});
