// deno-lint-ignore-file no-console -- a benchmark prints its results
/**
 * Measures the time of publishes, from the HTTP request to one subscriber:
 *
 * - single posts on 64 connections, per second of the server's CPU time, for Roomcast and for the stock peer
 *   (`bench/peers/stock.mjs`, on Node). Roomcast responds once Redis has the message, the peer earlier;
 * - the same with a replica and `ACK_REPLICAS=1`, so that each script waits for the replica;
 * - batches of 100 on 8 connections, in messages per second;
 * - how much longer a batch of 1,000 takes than a batch of 10: medians of requests sent in turn, without a subscriber.
 *   A pause before each request keeps the delivery of the one before out of the measurement.
 *
 * Throws if a subscriber does not receive every message in order.
 *
 *     deno run -A bench/ingest.ts
 *
 * Needs redis-server (or valkey-server) and node on PATH and starts its own servers.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { RawClient } from "../tests/support/raw_client.ts";
import { TestNode } from "../tests/support/node.ts";
import { Redis } from "../tests/support/redis.ts";
import { until } from "../tests/support/wait.ts";
import { median } from "./fanout_results.ts";
import { HttpConnection, post } from "./http_connection.ts";

const WARM_UP_MS = 3000;
const LOAD_MS = 8000;
const RATIO_ROUNDS = 200;
const RATIO_PAUSE_MS = 15;

/** The result of measuring one server under one load. */
interface Load {
  readonly requests: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function batch(size: number): Buffer {
  return post("/publish/batch", {
    messages: Array.from({ length: size }, (_, number) => ({
      room: "chat",
      message: { text: "hello there, this is", number },
    })),
  });
}

const SINGLE = post("/publish", {
  room: "chat",
  message: { text: "hello there, this is", number: 1 },
});

/** The servers to measure, by name. Each function starts a server with the Redis at `url`. */
const SERVERS: Readonly<Record<string, (url: string) => Promise<TestNode>>> = {
  roomcast: (url) => TestNode.start({ REDIS_URL: url, LOG_LEVEL: "info" }),
  stock: (url) =>
    TestNode.start({ REDIS_URL: url, NODE_ENV: "production" }, {
      ready: false,
      program: "node",
      script: "bench/peers/stock.mjs",
    }),
};

/** Sends a request again and again on each of `connections`. The first seconds are not measured. */
async function load(
  peer: TestNode,
  connections: number,
  request: Buffer,
): Promise<Load & { all: number }> {
  const senders = await Promise.all(
    Array.from(
      { length: connections },
      () => HttpConnection.connect(peer.port),
    ),
  );
  let all = 0, going = true;
  const running = senders.map(async (sender) => {
    while (going) {
      await sender.request(request);
      all++;
    }
    sender.close();
  });
  await wait(WARM_UP_MS);
  const cpu = await peer.cpuSeconds(), start = performance.now(), before = all;
  await wait(LOAD_MS);
  const requests = all - before;
  const seconds = (performance.now() - start) / 1000;
  const cpuSeconds = await peer.cpuSeconds() - cpu;
  going = false;
  await Promise.all(running);
  return { requests, seconds, cpuSeconds, all };
}

/** Runs a load with one subscriber. Rejects if the subscriber does not receive every message in order. */
async function loadWithSubscriber(
  peer: TestNode,
  connections: number,
  request: Buffer,
  messages: number,
): Promise<Load> {
  const subscriber = new RawClient(["chat"]);
  subscriber.connect(peer.port);
  await until(
    "the subscriber is connected",
    () => subscriber.pid !== undefined,
  );
  await wait(300);
  const result = await load(peer, connections, request);
  await until(
    "the subscriber has received everything",
    () => subscriber.received >= result.all * messages,
    60_000,
  );
  subscriber.cut();
  if (
    subscriber.received !== result.all * messages || subscriber.disordered > 0
  ) {
    throw new Error(
      "Cannot measure: the subscriber received messages twice or out of order",
    );
  }
  return result;
}

/** Resolves to the median times of a batch of 10 and of a batch of 1,000 messages, in ms. */
async function measureBatches(peer: TestNode): Promise<[number, number]> {
  const sender = await HttpConnection.connect(peer.port);
  const requests = [batch(10), batch(1000)] as const;
  const times: [number[], number[]] = [[], []];
  for (let round = -RATIO_ROUNDS / 4; round < RATIO_ROUNDS; round++) {
    for (const [index, request] of requests.entries()) {
      await wait(RATIO_PAUSE_MS);
      const start = performance.now();
      await sender.request(request);
      if (round >= 0) times[index]?.push(performance.now() - start);
    }
  }
  sender.close();
  return [median(times[0]), median(times[1])];
}

function format(value: number, digits = 0): string {
  return value.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

console.log("| what | | |");
console.log("|---|---:|---|");
const single: number[] = [];
for (const [name, start] of Object.entries(SERVERS)) {
  await using redis = await Redis.start();
  await using peer = await start(redis.url);
  const { requests, seconds, cpuSeconds } = await loadWithSubscriber(
    peer,
    64,
    SINGLE,
    1,
  );
  single.push(requests / cpuSeconds);
  console.log(
    `| single posts, ${name} | ${
      format(requests / cpuSeconds)
    } | per second of CPU (${format(requests / seconds)} per second) |`,
  );
}
{
  const args = ["--repl-diskless-sync-delay", "0"];
  await using redis = await Redis.start({ args });
  await using replica = await Redis.start({ args });
  await replica.command("REPLICAOF", "127.0.0.1", `${redis.port}`);
  const env = { REDIS_URL: redis.url, ACK_REPLICAS: "1" };
  await using peer = await TestNode.start(env);
  const { requests, seconds, cpuSeconds } = await loadWithSubscriber(
    peer,
    64,
    SINGLE,
    1,
  );
  console.log(
    `| single posts, roomcast with ACK_REPLICAS=1 | ${
      format(requests / cpuSeconds)
    } | per second of CPU (${format(requests / seconds)} per second) |`,
  );
}
console.log(
  `| roomcast ÷ stock | ${format((single[0] ?? 0) / (single[1] ?? 0), 2)} | |`,
);
{
  await using redis = await Redis.start();
  await using peer = await TestNode.start({ REDIS_URL: redis.url });
  const { requests, seconds } = await loadWithSubscriber(
    peer,
    8,
    batch(100),
    100,
  );
  console.log(
    `| batches of 100 | ${
      format(requests * 100 / seconds)
    } | messages per second |`,
  );
}
{
  await using redis = await Redis.start();
  await using peer = await TestNode.start({ REDIS_URL: redis.url });
  const [ten, thousand] = await measureBatches(peer);
  console.log(
    `| batch of 1,000 ÷ batch of 10 | ${format(thousand / ten, 2)} | ${
      format(thousand, 2)
    } ms, ${format(ten, 2)} ms |`,
  );
}
