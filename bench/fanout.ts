/**
 * Measures how many deliveries fan-out makes per second of the server's CPU time. In the same run, measures the same
 * for Socket.IO's stock adapter on Node. Each server has its own Redis. Prints a table, and also writes the results as
 * JSON if a file is named.
 *
 *     deno run -A bench/fanout.ts [--runs=1] [--json=docs/images/fanout.json]
 *
 * Needs redis-server (or valkey-server) and node on PATH. `bench/chart.ts` draws the chart of the JSON.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { parseArgs } from "node:util";
import { TextLineStream } from "../tests/support/lines.ts";
import { TestNode } from "../tests/support/node.ts";
import { Redis } from "../tests/support/redis.ts";
import { soon } from "../tests/support/wait.ts";
import {
  type FanoutLoad,
  type FanoutResults,
  formatRatios,
  median,
  ratios,
} from "./fanout_results.ts";

const SECONDS = 4;
const LINE_TIMEOUT_MS = 60_000;
/** The loads: numbers of clients, rooms and messages in flight, and additional bytes of each message. */
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
  roomcast: (url) => TestNode.start({ REDIS_URL: url }),
  stock: (url) =>
    TestNode.start({ REDIS_URL: url, NODE_ENV: "production" }, {
      ready: false,
      program: "node",
      script: "bench/peers/stock.mjs",
    }),
};

const { values: options } = parseArgs({
  options: {
    runs: { type: "string", default: "1" },
    json: { type: "string" },
  },
});
const loadBefore = loadAverage();
const loads: FanoutLoad[] = [];
for (const [clients, rooms, inFlight, additionalBytes] of LOADS) {
  const perCpuSecond: Record<string, number[]> = {};
  for (let run = 0; run < Number(options.runs); run++) {
    for (const [name, start] of Object.entries(SERVERS)) {
      await using redis = await Redis.start();
      await using node = await start(redis.url);
      const load = [clients, rooms, inFlight, additionalBytes];
      (perCpuSecond[name] ??= []).push(Math.round(await measure(node, load)));
    }
  }
  loads.push({ clients, rooms, inFlight, additionalBytes, perCpuSecond });
}
const results: FanoutResults = {
  date: new Date().toISOString().slice(0, 10),
  how: `deno run -A bench/fanout.ts --runs=${options.runs}, ` +
    `${navigator.hardwareConcurrency} cores, shared with Redis and the load; ` +
    `load average ${loadBefore.toFixed(1)} before and ${
      loadAverage().toFixed(1)
    } after`,
  servers: { roomcast: "Roomcast", stock: "Socket.IO" },
  loads,
};
console.table(loads.map((load) => ({
  rooms: load.rooms,
  "clients each": load.clients / load.rooms,
  "in flight": load.inFlight,
  "additional bytes": load.additionalBytes,
  "stock per CPU s": median(load.perCpuSecond.stock ?? []),
  "roomcast per CPU s": median(load.perCpuSecond.roomcast ?? []),
  ratio: formatRatios(ratios(load, "roomcast", "stock")),
})));
if (options.json !== undefined) {
  await Deno.writeTextFile(
    options.json,
    `${JSON.stringify(results, null, 2)}\n`,
  );
}

/**
 * Returns the load average of the last minute: how many processes wanted to run, on average. It is less than 1 on an
 * idle machine.
 */
function loadAverage(): number {
  return Deno.loadavg()[0] ?? NaN;
}

/**
 * Resolves to the deliveries per second of the server's CPU time. Rejects if a message was lost, repeated or out of
 * order.
 */
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
