import assert from "node:assert/strict";
import { compareIds } from "../../lib/log/position.ts";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";

Deno.test("every client gets all messages once and in id order while three nodes publish at once", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env);
  await using c = await TestNode.start(env);
  const nodes = [a, b, c];
  await using stack = new AsyncDisposableStack();
  const clients: Subscriber[] = [];
  for (const node of nodes) {
    for (const transports of [["websocket"], ["polling", "websocket"]]) {
      clients.push(
        stack.use(await Subscriber.connect(node.url, { transports })),
      );
    }
  }
  const each = 5000;
  // Half as single posts, half in batches, each request as soon as the last one is answered.
  const publish = async (node: TestNode, name: number): Promise<string[]> => {
    const ids: string[] = [];
    const singles = Array.from({ length: 16 }, async (_, lane) => {
      for (let i = lane; i < each / 2; i += 16) {
        ids.push(await node.publish(`${name}-${i}`));
      }
    });
    const batches = (async () => {
      for (let i = each / 2; i < each; i += 100) {
        const messages = Array.from(
          { length: 100 },
          (_, j) => ({ room: "chat", message: `${name}-${i + j}` }),
        );
        const { status, body } = await node.post("/publish/batch", {
          messages,
        });
        assert.equal(status, 200);
        const batch = body.results.map((result: { id: string }) => result.id);
        assert.deepEqual(batch, [...batch].sort(compareIds));
        ids.push(...batch);
      }
    })();
    await Promise.all([...singles, batches]);
    return ids;
  };
  const ids = (await Promise.all(nodes.map(publish))).flat();
  const total = 3 * each;
  assert.equal(new Set(ids).size, total);
  await Promise.all(
    clients.map((client) => client.messages.have(total, 60_000)),
  );
  const order = ids.toSorted(compareIds);
  for (const client of clients) {
    assert.deepEqual(client.ids, order);
    assert.equal(
      new Set(client.messages.items.map(({ message }) => message)).size,
      total,
    );
  }
});

Deno.test("a publish is delivered once if its response is lost and the publisher retries on another node with the same key", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env);
  await using client = await Subscriber.connect(a.url);
  await using proxyA = await Proxy.start(a.port);
  await using proxyB = await Proxy.start(b.port);
  let answers = 0, dropped = 0;
  const dropEveryThird = (chunk: Uint8Array): Uint8Array | undefined => {
    if (++answers % 3 !== 0) return chunk;
    dropped++;
    return undefined;
  };
  proxyA.answer = proxyB.answer = dropEveryThird;
  const urls = [proxyA.url, proxyB.url];
  const ids = await Promise.all(Array.from({ length: 1000 }, async (_, i) => {
    for (let attempt = 0;; attempt++) {
      try {
        const response = await fetch(`${urls[(i + attempt) % 2]}/publish`, {
          method: "POST",
          headers: {
            "content-type": "application/json",
            "idempotency-key": `order ${i}`,
            connection: "close",
          },
          body: JSON.stringify({ message: i }),
        });
        const body = await response.json();
        assert.equal(response.status, 200, JSON.stringify(body));
        return String(body.id);
      } catch (error) {
        if (error instanceof assert.AssertionError || attempt > 50) throw error;
      }
    }
  }));
  assert.ok(dropped > 300, `${dropped} answers were dropped`);
  assert.equal(new Set(ids).size, 1000);
  const end = await b.publish("the end");
  await client.messages.where(() => client.ids.includes(end));
  assert.equal(client.messages.items.length, 1001);
  assert.deepEqual(new Set(client.ids.slice(0, -1)), new Set(ids));
});

Deno.test("concurrent publishes with one idempotency key on two nodes give one message and one id", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env);
  await using client = await Subscriber.connect(a.url);
  const headers = { "idempotency-key": "the same" };
  const replies = await Promise.all(
    Array.from(
      { length: 50 },
      (_, i) => (i % 2 ? a : b).post("/publish", { message: "once" }, headers),
    ),
  );
  assert.equal(new Set(replies.map(({ body }) => body.id)).size, 1);
  assert.equal(
    replies.filter(({ body }) => body.duplicate === false).length,
    1,
  );
  for (
    const other of [{ message: "twice" }, {
      message: "once",
      room: "elsewhere",
    }, { message: "once", rooms: ["chat", "b"] }]
  ) {
    const { status, body } = await a.post("/publish", {
      ...other,
      key: "the same",
    });
    assert.deepEqual([status, body.error?.code], [422, "key_reused"]);
  }
  await b.publish("the end");
  await client.messages.have(2);
  assert.deepEqual(client.messages.items.map(({ message }) => message), [
    "once",
    "the end",
  ]);
});

Deno.test("a publish to several rooms returns an id or an error per room, and a retry with the same key publishes to the failed rooms", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using client = await Subscriber.connect(node.url, {
    auth: { rooms: ["a", "b", "c"] },
  });
  await redis.command("SET", "roomcast:{roomcast}:history:b", "in the way");
  const publish = { rooms: ["a", "b", "c"], message: 1, key: "k" };
  const first = await node.post("/publish", publish);
  assert.equal(first.status, 200);
  assert.deepEqual(
    first.body.results.map((result: { room: string }) => result.room),
    ["a", "b", "c"],
  );
  assert.equal(first.body.results[1].error.code, "log_wrong_type");
  await redis.command("DEL", "roomcast:{roomcast}:history:b");
  const second = await node.post("/publish", publish);
  assert.equal(second.body.results[0].id, first.body.results[0].id);
  assert.equal(second.body.results[2].id, first.body.results[2].id);
  assert.deepEqual(
    second.body.results.map((result: { duplicate: boolean }) =>
      result.duplicate
    ),
    [true, false, true],
  );
  await client.messages.have(3);
  assert.deepEqual(client.messages.items.map(({ room }) => room), [
    "a",
    "c",
    "b",
  ]);
  const many = Array.from({ length: 101 }, (_, i) => `r${i}`);
  assert.equal(
    (await node.post("/publish", { rooms: many, message: 1 })).body.error.code,
    "too_many_rooms",
  );
  assert.equal(
    (await node.post("/publish", { rooms: many.slice(1), message: 1 })).body
      .results.length,
    100,
  );
});

Deno.test("a batch publish with an invalid item keeps the order of the other items and needs few scripts", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using client = await Subscriber.connect(node.url);
  const messages: unknown[] = Array.from(
    { length: 1000 },
    (_, i) => ({ room: "chat", message: i }),
  );
  messages[500] = { room: "\u0000", message: 500 };
  messages[501] = { room: "chat" };
  messages[502] = "not an object";
  messages[503] = { room: "chat", message: "x".repeat(70_000) };
  const before = await redis.calls("evalsha");
  const { status, body } = await node.post("/publish/batch", { messages });
  const scripts = await redis.calls("evalsha") - before;
  assert.equal(status, 200);
  assert.equal(body.results.length, 1000);
  const codes = body.results.slice(500, 504).map((
    result: { error: { code: string } },
  ) => result.error.code);
  assert.deepEqual(codes, [
    "invalid_room",
    "message_missing",
    "malformed_body",
    "message_too_large",
  ]);
  await client.messages.have(996);
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    Array.from({ length: 1000 }, (_, i) => i).filter((i) => i < 500 || i > 503),
  );
  // Some of these scripts are the reader's own checks.
  assert.ok(scripts <= 8, `${scripts} scripts ran for one batch`);

  const lines = [
    '{"message":"first"}',
    "{broken",
    '{"message":"last","key":"k"}',
    '{"message":"last","key":"k"}',
  ];
  const ndjson = await node.request("/publish/batch", {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
    body: lines.join("\n") + "\n",
  });
  assert.equal(ndjson.body.results.length, 4);
  assert.equal(ndjson.body.results[1].error.code, "malformed_body");
  assert.equal(ndjson.body.results[2].id, ndjson.body.results[3].id);
  assert.equal(ndjson.body.results[3].duplicate, true);
  const tooMany = await node.post("/publish/batch", {
    messages: Array(1001).fill({ message: 1 }),
  });
  assert.equal(tooMany.body.error.code, "too_many_messages");
  assert.equal(tooMany.status, 400);
});
