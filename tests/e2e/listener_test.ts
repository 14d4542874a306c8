import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { Subscriber } from "../support/client.ts";
import { Idlers } from "../support/idlers.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { pauseFor, until } from "../support/wait.ts";

/** How long idle connections are held, in ms. */
const HELD_MS = 1500;
/**
 * Time after which a node has to accept connections again, in ms. Roomcast promises 5 s; the rest allows for a slow
 * machine.
 */
const RECOVERED_MS = 6500;

const DEAD_LISTENER = new URL("../support/dead_listener.ts", import.meta.url)
  .pathname;
const REFUSED = "roomcast_connections_refused_total";

/** A connection that stays open for several requests, one after the other. */
class KeepAliveConnection {
  readonly #socket: Socket;
  #text = "";

  constructor(port: number) {
    this.#socket = connect(port, "127.0.0.1");
    this.#socket.on("data", (chunk) => this.#text += chunk.toString("latin1"));
    this.#socket.on("error", () => {});
  }

  /** Sends a GET and resolves with the whole response, head and body. */
  async get(path: string): Promise<string> {
    this.#text = "";
    this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: test\r\n\r\n`);
    await until(`${path} is answered`, () => {
      const [head = "", body = ""] = this.#text.split("\r\n\r\n");
      const length = /content-length: (\d+)/i.exec(head)?.[1];
      return length !== undefined && body.length >= Number(length);
    });
    return this.#text;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

function kindsOf(node: TestNode): string[] {
  return node.log.items.map(({ kind }) => kind);
}

/** Returns the value of a metric in the text of `/metrics`. */
function numberOf(metrics: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(metrics)?.[1]);
}

for (
  const { limit, count, apartMs, onRedis } of [
    { limit: 100, count: 150, apartMs: 0, onRedis: false },
    { limit: 100, count: 150, apartMs: 5, onRedis: true },
    { limit: 1024, count: 1500, apartMs: 0, onRedis: true },
    { limit: 1024, count: 1100, apartMs: 5, onRedis: false },
    // Beyond the 1,024 descriptors that a node checks for at start.
    { limit: 2048, count: 2500, apartMs: 0, onRedis: false },
  ]
) {
  const pace = apartMs === 0 ? "at once" : `${apartMs} ms apart`;
  const log = onRedis ? "on Redis" : "embedded";
  Deno.test(`a node with ${limit} descriptors, ${log}, accepts connections again after ${count} idle connections ${pace}`, async () => {
    await using stack = new AsyncDisposableStack();
    const env: Record<string, string> = onRedis
      ? { REDIS_URL: stack.use(await Redis.start()).url }
      : {};
    const node = stack.use(
      await TestNode.start(env, { descriptorsMax: limit }),
    );
    const options = { transports: ["websocket"] };
    const before = stack.use(await Subscriber.connect(node.url, options));

    const idlers = await Idlers.connect(node.port, count, apartMs);
    stack.defer(() => idlers.end());
    await pauseFor(HELD_MS);
    idlers.end();

    const start = performance.now();
    const after = stack.use(await Subscriber.connect(node.url, options));
    await node.publish("after the flood");
    await Promise.all([before.messages.have(1), after.messages.have(1)]);
    const tookMs = Math.round(performance.now() - start);
    assert.ok(
      tookMs < RECOVERED_MS,
      `no client could connect for ${tookMs} ms`,
    );
    assert.deepEqual(before.disconnects.items, []);
    assert.equal((await node.get("/livez")).status, 200);
    await node.log.where(() =>
      node.log.items.some(({ kind }) => kind === "connections_refused")
    );
    assert.ok(await node.metric("roomcast_connections_refused_total") > 0);
    assert.equal(await node.metric("roomcast_errors_total"), 0);
    // Re-arming was enough: the watch, which needs seconds, did not have to step in.
    assert.ok(!kindsOf(node).includes("listener_failed"), node.output);
    await until(
      "all idle connections are closed",
      async () => await node.metric("roomcast_connections") < 10,
    );
  });
}

Deno.test("a node logs at start how many connections its descriptor limit allows", async () => {
  for (
    const [limit, least, most] of [[100, 30, 75], [1024, 800, 1000]] as const
  ) {
    await using node = await TestNode.start({}, { descriptorsMax: limit });
    const [started] = node.log.items;
    const max = Number(started?.connectionsMax);
    assert.ok(max >= least && max <= most, `${max} of ${limit}`);
    assert.equal(await node.metric("roomcast_connections_max"), max);
  }
  await using far = await TestNode.start({}, { descriptorsMax: 4096 });
  assert.equal(far.log.items[0]?.connectionsMax, null);
  const { text } = await far.get("/metrics");
  assert.match(text, /^roomcast_connections_max \+Inf$/m);
});

Deno.test("a node at its connection limit still serves open connections, and does not count its own checks as refused connections", async () => {
  await using node = await TestNode.start({}, { descriptorsMax: 100 });
  await using client = await Subscriber.connect(node.url);
  using connection = new KeepAliveConnection(node.port);
  assert.match(await connection.get("/livez"), /200 OK/);
  using _idlers = await Idlers.connect(node.port, 150, 0);
  await node.log.where(() => kindsOf(node).includes("connections_refused"));
  const refused = numberOf(await connection.get("/metrics"), REFUSED);
  // Longer than the pause between two checks, and shorter than idle connections may stay open.
  await pauseFor(4500);
  assert.equal(numberOf(await connection.get("/metrics"), REFUSED), refused);
  assert.match(await connection.get("/livez"), /200 OK/);
  assert.deepEqual(client.disconnects.items, []);
  assert.deepEqual(kindsOf(node), ["started", "connections_refused"]);
});

Deno.test("a node without free descriptors logs listener_full, and accepts connections again when descriptors are free", async () => {
  await using node = await TestNode.start({}, { descriptorsMax: 1024 });
  await using client = await Subscriber.connect(node.url, {
    transports: ["websocket"],
  });
  using connection = new KeepAliveConnection(node.port);
  assert.match(await connection.get("/livez"), /200 OK/);
  await node.limitDescriptors(3);
  // This connection waits in the kernel's queue, and accepting it fails.
  using waiting = new KeepAliveConnection(node.port);
  const answer = waiting.get("/");
  answer.catch(() => {});
  await node.log.where(() => kindsOf(node).includes("listener_full"));
  for (const path of ["/livez", "/readyz"]) {
    assert.match(await connection.get(path), /503 Service.*not_accepting/s);
  }
  await node.limitDescriptors(1024);
  const start = performance.now();
  assert.match(await answer, /200 OK/);
  const tookMs = Math.round(performance.now() - start);
  assert.ok(tookMs < RECOVERED_MS, `no client could connect for ${tookMs} ms`);
  await node.log.where(() => kindsOf(node).includes("listener_recovered"));
  assert.deepEqual(kindsOf(node), [
    "started",
    "listener_full",
    "listener_failed",
    "listener_recovered",
  ]);
  assert.equal(node.log.items.at(-1)?.how, "rearmed");
  assert.equal((await node.get("/livez")).status, 200);
  assert.equal(await node.metric("roomcast_listener_failures_total"), 2);
  assert.deepEqual(client.disconnects.items, []);
  await node.publish("after it");
  await client.messages.have(1);
});

Deno.test("a node reopens its listener within 5 s if the listener no longer accepts connections", async () => {
  const env = { LISTENS_MAX: "2" };
  await using node = await TestNode.start(env, { script: DEAD_LISTENER });
  await using before = await Subscriber.connect(node.url, {
    transports: ["websocket"],
  });
  using connection = new KeepAliveConnection(node.port);
  assert.match(await connection.get("/livez"), /200 OK/);
  node.signal("SIGUSR2");
  const start = performance.now();
  await node.log.where(() => kindsOf(node).includes("listener_recovered"));
  const tookMs = Math.round(performance.now() - start);
  assert.ok(tookMs < RECOVERED_MS, `no client could connect for ${tookMs} ms`);
  assert.equal(node.log.items.at(-1)?.how, "reopened");
  await using after = await Subscriber.connect(node.url);
  await node.publish("after it");
  await Promise.all([before.messages.have(1), after.messages.have(1)]);
  assert.deepEqual(before.disconnects.items, []);
  assert.match(await connection.get("/livez"), /200 OK/);
});

Deno.test("a node drains and exits with code 1 if it can neither accept connections nor reopen its listener", async () => {
  const env = { DRAIN_SECONDS: "1", LISTENS_MAX: "1" };
  await using node = await TestNode.start(env, { script: DEAD_LISTENER });
  await using client = await Subscriber.connect(node.url, {
    transports: ["websocket"],
    reconnection: false,
  });
  using connection = new KeepAliveConnection(node.port);
  assert.match(await connection.get("/livez"), /200 OK/);
  node.signal("SIGUSR2");
  const start = performance.now();
  await node.log.where(() => kindsOf(node).includes("listener_failed"));
  const tookMs = Math.round(performance.now() - start);
  assert.ok(tookMs < 5500, `it was detected after ${tookMs} ms`);
  assert.match(await connection.get("/livez"), /503 Service.*not_accepting/s);
  assert.equal(await node.exited(), 1);
  const kinds = kindsOf(node).filter((kind) => kind !== "error");
  assert.deepEqual(kinds, [
    "started",
    "listener_failed",
    "listener_lost",
    "stopping",
    "stopped",
  ]);
  await client.disconnects.have(1);
});
