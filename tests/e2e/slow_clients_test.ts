/** Clients that do not read: what is buffered for them is limited, and other clients are not affected. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { RawConnection } from "../support/engine.ts";
import { RawClient } from "../support/raw_client.ts";
import { TestNode } from "../support/node.ts";
import { PollingClient } from "../support/polling.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const CUT = "roomcast_slow_clients_disconnected_total";
const SKIPPED = "roomcast_messages_skipped_total";
/** Large, so that the kernel's buffers, some MB for each connection, fill up soon. */
const LARGE = "x".repeat(32_000);

/** Connects raw clients, and disconnects them at the end of the scope. */
async function connectRaw(
  node: TestNode,
  count: number,
  rooms: readonly string[],
  stack: AsyncDisposableStack,
): Promise<RawClient[]> {
  const clients = Array.from({ length: count }, () => new RawClient(rooms));
  stack.defer(() => clients.forEach((client) => client.cut()));
  for (const client of clients) client.connect(node.port);
  await until(
    "all clients have joined",
    () => clients.every(({ joined }) => joined === rooms.length),
  );
  return clients;
}

Deno.test("clients that do not read are disconnected, and recover when they read again; the others get every message", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start({
      ...env,
      CLIENT_BUFFER_BYTES_MAX: "262144",
    });
    await using stack = new AsyncDisposableStack();
    const quick = await connectRaw(node, 48, ["chat"], stack);
    const slow = await connectRaw(node, 2, ["chat"], stack);
    await node.publish("first");
    await until(
      "all clients have the message",
      () => [...quick, ...slow].every(({ received }) => received === 1),
    );
    const memory = await node.memory();
    for (const client of slow) client.pause();
    let published = 1;
    while (await node.metric(CUT) < slow.length) {
      assert.ok(published < 900, "no client has been disconnected");
      for (let i = 0; i < 10; i++, published++) await node.publish(LARGE);
    }
    await until(
      "the other clients have every message",
      () => quick.every(({ received }) => received === published),
    );
    assert.equal(await node.metric(CUT), slow.length);
    // This includes the messages that are kept for reconnecting clients: here several copies of the published ones.
    const grown = await node.memory() - memory;
    assert.ok(grown < 60e6 + 8 * published * LARGE.length, `${grown} bytes`);
    for (const client of slow) client.resume();
    await node.publish("last");
    published++;
    // `joined` comes after the replay, which is sent in chunks.
    await until(
      "the slow clients have caught up and joined again",
      () =>
        slow.every(({ received, joined }) =>
          received === published && joined === 2
        ),
    );
    for (const { recovered } of slow) assert.equal(recovered, true);
    await until(
      "the quick clients have caught up",
      () => quick.every(({ received }) => received === published),
    );
    for (const client of [...quick, ...slow]) {
      assert.deepEqual([client.disordered, client.gaps], [0, []]);
    }
    for (const { joined } of quick) assert.equal(joined, 1);
  }
});

Deno.test("a polling client whose buffer is full is disconnected only if it does not poll in time", async () => {
  await using node = await TestNode.start({ CLIENT_BUFFER_BYTES_MAX: "65536" });
  const slow = await PollingClient.connect(node.url, ["chat"]);
  const quick = await PollingClient.connect(node.url, ["chat"]);
  const got: unknown[] = [];
  for (let i = 0; i < 8; i++) {
    await node.publish(`${i}${LARGE}`);
    if (i === 1) assert.equal(await node.metric(CUT), 0);
    for (const [, message] of await quick.poll()) got.push(message);
  }
  assert.deepEqual(got, Array.from({ length: 8 }, (_, i) => `${i}${LARGE}`));
  assert.equal(await node.metric(CUT), 1);
  const { status } = await slow.ask();
  assert.equal(status, 400);
});

/** The parts of a stock client's connection that the next test uses (engine.io-client's `ws`). */
interface Pausing {
  readonly ws: {
    readonly _socket: { pause(): void; resume(): void };
    ping(data: string): void;
  };
}

Deno.test("stock clients that pause reading get every message in order, whether they are disconnected or not", async () => {
  for (const [bound, cut] of [["67108864", false], ["65536", true]] as const) {
    // A Redis for each round, because a node that starts on a used one begins with a gap.
    await using redis = await Redis.start();
    await using node = await TestNode.start({
      REDIS_URL: redis.url,
      HISTORY_SIZE: "2000",
      CLIENT_BUFFER_BYTES_MAX: bound,
    });
    await using stack = new AsyncDisposableStack();
    const clients: Subscriber[] = [];
    for (let i = 0; i < 6; i++) {
      // A polling client that was disconnected gets everything that it missed in one response, here up to 40 MB. The
      // stock client's xmlhttprequest-ssl decodes all of it again at each chunk, which takes longer than the test waits.
      const transports = i < 5 || cut ? ["websocket"] : ["polling"];
      const client = await Subscriber.connect(node.url, { transports });
      stack.use(client);
      await client.joined.have(1);
      clients.push(client);
    }
    const paused: Pausing["ws"][] = [];
    const resume = (): void => paused.shift()?._socket.resume();
    let count = 0;
    // This is more than the kernel buffers for all connections, and enough that unreferenced buffers are collected.
    for (let batch = 0; batch < 32; batch++) {
      const client = clients[batch % 8];
      if (client?.socket.connected && batch % 8 < 5) {
        const { ws } = client.socket.io.engine.transport as unknown as Pausing;
        ws._socket.pause();
        for (const data of ["", "ping", "p".repeat(125)]) ws.ping(data);
        paused.push(ws);
      }
      if (paused.length > 4) resume();
      const messages = Array.from({ length: 60 }, () => ({
        room: "chat",
        message: [count++, count % 3 === 0 ? "" : LARGE],
      }));
      const { status } = await node.post("/publish/batch", { messages });
      assert.equal(status, 200);
    }
    while (paused.length > 0) resume();
    for (const client of clients) {
      await until(
        "the client has every message",
        () => client.messages.items.length >= count,
        30_000,
      );
      assert.deepEqual(
        client.messages.items.map(({ message }) => (message as [number])[0]),
        Array.from({ length: count }, (_, number) => number),
      );
      assert.deepEqual(client.gaps.items, []);
    }
    assert.equal(await node.metric(CUT) > 0, cut);
    assert.equal(
      clients.some(({ disconnects }) => disconnects.items.length > 0),
      cut,
    );
  }
});

Deno.test("a client that keeps sending requests without reading the answers is disconnected", async () => {
  // Clients with the usual limit cannot send so much.
  await using node = await TestNode.start({ EVENTS_PER_SECOND_MAX: "100000" });
  const polling = await PollingClient.connect(node.url, ["chat"]);
  await polling.send(...Array.from({ length: 1_100 }, () => "40/none,"));
  assert.equal((await polling.ask()).status, 400);
  await using client = new RawConnection(node.port);
  await client.pieces.have(1);
  client.send('40{"rooms":[]}');
  await until(
    "the client is connected",
    () => client.text.includes('40{"sid"'),
  );
  // The answers are more than the kernel buffers for one connection.
  client.flood("40/none,", 400_000);
  await until(
    "the client is disconnected",
    async () => await node.metric("roomcast_clients") === 0,
  );
  assert.equal(
    await node.metric("roomcast_slow_clients_disconnected_total"),
    2,
  );
});

Deno.test("a message larger than the buffer disconnects a client only if the message is still unread at the next message", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start({
      ...env,
      CLIENT_BUFFER_BYTES_MAX: "65536",
      MESSAGE_BYTES_MAX: "16777216",
    });
    await using stack = new AsyncDisposableStack();
    const [quick, slow] = await connectRaw(node, 2, ["chat"], stack);
    assert.ok(quick !== undefined && slow !== undefined);
    slow.pause();
    // More than the kernel buffers for one connection.
    await node.publish("x".repeat(12_000_000));
    await until("the quick client has it", () => quick.received === 1);
    assert.equal(await node.metric(CUT), 0);
    await node.publish("more");
    await until(
      "the slow client is disconnected",
      async () => await node.metric(CUT) === 1,
    );
    slow.resume();
    await until(
      "both clients have caught up",
      () => quick.received === 2 && slow.received === 2 && slow.joined === 2,
    );
    assert.equal(quick.joined, 1);
    assert.deepEqual([quick.disordered, slow.disordered], [0, 0]);
  }
});

Deno.test("a reconnecting client is not disconnected for a replay that exceeds the limit", async () => {
  await using node = await TestNode.start({ CLIENT_BUFFER_BYTES_MAX: "65536" });
  await using stack = new AsyncDisposableStack();
  const [client] = await connectRaw(node, 1, ["chat"], stack);
  assert.ok(client !== undefined);
  await node.publish("first");
  await until("the client has the message", () => client.received === 1);
  client.cut();
  for (let i = 0; i < 250; i++) await node.publish(LARGE);
  client.pausing = true;
  client.connect(node.port);
  await until("the client has recovered", () => client.recovered);
  for (let i = 0; i < 5; i++) await node.publish("live");
  assert.equal(await node.metric(CUT), 0);
  client.resume();
  await until(
    "the client has caught up",
    () => client.received === 256 && client.joined === 2,
  );
  assert.equal(client.disordered, 0);
});

Deno.test("a client that requests many large join answers without reading is disconnected", async () => {
  await using node = await TestNode.start({ CLIENT_BUFFER_BYTES_MAX: "65536" });
  for (let i = 0; i < 30; i++) await node.publish(LARGE, "past");
  await using stack = new AsyncDisposableStack();
  const [client] = await connectRaw(node, 1, ["chat"], stack);
  assert.ok(client !== undefined);
  client.pause();
  for (let i = 0; i < 40; i++) client.ask("join", { room: "past", last: 30 });
  await until(
    "the client is disconnected",
    async () => await node.metric(CUT) === 1,
  );
});

Deno.test("a slow client receives a gap with reason overloaded if its missed messages were trimmed", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, HISTORY_SIZE: "10" };
  const first = await TestNode.start({
    ...env,
    CLIENT_BUFFER_BYTES_MAX: "65536",
  });
  await using stack = new AsyncDisposableStack();
  stack.use(first);
  const [client] = await connectRaw(first, 1, ["chat"], stack);
  assert.ok(client !== undefined);
  await first.publish("first");
  await until("the client has the message", () => client.received === 1);
  client.pause();
  while (await first.metric(CUT) < 1) {
    for (let i = 0; i < 10; i++) await first.publish(LARGE);
  }
  await until("the session records why it was disconnected", async () => {
    const [session] = await redis.command("KEYS", "*session:*") as string[];
    return String(await redis.command("GET", session ?? "")).includes(
      '"overloaded":true',
    );
  });
  client.cut();
  await redis.command("XTRIM", "roomcast:{roomcast}:log", "MAXLEN", "3");
  await using second = await TestNode.start(env);
  client.connect(second.port);
  await until("the client is back", () => client.joined === 2);
  assert.deepEqual([client.gaps, client.recovered], [["overloaded"], false]);
});

Deno.test("in rooms of LATEST_ROOMS, a node skips older messages only for a client that does not read", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start({
      ...env,
      LATEST_ROOMS: "ticker.*",
    });
    await using stack = new AsyncDisposableStack();
    const [quick, slow] = await connectRaw(
      node,
      2,
      ["ticker.a", "ticker.b", "chat"],
      stack,
    );
    assert.ok(quick !== undefined && slow !== undefined);
    slow.pause();
    let published = 0;
    while (published < 400) {
      await node.publish(LARGE, "ticker.a");
      await node.publish(LARGE, "ticker.b");
      await node.publish(published, "chat");
      published += 3;
    }
    await until(
      "the quick client has every message",
      () => quick.received === published,
    );
    assert.equal(await node.metric(CUT), 0);
    const skipped = await node.metric(SKIPPED);
    assert.ok(skipped > 50, `${skipped} were skipped`);
    slow.resume();
    const id = await node.publish("the end", "ticker.a");
    await until("the slow client has caught up", () => slow.offset === id);
    assert.equal(
      slow.received,
      published + 1 - await node.metric(SKIPPED),
    );
    assert.deepEqual([slow.disordered, quick.disordered], [0, 0]);
    assert.deepEqual([slow.joined, quick.joined], [3, 3]);
  }
});

Deno.test("in rooms of LATEST_ROOMS, no client is disconnected if a burst of messages exceeds the client's buffer", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start({
      ...env,
      LATEST_ROOMS: "ticker.*",
      CLIENT_BUFFER_BYTES_MAX: "65536",
    });
    await using stack = new AsyncDisposableStack();
    const [slow] = await connectRaw(node, 1, ["ticker.a"], stack);
    assert.ok(slow !== undefined);
    slow.pause();
    const messages = Array.from(
      { length: 100 },
      () => ({ room: "ticker.a", message: LARGE }),
    );
    // More than the kernel buffers for one connection.
    for (let i = 0; i < 10; i++) {
      await node.post("/publish/batch", { messages });
    }
    const id = await node.publish("the end", "ticker.a");
    await until(
      "all messages were delivered to it",
      async () => await node.metric("roomcast_deliveries_total") === 1001,
    );
    assert.equal(await node.metric(CUT), 0);
    assert.ok(await node.metric(SKIPPED) > 100);
    slow.resume();
    await until("the client has caught up", () => slow.offset === id);
    assert.deepEqual([slow.joined, slow.disordered], [1, 0]);
  }
});

Deno.test("in rooms of LATEST_ROOMS, a node keeps only the newest message of each room for a client between two polls", async () => {
  await using node = await TestNode.start({ LATEST_ROOMS: "ticker.*,prices" });
  const client = await PollingClient.connect(node.url, [
    "ticker.a",
    "prices",
    "chat",
  ]);
  for (let i = 0; i < 5; i++) {
    for (const room of ["ticker.a", "chat", "prices"]) {
      await node.publish(i, room);
    }
  }
  const events = await client.poll();
  assert.deepEqual(
    events.map(([event, message, info]) => [
      event,
      message,
      (info as { room: string }).room,
    ]),
    [
      ...[0, 1, 2, 3].map((i) => ["msgReceived", i, "chat"]),
      ["msgReceived", 4, "ticker.a"],
      ["msgReceived", 4, "chat"],
      ["msgReceived", 4, "prices"],
    ],
  );
  assert.equal(await node.metric(SKIPPED), 8);
});
