/**
 * Measures how slow clients, which never read, affect other clients. Runs in turn with 1 % of slow clients and with
 * none. Measures the latencies of the other clients, the node's memory, and whether the slow clients recover when they
 * read again. Prints a table.
 *
 *     deno run -A bench/slow.ts [rounds] [seconds] [messages per second] [clients] [bytes]
 *
 * With 0 rounds, runs only once, with slow clients: `deno run -A bench/slow.ts 0 600 100` runs for ten minutes with 100
 * messages per second. Needs redis-server (or valkey-server) on PATH.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { TextLineStream } from "../tests/support/lines.ts";
import { TestNode } from "../tests/support/node.ts";
import { Redis } from "../tests/support/redis.ts";
import { median } from "./fanout_results.ts";
import type { Outcome } from "./slow_load.ts";

const [rounds = 5, seconds = 20, rate = 50, clients = 1000, bytes = 10_000] =
  Deno.args.map(Number);
const SAMPLE_MS = 1000;

interface Findings extends Outcome {
  readonly slow: number;
  readonly disconnected: number;
  /** Resident memory of the node when all clients are connected and nothing is published yet, in MB. */
  readonly mbBefore: number;
  /** Maximum resident memory of the node after the first publish, in MB. */
  readonly mbMost: number;
}

const slowClients = Math.ceil(clients / 100);
const findings: Findings[] = [];
if (rounds === 0) findings.push(await measure(slowClients));
for (let round = 0; round < rounds; round++) {
  const pair = [0, slowClients];
  // The first of a pair may find the machine in another state, so the order alternates.
  for (const slow of round % 2 === 0 ? pair : pair.reverse()) {
    findings.push(await measure(slow));
  }
}
console.table(findings);
if (rounds > 0) {
  const ratio = median(p99s(slowClients)) / median(p99s(0));
  console.log(`p99 with slow clients ÷ without: ${ratio.toFixed(2)} (medians)`);
}

function p99s(of: number): number[] {
  return findings.filter(({ slow }) => slow === of).map(({ p99 }) => p99);
}

async function measure(slow: number): Promise<Findings> {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "bench/slow_load.ts",
      ...[node.port, clients, slow, rate, bytes, seconds].map(String),
    ],
    cwd: new URL("../", import.meta.url),
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream()).getReader();
  let sampling: ReturnType<typeof setInterval> | undefined;
  try {
    await lines.read();
    const before = await node.memory();
    let most = before;
    sampling = setInterval(async () => {
      most = Math.max(most, await node.memory());
    }, SAMPLE_MS);
    const { value } = await lines.read();
    if (value === undefined) throw new Error("Cannot measure: the load failed");
    return {
      slow,
      ...JSON.parse(value),
      disconnected: await node.metric(
        "roomcast_slow_clients_disconnected_total",
      ),
      mbBefore: Math.round(before / 1e6),
      mbMost: Math.round(most / 1e6),
    };
  } finally {
    clearInterval(sampling);
    await lines.cancel();
    await child.status;
  }
}
