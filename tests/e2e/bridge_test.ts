/** The bridge with real nodes and Redis: each plain PUBLISH reaches its room once and in order, whatever fails. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  killClient,
  makeChaos,
  Producer,
  readRoom,
  synchronizedNodes,
} from "../support/bridge_chaos.ts";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const HISTORY = { HISTORY_SIZE: "100000" };

/** Waits until a room's history has as many messages as were sent; returns them. */
async function historyOf(
  node: TestNode,
  sent: readonly string[],
  room = "chat",
): Promise<unknown[]> {
  let messages: unknown[] = [];
  await until(
    "everything sent is in the room",
    async () =>
      (messages = (await readRoom(node, room)).messages).length >= sent.length,
  ).catch(() => {});
  return messages;
}

/** Returns the number of subscribers of a channel. */
async function subscribersOf(redis: Redis, channel: string): Promise<number> {
  const [, count] = await redis.command(
    "PUBSUB",
    "NUMSUB",
    channel,
  ) as unknown[];
  return Number(count);
}

Deno.test("the bridge appends every PUBLISH once and in order while connections and nodes are killed", async () => {
  const { sent, messages, complete, done } = await makeChaos({
    seconds: 15,
    perSecond: 500,
  });
  assert.deepEqual(messages, sent);
  assert.ok(complete, "no gap was recorded");
  assert.ok(Number(done["killed roomcast-bridge"]) >= 10, JSON.stringify(done));
});

Deno.test("the bridge appends every PUBLISH once while a node is stopped and replaced ten times under load", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, ...HISTORY };
  await using one = await TestNode.start(env);
  const producer = await Producer.start(redis, 200);
  for (let i = 0; i < 10; i++) {
    await using other = await TestNode.start(env);
    await until(
      "both nodes are synchronized",
      async () => await synchronizedNodes([one, other]) === 2,
    );
    other.signal("SIGTERM");
    assert.equal(await other.exited(), 0);
  }
  await producer.stop();
  assert.deepEqual(await historyOf(one, producer.sent), producer.sent);
  assert.equal((await readRoom(one)).complete, true);
});

Deno.test("another node continues to append without a gap if the node that appends is stopped or killed", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, ...HISTORY };
  await using stack = new AsyncDisposableStack();
  const nodes: TestNode[] = [];
  const start = async () => nodes.push(stack.use(await TestNode.start(env)));
  await start();
  await start();
  const producer = await Producer.start(redis, 100);
  for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"] as const) {
    await until(
      "both nodes are synchronized",
      async () => await synchronizedNodes(nodes) === 2,
    );
    const [writer] = nodes.splice(0, 1);
    writer?.signal(signal);
    await writer?.exited();
    await start();
  }
  await producer.stop();
  const [node] = nodes;
  assert.ok(node);
  assert.deepEqual(await historyOf(node, producer.sent), producer.sent);
  assert.equal((await readRoom(node)).complete, true);
});

Deno.test("the bridge works again within 3 s after Redis restarts, and every client receives one ingress gap", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, ...HISTORY };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env);
  await using proxy = await Proxy.start(a.port);
  const options = {
    auth: { rooms: ["chat", "quiet"] },
    reconnectionDelay: 50,
    transports: ["websocket"],
  };
  await using there = await Subscriber.connect(b.url, options);
  await using away = await Subscriber.connect(proxy.url, options);
  await redis.command("PUBLISH", "chat", "before");
  await Promise.all([there, away].map(({ messages }) => messages.have(1)));
  const before = there.ids.at(-1) ?? "";
  proxy.targets = [];
  proxy.cut();
  await away.disconnects.have(1);
  await redis.kill();
  await redis.restart();
  const restarted = performance.now();
  await until("PUBLISH works", async () => {
    await redis.command("PUBLISH", "chat", "after");
    return there.messages.items.length > 1;
  });
  const took = performance.now() - restarted;
  assert.ok(took < 3000, `it took ${took} ms`);
  const concerning = (client: Subscriber, room: string) =>
    client.gaps.items.filter((gap) => gap.room === room).map(({ reason }) =>
      reason
    );
  assert.deepEqual(concerning(there, "chat"), ["ingress"]);
  assert.deepEqual(concerning(there, "quiet"), []);
  proxy.targets = [a.port];
  await away.messages.have(2);
  await away.joined.have(4);
  assert.deepEqual(concerning(away, "chat"), ["ingress"]);
  assert.deepEqual(concerning(away, "quiet"), []);
  assert.deepEqual(away.connects.items, [false, false]);
  for (
    const [room, recovered, reason] of [
      ["chat", false, "ingress"],
      ["quiet", true, undefined],
    ] as const
  ) {
    const joined = away.joined.items.slice(2).find((one) => one.room === room);
    assert.deepEqual([joined?.recovered, joined?.reason], [recovered, reason]);
  }
  const complete = async (query: string) =>
    (await a.get(`/rooms/chat/history?${query}`)).body.complete;
  assert.equal(await complete(""), false);
  assert.equal(await complete("order=desc"), false);
  assert.equal(await complete(`since=${before}`), false);
  const gap = there.gaps.items[0]?.id ?? "";
  assert.equal(await complete(`since=${gap}`), true);
  // The gap is sent once: a client that has received it recovers completely.
  there.socket.io.engine.close();
  await there.connects.have(2);
  assert.equal(there.connects.items[1], true);
  // A node that starts later knows the gap as well.
  await using late = await TestNode.start(env);
  await using returning = await Subscriber.connect(late.url, {
    auth: { rooms: [{ room: "chat", since: before }] },
  });
  const [joined] = await returning.joined.have(1);
  assert.deepEqual([joined?.recovered, joined?.reason], [false, "ingress"]);
  assert.equal(returning.messages.items[0]?.message, "after");
});

Deno.test("the bridge replaces a subscription that delivers nothing, and records a gap for the missed messages", async () => {
  await using redis = await Redis.start();
  await using way = await Proxy.start(redis.port);
  await using node = await TestNode.start({
    REDIS_URL: `redis://127.0.0.1:${way.port}`,
  });
  await using client = await Subscriber.connect(node.url);
  // Redis drops the subscription without notice: the connection stands and answers pings, but delivers nothing.
  const gone = async () => {
    const list = String(await redis.command("CLIENT", "LIST"));
    return !/ name=roomcast-bridge .* sub=[1-9]/.test(list);
  };
  way.freeze();
  way.thaw();
  await until("the frozen connections are replaced", async () => {
    await redis.command("PUBLISH", "chat", "again");
    return client.messages.items.length > 0;
  });
  assert.equal(await gone(), false);
  assert.deepEqual(client.gaps.items.map(({ reason }) => reason), ["ingress"]);
});

Deno.test("the bridge refuses invalid payloads, counts them by reason and logs no content", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({
    REDIS_URL: redis.url,
    MESSAGE_BYTES_MAX: "20",
    CHANNELS: "chat,secret*",
  });
  await using client = await Subscriber.connect(node.url);
  const publish = (channel: string, payload: string | Uint8Array) =>
    redis.command("PUBLISH", channel, payload as string);
  await publish("chat", "");
  await publish("chat", Buffer.from([0x68, 0xff, 0xfe]));
  await publish("chat", "a-secret-that-is-too-long");
  await publish(`secret${"x".repeat(300)}`, "hello");
  await publish("secret\u0001", "hello");
  await publish("chat", "one");
  await client.messages.have(1);
  await until(
    "the refused payloads are counted",
    async () => await node.metric("roomcast_bridge_refused_total") === 5,
  );
  const { text } = await node.get("/metrics");
  for (
    const line of [
      'reason="empty"} 1',
      'reason="not_utf8"} 1',
      'reason="message_too_large"} 1',
      'reason="invalid_room"} 2',
    ]
  ) assert.ok(text.includes(`roomcast_bridge_refused_total{${line}`), line);
  assert.equal(await node.metric("roomcast_bridged_total"), 1);
  assert.equal(client.messages.items.length, 1);
  assert.doesNotMatch(node.output, /a-secret-that|secretx/);
});

Deno.test("three of five nodes subscribe to the Redis channels, and another node subscribes if one of the three ends", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, ...HISTORY };
  await using stack = new AsyncDisposableStack();
  const nodes: TestNode[] = [];
  for (let i = 0; i < 5; i++) nodes.push(stack.use(await TestNode.start(env)));
  const threeListen = () =>
    until(
      "three nodes listen and are synchronized",
      async () =>
        await subscribersOf(redis, "chat") === 3 &&
        await synchronizedNodes(nodes) === 3,
    );
  await threeListen();
  const producer = await Producer.start(redis, 100);
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    const states = await Promise.all(
      nodes.map((node) => node.metric("roomcast_bridge_in_step")),
    );
    const [gone] = nodes.splice(states.indexOf(1), 1);
    gone?.signal(signal);
    await gone?.exited();
    await threeListen();
  }
  await producer.stop();
  const [node] = nodes;
  assert.ok(node);
  assert.deepEqual(await historyOf(node, producer.sent), producer.sent);
});

Deno.test("once Redis has memory again, the bridge appends the messages that were published while Redis was full, in order", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using client = await Subscriber.connect(node.url);
  await redis.command("CONFIG", "SET", "maxmemory", "1mb");
  for (let i = 0; i < 100; i++) {
    await redis.command("PUBLISH", "chat", String(i));
  }
  await until(
    "bridge_stuck is logged",
    () => node.log.items.some(({ kind }) => kind === "bridge_stuck"),
  );
  assert.equal(client.messages.items.length, 0);
  await until(
    "the node is not ready",
    async () => (await node.get("/readyz")).status === 503,
  );
  await redis.command("CONFIG", "SET", "maxmemory", "0");
  await client.messages.have(100);
  assert.deepEqual(
    client.messages.items.map(({ message }) => Number(message)),
    Array.from({ length: 100 }, (_, i) => i),
  );
  assert.equal(client.gaps.items.length, 0);
});

Deno.test("nodes with new CHANNELS take over, with a gap, after the last node with the old CHANNELS has ended", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, ...HISTORY };
  await using old = await TestNode.start(env);
  await using changed = await TestNode.start({ ...env, CHANNELS: "chat,news" });
  await using client = await Subscriber.connect(changed.url, {
    auth: { rooms: ["chat", "news"] },
  });
  for (let i = 0; i < 50; i++) {
    await redis.command("PUBLISH", "chat", `old ${i}`);
    await redis.command("PUBLISH", "news", "not bridged yet");
  }
  await client.messages.have(50);
  assert.equal(await synchronizedNodes([changed]), 0);
  const { body: ready } = await changed.get("/readyz");
  assert.match(String(ready.warnings), /other CHANNELS/);
  old.signal("SIGTERM");
  await old.exited();
  await until(
    "the other node is synchronized",
    async () => await synchronizedNodes([changed]) === 1,
  );
  assert.deepEqual((await changed.get("/readyz")).body.warnings, []);
  await redis.command("PUBLISH", "chat", "new");
  await redis.command("PUBLISH", "news", "new");
  await client.messages.have(52);
  const messages = client.messages.items.map(({ message }) => message);
  assert.equal(new Set(messages.slice(0, 50)).size, 50);
  assert.deepEqual(messages.slice(50), ["new", "new"]);
  assert.deepEqual(
    client.gaps.items.map(({ room, reason }) => `${room} ${reason}`).sort(),
    ["chat ingress", "news ingress"],
  );
});

Deno.test("the bridges of three nodes need at most 1.2 append scripts per message at 10 messages/s and 0.3 at 1,000 messages/s", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, ...HISTORY };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env);
  await using c = await TestNode.start(env);
  const nodes = [a, b, c];
  await until(
    "all nodes are synchronized",
    async () => await synchronizedNodes(nodes) === 3,
  );
  const scripts = async () =>
    (await Promise.all(
      nodes.map((node) => node.metric("roomcast_bridge_appends_total")),
    )).reduce((sum, one) => sum + one);
  for (const [perSecond, seconds, most] of [[10, 5, 1.2], [1000, 3, 0.3]]) {
    const before = await scripts();
    const producer = await Producer.start(redis, perSecond ?? 0);
    await until(
      "enough messages are sent",
      () => producer.sent.length >= (perSecond ?? 0) * (seconds ?? 0),
    );
    await producer.stop();
    await until(
      "they are in the log",
      async () => (await a.metric("roomcast_bridge_pending")) === 0,
    );
    const share = (await scripts() - before) / producer.sent.length;
    assert.ok(
      share <= (most ?? 0),
      `${share} scripts per message at ${perSecond}/s`,
    );
  }
});

Deno.test("the bridge loses no message if the subscription of one node is killed while a second node is subscribed", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, ...HISTORY };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env);
  const losses = async () =>
    await a.metric("roomcast_redis_disconnections_total") +
    await b.metric("roomcast_redis_disconnections_total");
  const producer = await Producer.start(redis, 300);
  for (let i = 0; i < 15; i++) {
    await until(
      "both nodes are synchronized",
      async () => await synchronizedNodes([a, b]) === 2,
    );
    const before = await losses();
    await killClient(redis, "roomcast-bridge");
    await until("a node has noticed", async () => await losses() > before);
  }
  await producer.stop();
  assert.deepEqual(await historyOf(a, producer.sent), producer.sent);
  assert.equal((await readRoom(a)).complete, true);
});

Deno.test("the bridge records a gap if Redis loses the bridge's state but not the log", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using first = await TestNode.start(env);
  await redis.command("PUBLISH", "chat", "received");
  await until(
    "it is in the log",
    async () => (await readRoom(first)).messages.length === 1,
  );
  const since = (await first.get("/rooms/chat/history")).body.messages[0].id;
  first.signal("SIGTERM");
  await first.exited();
  await redis.command("DEL", "roomcast:{roomcast}:bridge");
  // An unreadable list of gaps must neither prevent the gap nor repeat it.
  await redis.command("SET", "roomcast:{roomcast}:gaps", "something else");
  await redis.command("PUBLISH", "chat", "received by no node");
  await using second = await TestNode.start(env);
  await until(
    "it is synchronized",
    async () => await synchronizedNodes([second]) === 1,
  );
  const { body } = await second.get(`/rooms/chat/history?since=${since}`);
  assert.equal(body.complete, false);
  assert.equal(await second.metric("roomcast_bridge_gaps_total"), 1);
});

Deno.test("if the log has lost its newest messages, the bridge records a gap and continues", async () => {
  await using redis = await Redis.start();
  await using a = await TestNode.start({ REDIS_URL: redis.url });
  await using b = await TestNode.start({ REDIS_URL: redis.url });
  await using client = await Subscriber.connect(b.url);
  for (let i = 0; i < 5; i++) {
    await redis.command("PUBLISH", "chat", String(i));
  }
  await client.messages.have(5);
  await redis.command("HSET", "roomcast:{roomcast}:bridge", "number", "2");
  await until("PUBLISH works", async () => {
    await redis.command("PUBLISH", "chat", "after");
    return client.messages.items.at(-1)?.message === "after";
  });
  assert.deepEqual(client.gaps.items.map(({ reason }) => reason), ["ingress"]);
  await a.publish("the end");
});

Deno.test("two installations with CHANNELS=* do not relay each other's messages or keyspace notifications", async () => {
  await using redis = await Redis.start({
    args: ["--notify-keyspace-events", "KEA"],
  });
  const env = { REDIS_URL: redis.url, CHANNELS: "*" };
  await using one = await TestNode.start(env);
  await using two = await TestNode.start({ ...env, KEY_PREFIX: "other" });
  await using client = await Subscriber.connect(one.url);
  await redis.command("PUBLISH", "chat", "hello");
  await client.messages.have(1);
  await until(
    "both installations have it",
    async () => (await readRoom(two)).messages.length === 1,
  );
  await one.publish("by HTTP");
  await client.messages.have(2);
  for (const node of [one, two]) {
    assert.equal(await node.metric("roomcast_bridged_total"), 1);
  }
});
