import assert from "node:assert/strict";
import { TestApp } from "../support/app.ts";
import { SECRET } from "../support/tokens.ts";

Deno.test("GET /page.json says what the server accepts in the default room", async () => {
  await using app = new TestApp({ ROOMS: "news,chat" });
  const { status, headers, body } = await app.request("/page.json");
  assert.equal(status, 200);
  assert.equal(headers.get("cache-control"), "no-store");
  assert.deepEqual(body, {
    rooms: ["news", "chat"],
    embedded: true,
    messageBytesMax: 65_536,
    servesBackends: true,
    acceptsTokens: false,
    room: "news",
    bridged: false,
    publishNeedsKey: false,
    clientsMayPublish: true,
    historyNeedsKey: false,
  });
});

Deno.test("GET /page.json says whether publishing needs a key, and contains no key", async () => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  const { text, body } = await app.request("/page.json?room=other");
  assert.equal(body.room, "other");
  assert.equal(body.publishNeedsKey, true);
  assert.equal(body.historyNeedsKey, true);
  assert.ok(!text.includes("web") && !text.includes("correct-horse"));
});

Deno.test("GET /page.json says whether the server accepts tokens, and whether this port serves backends", async () => {
  const guarded = { PUBLISH_KEYS: "web:correct-horse", TOKEN_SECRET: SECRET };
  for (
    const [settings, audience, expected] of [
      [{}, "everyone", [true, false, false, false]],
      [guarded, "everyone", [true, true, true, true]],
      [guarded, "clients", [false, true, true, true]],
      [{}, "clients", [false, false, true, false]],
    ] as const
  ) {
    await using app = new TestApp(settings, { audience });
    const { body } = await app.request("/page.json");
    const { servesBackends, acceptsTokens, publishNeedsKey, historyNeedsKey } =
      body;
    assert.deepEqual(
      [servesBackends, acceptsTokens, publishNeedsKey, historyNeedsKey],
      expected,
    );
  }
});

Deno.test("GET /page.json says whether clients may publish over their connections", async () => {
  const keyed = { PUBLISH_KEYS: "web:correct-horse" };
  const url = "http://127.0.0.1:1/hook";
  for (
    const [settings, expected] of [
      [{}, true],
      [keyed, false],
      [{ ...keyed, TOKEN_SECRET: SECRET }, true],
      [{ ...keyed, CONNECT_HOOK_URL: url }, true],
      [{ ...keyed, JOIN_HOOK_URL: url }, true],
      [{ ...keyed, JOIN_HOOK_URL: url, HOOK_ROOMS: "private.*" }, false],
      // This hook replaces messages, and grants nothing.
      [{ ...keyed, PUBLISH_HOOK_URL: url }, false],
    ] as const
  ) {
    for (const audience of ["everyone", "clients"] as const) {
      await using app = new TestApp(settings, { audience });
      const { body } = await app.request("/page.json");
      assert.equal(
        body.clientsMayPublish,
        expected,
        `${audience} ${Object.keys(settings)}`,
      );
    }
  }
});

Deno.test("GET /page.json says whether the room's Redis channel is bridged, and lists no channels", async () => {
  const channels = ["chat", "news.*"];
  await using app = new TestApp({}, { channels, embedded: false });
  for (
    const [room, isBridged] of [
      ["chat", true],
      ["news.sport", true],
      ["news", false],
      ["secret", false],
    ] as const
  ) {
    const { text, body } = await app.request(`/page.json?room=${room}`);
    assert.equal(body.bridged, isBridged, room);
    assert.equal(body.embedded, false);
    assert.ok(!text.includes("*"));
  }
});

Deno.test("GET /page.json rejects a room whose name is not valid", async () => {
  await using app = new TestApp();
  const { status, body } = await app.request("/page.json?room=");
  assert.equal(status, 400);
  assert.equal(body.error.code, "invalid_room");
});
