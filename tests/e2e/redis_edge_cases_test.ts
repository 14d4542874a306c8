/** Rare states of Redis and of the connections to it, each with the set-up that leads there. */
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { Subscriber } from "../support/client.ts";
import { listen, Proxy } from "../support/net.ts";
import { type LogLine, TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const LOG = "roomcast:{roomcast}:log";

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until `count` nodes are reading the log. Unlike `/readyz` this adds no entry to it. */
async function untilReading(redis: Redis, count: number): Promise<void> {
  await until("the nodes read the log", async () => {
    const list = String(await redis.command("CLIENT", "LIST"));
    const lines = list.split("\n").filter((line) =>
      line.includes(" name=roomcast-reader ") && line.includes(" cmd=xread ")
    );
    return lines.length === count;
  });
}

/** Starts a node that reaches Redis through a proxy, another one that does not, and a client of the first. */
async function behindProxy(): Promise<
  AsyncDisposable & {
    redis: Redis;
    proxy: Proxy;
    node: TestNode;
    other: TestNode;
    client: Subscriber;
  }
> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await Redis.start());
  const proxy = stack.use(await Proxy.start(redis.port));
  const url = `redis://127.0.0.1:${proxy.port}`;
  const node = stack.use(await TestNode.start({ REDIS_URL: url }));
  const other = stack.use(await TestNode.start({ REDIS_URL: redis.url }));
  const client = stack.use(await Subscriber.connect(node.url));
  const all = stack.move();
  return {
    redis,
    proxy,
    node,
    other,
    client,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

Deno.test("messages of other nodes arrive within 6 s if a node's Redis connections are half-open", async () => {
  await using all = await behindProxy();
  const { proxy, other, client } = all;
  await other.publish("before");
  await client.messages.have(1);
  proxy.freeze();
  proxy.thaw();
  await other.publish("after");
  await client.messages.have(2, 6000);
});

Deno.test("publishing works again within 8 s if a node's Redis connections are half-open", async () => {
  await using all = await behindProxy();
  const { proxy, node, client } = all;
  await node.publish("before");
  await client.messages.have(1);
  proxy.freeze();
  proxy.thaw();
  await until(
    "a publish succeeds",
    async () =>
      (await node.post("/publish", { message: "after" })).status === 200,
    8000,
  );
  await client.messages.where(() =>
    client.messages.items.at(-1)?.message === "after"
  );
});

Deno.test("a Redis PUBLISH is delivered again within 10 s, after a gap, if a node's Redis connections are half-open", async () => {
  await using redis = await Redis.start();
  await using proxy = await Proxy.start(redis.port);
  await using node = await TestNode.start({
    REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
  });
  await using client = await Subscriber.connect(node.url);
  await redis.command("PUBLISH", "chat", "before");
  await client.messages.have(1);
  proxy.freeze();
  proxy.thaw();
  await until("a PUBLISH arrives", async () => {
    await redis.command("PUBLISH", "chat", "after");
    await wait(200);
    return client.messages.items.length > 1;
  }, 10_000);
  assert.ok(node.log.items.some(({ kind }) => kind === "bridge_gap"));
});

Deno.test("a node that has not read any entry yet misses no entry if it is suspended between two reads", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env, { ready: false });
  await untilReading(redis, 2);
  await using client = await Subscriber.connect(b.url);
  b.signal("SIGSTOP");
  // Longer than a read may block, so that no read is in flight when the node continues.
  await wait(1500);
  await a.publish("while it stood still");
  b.signal("SIGCONT");
  await client.messages.have(1);
});

Deno.test("clients receive a gap with reason epoch if the log has lost its newest entry and got new entries", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using client = await Subscriber.connect(node.url);
  await node.publish("kept");
  const lost = await node.publish("lost");
  await client.messages.have(2);
  node.signal("SIGSTOP");
  await wait(1500);
  await redis.command("XDEL", LOG, lost);
  const fields = ["room", "chat", "message", '"new"'];
  await redis.command("XADD", LOG, "*", ...fields);
  node.signal("SIGCONT");
  const [gap] = await client.gaps.have(1, 5000);
  assert.equal(gap?.reason, "epoch");
});

Deno.test("clients receive a gap with reason epoch if the log lost entries before their node had read any entry", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await (await TestNode.start(env))[Symbol.asyncDispose]();
  const future = Date.now() + 3_600_000;
  for (let i = 1; i <= 3; i++) {
    const fields = ["room", "chat", "message", `"ahead ${i}"`];
    await redis.command("XADD", LOG, `${future}-${i}`, ...fields);
  }
  await using node = await TestNode.start(env, { ready: false });
  await untilReading(redis, 1);
  await using client = await Subscriber.connect(node.url);
  // These three, and what the node has added after them.
  const ahead = await redis.command("XRANGE", LOG, `${future}-0`, "+") as [
    string,
  ][];
  await redis.removeEntries(LOG, ahead.map(([id]) => id));
  const [gap] = await client.gaps.have(1, 5000);
  assert.equal(gap?.reason, "epoch");
  const id = await node.publish("after");
  await client.messages.where(() => client.ids.includes(id), 5000);
});

Deno.test("a node that cannot read the log pauses between its attempts", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using client = await Subscriber.connect(node.url);
  await redis.command("RENAME", LOG, "aside");
  await redis.command("SET", LOG, "in the way");
  const before = await redis.calls("xread");
  await wait(3000);
  const reads = await redis.calls("xread") - before;
  assert.ok(reads < 30, `${reads} XREADs in 3 s`);
  await redis.command("RENAME", "aside", LOG);
  await until(
    "it is ready",
    async () => (await node.get("/readyz")).status === 200,
  );
  await node.publish("after");
  await client.messages.have(1);
});

Deno.test("a node starts and returns histories if the log and a history have malformed entries", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using first = await TestNode.start(env);
  await first.publish("before");
  await redis.command("XADD", LOG, "*", "run", "x", "chat", "garbage");
  const history = "roomcast:{roomcast}:history:chat";
  await redis.command("XADD", history, "*", "run", "2", "lines", "garbage");
  await redis.command("XADD", history, "*", "run", "3", "lines", "0 {broken");
  await first.publish("after");
  await using second = await TestNode.start(env);
  const { status, body } = await second.get("/rooms/chat/history");
  assert.equal(status, 200);
  assert.deepEqual(
    body.messages.map(({ message }: { message: unknown }) => message),
    ["before", "after"],
  );
  // A malformed entry must not end a page early either, which would skip the messages after it.
  for (let i = 0; i < 5; i++) await first.publish(i);
  const paged: unknown[] = [];
  let since = "";
  for (let pages = 0; pages < 9; pages++) {
    const { body } = await second.get(
      `/rooms/chat/history?limit=2&order=asc${since && `&since=${since}`}`,
    );
    paged.push(
      ...body.messages.map(({ message }: { message: unknown }) => message),
    );
    since = body.position;
  }
  assert.deepEqual(paged, ["before", "after", 0, 1, 2, 3, 4]);
});

Deno.test("publishes do not trim a log that consists of recent probes", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await (await TestNode.start(env))[Symbol.asyncDispose]();
  for (let i = 0; i < 40; i++) {
    await redis.command("XADD", LOG, "*", "probe", String(i));
  }
  const last = await redis.command("XADD", LOG, "*", "probe", "last");
  // As if there had been many more entries before.
  await redis.command("XSETID", LOG, String(last), "ENTRIESADDED", "200000");
  await using node = await TestNode.start(env);
  await using client = await Subscriber.connect(node.url);
  const messages = [1, 2].map((message) => ({ room: "chat", message }));
  await node.post("/publish/batch", { messages });
  await client.messages.have(2);
  await node.publish("the end");
  await client.messages.have(3);
  assert.ok(Number(await redis.command("XLEN", LOG)) > 40);
  assert.equal(client.gaps.items.length, 0);
});

Deno.test("a node says that Redis is too old, and from which version on it can be used", async () => {
  await using redis = await Redis.start();
  // A real Redis, of which only the version that it names is changed.
  const proxy = createServer((client) => {
    const server = connect(redis.port, "127.0.0.1");
    client.pipe(server);
    server.on("data", (bytes) => {
      const text = bytes.toString("latin1");
      client.write(text.replace(/(?<=redis_version:)\d/, "6"), "latin1");
    });
    for (const [from, to] of [[client, server], [server, client]] as const) {
      from.on("error", () => {}).on("close", () => to.destroy());
    }
  });
  const url = `redis://127.0.0.1:${await listen(proxy)}`;
  try {
    await using node = await TestNode.start({ REDIS_URL: url }, {
      ready: false,
    });
    const { status, body } = await node.post("/publish", { message: "hello" });
    assert.equal(status, 503);
    assert.equal(body.error.code, "log_failed");
    assert.match(
      body.error.message,
      /^Cannot use Redis 6\.\S+: it is older than 7\.0; upgrade Redis to 7\.0 or newer$/,
    );
    const isReported = ({ kind, why }: LogLine) =>
      kind === "redis_disconnected" && /older than 7\.0/.test(String(why));
    await node.log.where(() => node.log.items.some(isReported));
  } finally {
    proxy.close();
  }
});
