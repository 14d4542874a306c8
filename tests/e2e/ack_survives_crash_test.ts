/** A confirmed join or leave of a client is kept, even if the node is killed right after confirming it. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { settle } from "../support/oracle.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const FAST = {
  reconnectionDelay: 100,
  reconnectionDelayMax: 500,
  transports: ["websocket"],
};

interface Setup extends AsyncDisposable {
  redis: Redis;
  node: TestNode;
  other: TestNode;
  proxy: Proxy;
  /**
   * Lets Redis take no writes for 300 ms, so that a node which confirms before it saves is killed before it has saved.
   */
  pause(): Promise<unknown>;
  /** Kills the node that the proxy's clients use; they reconnect to the other node. */
  kill(): void;
}

async function setUp(): Promise<Setup> {
  const stack = new AsyncDisposableStack();
  const redis = stack.use(await Redis.start());
  const env = { REDIS_URL: redis.url };
  const node = stack.use(await TestNode.start(env));
  const other = stack.use(await TestNode.start(env));
  const proxy = stack.use(await Proxy.start(node.port));
  return {
    redis,
    node,
    other,
    proxy,
    pause: () => redis.command("CLIENT", "PAUSE", "300", "WRITE"),
    kill: () => {
      node.signal("SIGKILL");
      proxy.targets = [other.port];
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

Deno.test("a client keeps its session if its node is killed while sending the event joined to the client", async () => {
  await using all = await setUp();
  await all.pause();
  await using client = new Subscriber(all.proxy.url, FAST);
  client.socket.once("joined", () => all.kill());
  await client.connects.have(2);
  assert.deepEqual(client.connects.items, [false, true]);
  await settle(all.other, [client]);
  assert.deepEqual(client.gaps.items, []);
});

Deno.test("a client stays in a room after a reconnect if its node is killed while answering the join", async () => {
  await using all = await setUp();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await client.joined.have(1);
  await all.pause();
  client.socket.emit("join", { room: "b" }, () => all.kill());
  await client.connects.have(2);
  await all.other.publish("for b", "b");
  await settle(all.other, [client]);
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    ["for b", "the end"],
  );
  assert.deepEqual(client.connects.items, [false, true]);
});

Deno.test("a client stays out of a room after a reconnect if its node is killed while answering the leave", async () => {
  await using all = await setUp();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await client.ask("join", { room: "b" });
  await all.pause();
  client.socket.emit("leave", { room: "b" }, () => all.kill());
  await client.connects.have(2);
  await all.other.publish("for b", "b");
  await settle(all.other, [client]);
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    ["the end"],
  );
  assert.deepEqual(client.connects.items, [false, true]);
});

Deno.test("a client gets the messages of a join answer once if its node is killed while sending the answer", async () => {
  await using all = await setUp();
  const { other } = all;
  const ids = [
    await other.publish("one", "b"),
    await other.publish("two", "b"),
  ];
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await client.joined.have(1);
  await all.pause();
  const answered = new Promise<{ messages: { id: string }[] }>((resolve) =>
    client.socket.emit("join", { room: "b", last: 5 }, resolve)
  );
  client.socket.once("position", () => all.kill());
  const { messages } = await answered;
  assert.deepEqual(messages.map(({ id }) => id), ids);
  await client.connects.have(2);
  await other.publish("three", "b");
  await settle(other, [client]);
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    ["three", "the end"],
  );
  assert.deepEqual(client.connects.items, [false, true]);
});

Deno.test("clients can connect while Redis does not reply, and their sessions are saved when Redis replies again", async () => {
  await using all = await setUp();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  all.redis.signal("SIGSTOP");
  await using late = await Subscriber.connect(all.proxy.url, FAST);
  const [left] = await client.ask("leave", { room: "chat" });
  const [refused] = await client.ask("join", { room: "b" });
  assert.deepEqual([left, refused].map(({ ok, error }) => [ok, error.code]), [
    [false, "log_unreachable"],
    [false, "log_unreachable"],
  ]);
  const failures = all.node.log.items.filter(({ where }) =>
    where === "saving sessions"
  );
  assert.equal(failures.length, 1, "logged once");
  all.redis.signal("SIGCONT");
  await until(
    "the room can be joined",
    async () => (await client.ask("join", { room: "b" }))[0].ok,
  );
  await until(
    "both sessions are saved",
    async () =>
      (await all.redis.command("KEYS", "*session:*") as string[]).length === 2,
  );
  // While Redis does not reply, a node may take it for another one. It then recovers clients only after a check.
  for (const { log } of [all.node, all.other]) {
    const count = (kind: string): number =>
      log.items.filter((line) => line.kind === kind).length;
    await until(
      "the node has checked its log",
      () => count("epoch_confirmed") >= count("epoch_unconfirmed"),
    );
  }
  all.kill();
  await client.connects.have(2);
  await all.other.publish("for b", "b");
  await settle(all.other, [client, late]);
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    ["for b", "the end"],
  );
  assert.deepEqual(client.connects.items, [false, true]);
  assert.deepEqual(late.connects.items, [false, true]);
});

Deno.test("a node logs an unreachable Redis as redis_disconnected, and not as an error, while clients connect and join", async () => {
  await using all = await setUp();
  await all.redis.kill();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  const [answer] = await client.ask("join", { room: "b" });
  assert.equal(answer.error.code, "log_unreachable");
  await all.redis.restart();
  await settle(all.node, [client]);
  const kinds = all.node.log.items.map(({ kind }) => kind);
  assert.ok(kinds.includes("redis_disconnected"));
  assert.ok(!kinds.includes("error"), all.node.output);
});

Deno.test("the last of several joins and leaves of a room takes effect even if the client does not wait for the answers", async () => {
  await using node = await TestNode.start();
  await using client = await Subscriber.connect(node.url, FAST);
  const asked = [
    client.ask("join", { room: "in" }),
    client.ask("leave", { room: "in" }),
    client.ask("join", { room: "in", last: 5 }),
    client.ask("join", { room: "out", last: 5 }),
    client.ask("leave", { room: "out" }),
  ];
  for (const [answer] of await Promise.all(asked)) assert.ok(answer.ok);
  await node.publish("in", "in");
  await node.publish("out", "out");
  await settle(node, [client]);
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    ["in", "the end"],
  );
});
