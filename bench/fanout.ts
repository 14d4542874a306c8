/**
 * Measures fan-out: deliveries per second of the server's CPU time, and the same for Socket.IO's stock adapter on Node
 * in the same run. Each server has its own Redis. Prints a table.
 *
 *     deno run -A bench/fanout.ts
 *
 * Needs redis-server (or valkey-server) and node on PATH.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { TextLineStream } from "../tests/support/lines.ts";
import { TestNode } from "../tests/support/node.ts";
import { Redis } from "../tests/support/redis.ts";
import { soon } from "../tests/support/wait.ts";

const SECONDS = 4;
const LINE_TIMEOUT_MS = 60_000;
/** Clients, rooms, messages in flight, and additional bytes per message. */
const LOADS: readonly (readonly [number, number, number, number])[] = [
  [1000, 1, 1, 0],
  [1000, 1, 10, 0],
  [1000, 1, 50, 0],
  [1000, 1, 50, 1000],
  [1000, 20, 50, 0],
  // As many messages in flight in each room as in the single room above.
  [1000, 20, 1000, 0],
];
const SERVERS: Readonly<Record<string, (url: string) => Promise<TestNode>>> = {
  stock: (url) =>
    TestNode.start({ REDIS_URL: url, NODE_ENV: "production" }, {
      ready: false,
      program: "node",
      script: "bench/peers/stock.mjs",
    }),
  roomcast: (url) => TestNode.start({ REDIS_URL: url }),
};

const rows: Record<string, number | string>[] = [];
for (const [clients, rooms, inFlight, bytes] of LOADS) {
  const perCpu: Record<string, number> = {};
  for (const [name, start] of Object.entries(SERVERS)) {
    await using redis = await Redis.start();
    await using node = await start(redis.url);
    perCpu[name] = await measure(node, [clients, rooms, inFlight, bytes]);
  }
  const { stock = NaN, roomcast = NaN } = perCpu;
  rows.push({
    rooms,
    "clients each": clients / rooms,
    "in flight": inFlight,
    "additional bytes": bytes,
    "stock per CPU s": Math.round(stock),
    "roomcast per CPU s": Math.round(roomcast),
    ratio: (roomcast / stock).toFixed(2),
  });
}
console.table(rows);

/** Returns the deliveries per second of CPU time. Throws if a message was lost, repeated or out of order. */
async function measure(
  node: TestNode,
  load: readonly number[],
): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "bench/fanout_load.ts",
      ...[node.port, ...load, SECONDS].map(String),
    ],
    cwd: new URL("../", import.meta.url),
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream()).getReader();
  const line = async () => {
    const { value } = await soon(lines.read(), "the load", LINE_TIMEOUT_MS);
    return JSON.parse(value ?? "{}");
  };
  try {
    await line();
    const before = await node.cpuSeconds();
    const { deliveries } = await line();
    const cpuSeconds = await node.cpuSeconds() - before;
    const { wrong } = await line();
    if (wrong !== 0) {
      throw new Error(
        `Cannot measure: ${wrong} messages were lost, repeated or out of order`,
      );
    }
    return deliveries / cpuSeconds;
  } finally {
    await lines.cancel();
    await child.status;
  }
}
