/**
 * Measures the start of a node: the time from the start of the process to the first status 200 of `/readyz`, the CPU
 * time until then, and the memory of the node without clients. Prints a table.
 *
 *     deno run -A bench/start.ts [starts] [other checkout]
 *
 * If another checkout is given, nodes of both are started in turn, so that other work on the machine affects both
 * alike.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { connect } from "node:net";
import { pathToFileURL } from "node:url";
import { freePort } from "../tests/support/net.ts";
import { TestNode } from "../tests/support/node.ts";
import { Redis } from "../tests/support/redis.ts";

const [starts = "10", other] = Deno.args;

/** The measurements of one start of a node. */
interface Start {
  readonly readyMs: number;
  readonly cpuMs: number;
  readonly memoryMb: number;
}

/**
 * Requests `/readyz` every 2 ms until the status is 200. `fetch()` is not used, because it would take more time than
 * the measured start.
 */
async function untilReady(port: number): Promise<void> {
  for (;;) {
    const status = await new Promise<string>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => resolve(""));
      socket.on("data", (data) => {
        socket.destroy();
        resolve(data.toString().slice(9, 12));
      });
      socket.write("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    });
    if (status === "200") return;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function start(
  env: Record<string, string>,
  checkout?: URL,
): Promise<Start> {
  const port = await freePort();
  const since = performance.now();
  await using node = await TestNode.launch(
    { ...env, PORT: String(port) },
    checkout,
  );
  await untilReady(port);
  const readyMs = performance.now() - since;
  const cpuMs = await node.cpuSeconds() * 1000;
  return { readyMs, cpuMs, memoryMb: await node.memory() / 1e6 };
}

function summary(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): string =>
    (sorted[Math.floor((sorted.length - 1) * share)] ?? NaN).toFixed(0);
  return `${at(0)} / ${at(0.5)} / ${at(1)}`;
}

await using redis = await Redis.start();
const kinds: [name: string, env: Record<string, string>, checkout?: URL][] = [
  ["embedded", {}],
  ["on Redis", { REDIS_URL: redis.url }],
];
if (other !== undefined) {
  const checkout = pathToFileURL(`${Deno.realPathSync(other)}/`);
  kinds.push(["embedded, other", {}, checkout]);
  kinds.push(["on Redis, other", { REDIS_URL: redis.url }, checkout]);
}
const all = new Map<string, Start[]>(kinds.map(([name]) => [name, []]));
for (let i = 0; i < Number(starts); i++) {
  for (const [name, env, checkout] of kinds) {
    all.get(name)?.push(await start(env, checkout));
  }
}
console.table(Object.fromEntries(
  [...all].map(([name, runs]) => [name, {
    "ready, ms (least / median / most)": summary(runs.map((r) => r.readyMs)),
    "CPU, ms": summary(runs.map((r) => r.cpuMs)),
    "memory, MB": summary(runs.map((r) => r.memoryMb)),
  }]),
));
