import assert from "node:assert/strict";
import { TestApp } from "../support/app.ts";
import { GUARDED, KEY } from "../support/keys.ts";
import { inSeconds, KeyServer, makeToken, SECRET } from "../support/tokens.ts";

async function bearer(
  ...args: Parameters<typeof makeToken>
): Promise<{ authorization: string }> {
  return { authorization: `Bearer ${await makeToken(...args)}` };
}

Deno.test("GET history accepts a client token with the right, and no other", async () => {
  await using app = new TestApp({
    ...GUARDED,
    TOKEN_ROOMS: "user.{sub}=history",
    PUBLIC_ROOMS: "lobby",
  });
  await app.post("/publish", { message: 1 }, KEY);
  const caps = [
    { rooms: ["chat", "news.*"], allow: ["history"] },
    { rooms: ["sub"], allow: ["sub", "pub", "presence"] },
  ];
  const token = await bearer({ sub: "ann", caps });
  const status = async (room: string, headers?: Record<string, string>) => {
    const path = `/rooms/${encodeURIComponent(room)}/history`;
    const { status, body } = await app.request(path, {
      headers: headers ?? {},
    });
    return [status, body.error?.code ?? body.messages.length];
  };
  assert.deepEqual(await status("chat", token), [200, 1]);
  assert.deepEqual(await status("news.a", token), [200, 0]);
  assert.deepEqual(await status("user.ann", token), [200, 0]);
  for (
    const room of [
      "user.bob",
      "chat2",
      "Chat",
      "sub",
      "lobby",
      "__proto__",
      "*",
    ]
  ) {
    assert.deepEqual(await status(room, token), [403, "forbidden"], room);
  }
  for (
    const headers of [
      undefined,
      { authorization: "Bearer wrong" },
      await bearer({ caps, exp: inSeconds(-60) }),
      await bearer({ caps }, { secret: `${SECRET}2` }),
    ]
  ) assert.deepEqual(await status("chat", headers), [401, "unauthorized"]);
  assert.deepEqual(await status("chat", KEY), [200, 1]);
});

Deno.test("a client token neither publishes over HTTP nor deletes a history", async () => {
  await using app = new TestApp(GUARDED);
  const allow = ["sub", "pub", "history", "presence"];
  const token = await bearer({ caps: [{ rooms: ["*"], allow }] });
  for (
    const [path, method] of [
      ["/publish", "POST"],
      ["/publish/batch", "POST"],
      ["/rooms/chat/history", "DELETE"],
    ] as const
  ) {
    const { status, body } = await app.request(path, {
      method,
      headers: token,
    });
    assert.deepEqual([status, body.error.code], [403, "forbidden"], path);
    assert.match(body.error.message, /; send it over HTTP with a publish key/);
  }
});

Deno.test("a publish key with rooms publishes, reads and deletes only there", async () => {
  await using app = new TestApp(GUARDED);
  const news = { authorization: "Bearer battery-staple" };
  const post = (body: unknown) => app.post("/publish", body, news);
  assert.equal((await post({ room: "news.a", message: 1 })).status, 200);
  for (const room of ["chat", "news", "newsx.a", "NEWS.a"]) {
    const { status, body } = await post({ room, message: 1 });
    assert.deepEqual([status, body.error?.code], [403, "forbidden"], room);
    assert.deepEqual(await app.messages(room), []);
  }
  const { status, body } = await post({
    rooms: ["chat", "news.b"],
    message: 2,
  });
  assert.equal(status, 200);
  assert.equal(body.results[0].error.code, "forbidden");
  assert.equal(body.results[1].room, "news.b");
  assert.deepEqual(await app.messages("chat"), []);
  for (const method of ["GET", "DELETE"]) {
    const at = async (room: string) =>
      (await app.request(`/rooms/${room}/history`, { method, headers: news }))
        .status;
    assert.equal(await at("chat"), 403);
    assert.ok(await at("news.a") < 300);
  }
});

Deno.test("a publish key with rooms neither keeps another publisher's message out by its idempotency key, nor learns of it", async () => {
  await using app = new TestApp(GUARDED);
  const news = { authorization: "Bearer battery-staple" };
  const send = async (
    path: string,
    body: unknown,
    headers: typeof news,
  ): Promise<boolean> => {
    const reply = await app.post(path, body, headers);
    assert.equal(reply.status, 200, reply.text);
    const { results: [result] = [reply.body] } = reply.body;
    return result.duplicate;
  };
  const guess = { room: "news.a", message: "guess", key: "order-1" };
  assert.equal(await send("/publish", guess, news), false);
  const order = { room: "chat", message: "order", key: "order-1" };
  assert.equal(await send("/publish", order, KEY), false);
  assert.deepEqual(await app.messages("chat"), ["order"]);
  // The very same publishes of others do not count as repeated, and their own do.
  const batch = { key: "batch-1", messages: [{ room: "news.a", message: 1 }] };
  const same = { room: "news.a", message: "same", key: "same-1" };
  for (const isRepeated of [false, true]) {
    for (const headers of [news, KEY]) {
      assert.equal(await send("/publish", same, headers), isRepeated);
      assert.equal(await send("/publish/batch", batch, headers), isRepeated);
    }
  }
});

Deno.test("a token that cannot be verified at the moment is 503 with Retry-After", async () => {
  await using server = await KeyServer.start();
  server.respond = (response) => response.writeHead(500).end();
  await using app = new TestApp({
    PUBLISH_KEYS: GUARDED.PUBLISH_KEYS,
    TOKEN_JWKS_URL: server.url,
  });
  const { status, headers, body } = await app.request("/rooms/a/history", {
    headers: { authorization: "Bearer eyJhbGciOiJFUzI1NiJ9.e30.AAAA" },
  });
  assert.deepEqual([status, body.error.code], [503, "token_keys_unavailable"]);
  assert.ok(headers.get("retry-after"));
  assert.ok(!JSON.stringify(app.observations).includes("hunter2"));
});

Deno.test("a request without valid credentials gets an error that says what its header Authorization lacks", async () => {
  const bare = { authorization: "correct-horse" };
  const named = { authorization: "Bearer web:correct-horse" };
  const keys = { PUBLISH_KEYS: "web:correct-horse" };
  const tokens = { ...keys, TOKEN_SECRET: SECRET };
  const post = { method: "POST", body: "hello" };
  const cases = [
    [
      keys,
      "/publish",
      post,
      {},
      "Cannot publish: the request has no publish key; send Authorization: Bearer <secret> with a secret from PUBLISH_KEYS",
    ],
    [
      tokens,
      "/publish",
      post,
      bare,
      "Cannot serve this request: its header Authorization does not begin with Bearer; send Authorization: Bearer <secret> with a secret from PUBLISH_KEYS",
    ],
    [
      tokens,
      "/rooms/chat/history",
      {},
      bare,
      "Cannot serve this request: its header Authorization does not begin with Bearer; send Authorization: Bearer <secret> with a secret from PUBLISH_KEYS or a token",
    ],
    [
      tokens,
      "/nodes",
      {},
      {},
      "Cannot serve this request: it has no credentials; send Authorization: Bearer <secret> with a secret from PUBLISH_KEYS",
    ],
    [
      keys,
      "/publish",
      post,
      named,
      "Cannot serve this request: its secret is not in PUBLISH_KEYS; send the secret of a key, without the key's name, after Bearer",
    ],
    [
      tokens,
      "/publish",
      post,
      named,
      "Cannot serve this request: its secret is neither in PUBLISH_KEYS nor a client token; send the secret of a key, without the key's name, after Bearer",
    ],
  ] as const;
  for (const [settings, path, init, headers, message] of cases) {
    await using app = new TestApp(settings);
    const { status, body } = await app.request(path, { ...init, headers });
    assert.equal(status, 401, message);
    assert.deepEqual(body.error, { code: "unauthorized", message });
  }
  await using open = new TestApp();
  const reply = await open.request("/rooms/chat/history", { headers: bare });
  assert.equal(reply.status, 200);
});

Deno.test("a key that is limited to rooms gets an error that names what only a key for all rooms may do", async () => {
  await using app = new TestApp({
    PUBLISH_KEYS: "news:battery-staple",
    PUBLISH_KEY_ROOMS: "news=news.*",
  });
  const authorization = "Bearer battery-staple";
  for (
    const [path, doing] of [
      ["/revoke", "revoke"],
      ["/disconnect", "disconnect clients"],
      ["/nodes", "list the nodes"],
    ] as const
  ) {
    const reply = path === "/nodes"
      ? await app.request(path, { headers: { authorization } })
      : await app.post(path, { user: "ann" }, { authorization });
    assert.equal(reply.status, 403, path);
    assert.match(
      reply.body.error.message,
      new RegExp(`^Cannot ${doing}: this needs a publish key for all rooms`),
    );
  }
});
