import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { Subscriber } from "../support/client.ts";
import { KeepAlivePublisher } from "../support/keep_alive_publisher.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { RawClient } from "../support/raw_client.ts";
import { Redis } from "../support/redis.ts";
import { pauseFor, soon, until } from "../support/wait.ts";

const CLIENTS = 50;

/** Connects 100 clients, so that the node needs 2 s to disconnect all of them when it stops. */
async function occupy(
  node: TestNode,
  stack: AsyncDisposableStack,
): Promise<void> {
  const clients = Array.from({ length: 100 }, () => new RawClient([]));
  for (const client of clients) {
    client.connect(node.port);
    stack.defer(() => client.cut());
  }
  await until(
    "all are connected",
    async () => await node.metric("roomcast_clients") === clients.length,
  );
}

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

/** Publishes again and again on a keep-alive connection, until the node no longer listens. Adds each outcome. */
async function publishUntilGone(
  { internalUrl }: TestNode,
  outcomes: string[],
): Promise<void> {
  const publisher = new KeepAlivePublisher(Number(new URL(internalUrl).port));
  while (outcomes.at(-1) !== "ECONNREFUSED") {
    const outcome = await soon(publisher.publish(), "a publish is answered");
    outcomes.push(
      outcome.startsWith("HTTP/1.1 200 ")
        ? "200"
        : /^HTTP\/1\.1 503 [^]*retry-after: 1\r\n[^]*"draining"/i.test(outcome)
        ? "draining"
        : outcome,
    );
    await pauseFor(Math.random() * 10);
    // The process is busy for a moment, so that it may not have read the end of its connection when it sends a request.
    for (const end = performance.now() + 2; performance.now() < end;);
  }
}

for (
  const [clients, where, env] of [
    [0, "", {}],
    [15, "", {}],
    [15, " at INTERNAL_PORT", { INTERNAL_PORT: "0" }],
  ] as const
) {
  Deno.test(`no request of 50 publishers with keep-alive${where} is lost when a node with ${clients} clients stops`, async () => {
    await using node = await TestNode.start(env);
    await using stack = new AsyncDisposableStack();
    for (let i = 0; i < clients; i++) {
      stack.use(
        await Subscriber.connect(node.url, {
          transports: ["websocket"],
          reconnection: false,
        }),
      );
    }
    const all: string[][] = Array.from({ length: 50 }, () => []);
    const publishing = all.map((outcomes) => publishUntilGone(node, outcomes));
    await until(
      "all have published",
      () => all.every(({ length }) => length >= 3),
    );
    node.signal("SIGTERM");
    await Promise.all(publishing);
    assert.equal(await node.exited(), 0);
    for (const outcomes of all) {
      const others = outcomes.filter((outcome) => outcome !== "200");
      assert.ok(
        ["ECONNREFUSED", "draining,ECONNREFUSED"].includes(
          String(others),
        ),
        String(others),
      );
    }
  });
}

for (const redisUsed of [false, true]) {
  const log = redisUsed ? "on Redis" : "embedded";
  Deno.test(`Ctrl-C ends a node with clients within a second, ${log}`, async () => {
    await using redis = redisUsed ? await Redis.start() : undefined;
    await using node = await TestNode.start({
      DRAIN_SECONDS: "60",
      ...redis && { REDIS_URL: redis.url },
    });
    await using websocket = await Subscriber.connect(node.url, {
      transports: ["websocket"],
      reconnection: false,
    });
    await using polling = await Subscriber.connect(node.url, {
      transports: ["polling"],
      reconnection: false,
    });
    // A browser opens connections in advance, and does not close them when the server does.
    const silent = connect({
      port: node.port,
      host: "127.0.0.1",
      allowHalfOpen: true,
    });
    await once(silent, "connect");
    const start = performance.now();
    node.signal("SIGINT");
    assert.equal(await node.exited(), 0);
    const took = performance.now() - start;
    silent.destroy();
    assert.ok(took < 1000, `took ${took} ms`);
    await websocket.disconnects.have(1);
    await polling.disconnects.have(1);
  });
}

Deno.test("publishes in flight are answered with 503 if Redis does not reply while a node stops", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  redis.signal("SIGSTOP");
  const inFlight = Array.from(
    { length: 5 },
    (_, i) => node.post("/publish", { message: i }),
  );
  await until(
    "they are in flight",
    async () => await countInFlight(node) === 5,
  );
  node.signal("SIGTERM");
  const replies = await Promise.all(inFlight);
  for (const { status, body, headers } of replies) {
    assert.equal(status, 503);
    assert.equal(body.error.code, "draining");
    assert.equal(headers.get("retry-after"), "1");
  }
  assert.equal(await node.exited(), 0);
  redis.signal("SIGCONT");
});

Deno.test("a node that receives SIGTERM while the node starts ends at once", async () => {
  const script = new URL("../support/stopped_at_start.ts", import.meta.url);
  const node = TestNode.spawn(
    ["run", "-A", "--cached-only", script.pathname],
    { PORT: "0" },
  );
  assert.equal(await node.exited(), 0);
  const kinds = node.log.items.map(({ kind }) => kind);
  assert.deepEqual(kinds, ["stopping", "stopped"]);
  const durationMs = Number(node.log.items[1]?.durationMs);
  assert.ok(durationMs < 400, `took ${durationMs} ms`);
});

Deno.test("after SIGTERM, a node without clients answers the publishes in flight and does not wait for DRAIN_SECONDS", async () => {
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
  await using stack = new AsyncDisposableStack();
  await occupy(node, stack);
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
  await using stack = new AsyncDisposableStack();
  await occupy(node, stack);
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
  assert.ok(performance.now() - start < 1000);
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
