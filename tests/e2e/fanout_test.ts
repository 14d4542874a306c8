/** Joined frames: each client gets its messages once and in order, however they are combined into writes. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";

/** Private parts of a stock client's engine, with which the test starts the upgrade itself. */
interface Upgrading {
  _probe(transport: string): void;
  once(event: "upgrade", listener: () => void): void;
}

/** Posts batches of 50 numbered messages until `done` returns true; returns their number. */
async function burst(
  node: TestNode,
  rooms: readonly string[],
  done: () => boolean,
): Promise<number> {
  let count = 0;
  while (!done()) {
    const messages = Array.from({ length: 50 }, () => ({
      room: rooms[count % rooms.length],
      message: count++,
    }));
    const { status } = await node.post("/publish/batch", { messages });
    assert.equal(status, 200);
  }
  return count;
}

Deno.test("clients get every message once and in order if they upgrade from polling during a burst", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start(env);
    await using stack = new AsyncDisposableStack();
    const clients: Subscriber[] = [];
    for (let i = 0; i < 10; i++) {
      const client = await Subscriber.connect(node.url, { upgrade: false });
      stack.use(client);
      await client.joined.have(1);
      clients.push(client);
    }
    const before = new Map<Subscriber, number>();
    let stop = Infinity;
    const publishing = burst(
      node,
      ["chat"],
      () => clients.every(({ messages }) => messages.items.length > stop),
    );
    for (const [i, client] of clients.entries()) {
      // One after the other, at different points of the burst.
      await client.messages.have(200 * (i + 1));
      const engine = client.socket.io.engine as unknown as Upgrading;
      const upgraded = new Promise<void>((resolve) =>
        engine.once("upgrade", resolve)
      );
      engine._probe("websocket");
      await upgraded;
      before.set(client, client.messages.items.length);
      assert.equal(client.socket.io.engine.transport.name, "websocket");
    }
    stop = Math.max(...clients.map(({ messages }) => messages.items.length)) +
      500;
    const total = await publishing;
    const all = Array.from({ length: total }, (_, i) => i);
    for (const client of clients) {
      await client.messages.have(total);
      assert.deepEqual(
        client.messages.items.map(({ message }) => message),
        all,
      );
      assert.ok((before.get(client) ?? total) < total - 100);
      assert.equal(client.disconnects.items.length, 0);
    }
  }
});

Deno.test("clients get the messages of all their rooms in the log's order if a batch covers many rooms", async () => {
  await using redis = await Redis.start();
  const rooms = ["a", "b", "c", "d"];
  const interests = [["a"], ["d"], ["a", "b"], ["a", "b"], ["b", "c", "d"], [
    "c",
    "a",
  ], rooms];
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start(env);
    await using stack = new AsyncDisposableStack();
    const clients: [Subscriber, readonly string[]][] = [];
    for (const interest of interests) {
      for (const transports of [["websocket"], ["polling"]]) {
        const options = { transports, auth: { rooms: interest } };
        const client = await Subscriber.connect(node.url, options);
        stack.use(client);
        await client.joined.have(interest.length);
        clients.push([client, interest]);
      }
    }
    let rounds = 0;
    // No client is in the room "nobody".
    const all = [...rooms, "nobody"];
    const total = await burst(node, all, () => rounds++ === 20);
    for (const [client, interest] of clients) {
      const wanted = Array.from({ length: total }, (_, i) => i).filter((i) =>
        interest.includes(all[i % all.length] ?? "")
      );
      await client.messages.have(wanted.length);
      assert.deepEqual(
        client.messages.items.map(({ message }) => message),
        wanted,
      );
    }
  }
});

Deno.test("a node delivers the same messages with direct writes, which are the default, and with DIRECT_WRITE=false", async () => {
  for (const directWrite of [true, false]) {
    await using node = await TestNode.start(
      directWrite ? {} : { DIRECT_WRITE: "false" },
    );
    const started = node.log.items.find(({ kind }) => kind === "started");
    assert.equal(started?.directWrite, directWrite);
    await using client = await Subscriber.connect(node.url, {
      transports: ["websocket"],
    });
    await client.joined.have(1);
    const total = await burst(
      node,
      ["chat"],
      () => client.messages.items.length > 500,
    );
    await client.messages.have(total);
    assert.deepEqual(
      client.messages.items.map(({ message }) => message),
      Array.from({ length: total }, (_, i) => i),
    );
    const kinds = node.log.items.map(({ kind }) => kind);
    assert.ok(!kinds.includes("direct_write_disabled"), kinds.join());
  }
});
