import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { soon, until } from "../support/wait.ts";

const CLIENTS = 50;

for (const redisStops of [false, true]) {
  const how = redisStops ? "with Redis stopped" : "with Redis up";
  Deno.test(`SIGTERM disconnects all clients, which reconnect to another node, and ends the process within 2 s, ${how}`, async () => {
    await using redis = await Redis.start();
    const env = { REDIS_URL: redis.url, DRAIN_SECONDS: "1" };
    await using leaving = await TestNode.start(env);
    await using staying = await TestNode.start(env);
    await using balancer = await Proxy.start(leaving.port);
    await using clients = new AsyncDisposableStack();
    const all: Subscriber[] = [];
    for (let i = 0; i < CLIENTS; i++) {
      const transports = i % 5 === 0 ? ["polling"] : ["websocket"];
      const options = {
        transports,
        reconnectionDelay: 100,
        reconnectionDelayMax: 500,
      };
      all.push(clients.use(await Subscriber.connect(balancer.url, options)));
    }
    balancer.targets = [staying.port];
    if (redisStops) redis.signal("SIGSTOP");

    const start = performance.now();
    leaving.signal("SIGTERM");
    await until(
      "readyz responds with 503",
      async () => (await leaving.get("/readyz")).status === 503,
      500,
    );
    const code = await leaving.exited();
    const took = performance.now() - start;
    assert.equal(code, 0);
    assert.ok(took < 2000, `took ${took} ms`);

    await Promise.all(all.map((client) => client.connects.have(2)));
    for (const client of all) {
      assert.ok(
        client.disconnects.items.every((reason) =>
          reason !== "io server disconnect"
        ),
      );
      assert.equal(client.connects.items.length, 2);
    }
    if (redisStops) redis.signal("SIGCONT");
    await until(
      "the other node is ready",
      async () => (await staying.get("/readyz")).status === 200,
    );
    await staying.publish("after the move");
    const received = await Promise.all(
      all.map((client) => client.messages.have(1)),
    );
    assert.ok(received.every(([first]) => first?.message === "after the move"));
  });
}

Deno.test("a node closes its clients' connections evenly over DRAIN_SECONDS", async () => {
  await using node = await TestNode.start({ DRAIN_SECONDS: "2" });
  await using clients = new AsyncDisposableStack();
  const left: number[] = [];
  for (let i = 0; i < 20; i++) {
    const client = clients.use(
      await Subscriber.connect(node.url, { reconnection: false }),
    );
    client.socket.on("disconnect", () => left.push(performance.now()));
  }
  const start = performance.now();
  node.signal("SIGINT");
  assert.equal(await node.exited(), 0);
  await until("all clients are disconnected", () => left.length === 20);
  const halfway = left.filter((at) => at - start < 1050).length;
  assert.ok(
    halfway >= 7 && halfway <= 13,
    `${halfway} of 20 had left at half time`,
  );
});

Deno.test("SIGTERM answers publishes in flight and does not wait for DRAIN_SECONDS if there are no clients", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({
    REDIS_URL: redis.url,
    DRAIN_SECONDS: "60",
  });
  await redis.command("CLIENT", "PAUSE", "500", "ALL");
  const inFlight = Array.from(
    { length: 20 },
    (_, i) => node.post("/publish", { message: i }),
  );
  await until(
    "they are in flight",
    async () => await countInFlight(node) === 20,
  );
  node.signal("SIGTERM");
  const replies = await Promise.all(inFlight);
  assert.deepEqual(replies.map(({ status }) => status), Array(20).fill(200));
  assert.equal(await node.exited(), 0);
});

Deno.test("a stopping node answers requests and closes their connections", async () => {
  await using node = await TestNode.start({ DRAIN_SECONDS: "60" });
  await using _client = await Subscriber.connect(node.url, {
    reconnection: false,
  });
  const connection = async (): Promise<string | undefined> => {
    const agent = new Agent({ keepAlive: true });
    const asked = request(`${node.url}/publish`, {
      agent,
      method: "POST",
      headers: { "content-type": "text/plain" },
    });
    asked.end("hello");
    const [response] = await soon(once(asked, "response"), "it is answered");
    response.resume();
    await once(response, "end");
    agent.destroy();
    assert.equal(response.statusCode, 200);
    return response.headers.connection;
  };
  assert.equal(await connection(), "keep-alive");
  node.signal("SIGTERM");
  await until(
    "the node is stopping",
    async () => (await node.get("/readyz")).status === 503,
  );
  assert.equal(await connection(), "close");
});

Deno.test("a second signal ends the process at once", async () => {
  await using node = await TestNode.start({ DRAIN_SECONDS: "60" });
  await using _client = await Subscriber.connect(node.url, {
    reconnection: false,
  });
  node.signal("SIGTERM");
  await until(
    "the node is stopping",
    async () => (await node.get("/readyz")).status === 503,
  );
  const start = performance.now();
  // Two signals within 50 ms count as one, because a terminal's Ctrl-C arrives directly and through `deno task`.
  await until("the process has ended", async () => {
    try {
      node.signal("SIGTERM");
      await node.get("/livez");
      return false;
    } catch {
      return true;
    }
  });
  assert.notEqual(await node.exited(), 0);
  assert.ok(performance.now() - start < 5000);
});

Deno.test("/livez and /readyz respond within 300 ms in every state of Redis", async (t) => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  const both = async (ready: number): Promise<void> => {
    for (
      const [path, status] of [["/livez", 200], ["/readyz", ready]] as const
    ) {
      const start = performance.now();
      const reply = await node.get(path);
      const took = performance.now() - start;
      assert.equal(reply.status, status, reply.text);
      assert.ok(took < 300, `${path} took ${took} ms`);
    }
  };
  const turnsUnready = (): Promise<void> =>
    until(
      "readyz responds with 503",
      async () => (await node.get("/readyz")).status === 503,
    );
  const recovers = (): Promise<void> =>
    until(
      "it is ready again",
      async () => (await node.get("/readyz")).status === 200,
    );
  await t.step("Redis is up", () => both(200));
  await t.step("Redis is suspended", async () => {
    redis.signal("SIGSTOP");
    await turnsUnready();
    for (let i = 0; i < 5; i++) await both(503);
    redis.signal("SIGCONT");
    await recovers();
  });
  await t.step("Redis is read-only", async () => {
    await redis.command("REPLICAOF", "127.0.0.1", "1");
    await turnsUnready();
    for (let i = 0; i < 3; i++) await both(503);
    await redis.command("REPLICAOF", "NO", "ONE");
    await recovers();
  });
  await t.step("Redis is killed", async () => {
    await redis.kill();
    await turnsUnready();
    for (let i = 0; i < 5; i++) await both(503);
    await redis.restart();
    await recovers();
  });
});

async function countInFlight(node: TestNode): Promise<number> {
  return await node.metric("roomcast_publishes_in_flight");
}
