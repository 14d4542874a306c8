/**
 * Measures how much good clients notice of abuse:
 *
 *     deno task abuse [<seconds> [<attack>…]]
 *
 * A node serves 200 clients, into whose room 20 messages are published per second. Each attack runs for `<seconds>`
 * (60) in a process of its own. The table has the 99th percentile of a delivery under the attack and in the quiet time
 * around it: half of `<seconds>` before and half after. It also has the longest time for which this process did not run
 * during the attack, because a pause of the whole machine is not the node's, and the resident memory of the node before
 * all attacks and after each one, with the time until it was within 10 % again.
 *
 * With two CPUs or more, the event loop of the node has the first one for itself. The garbage collector's threads and
 * the good clients share the others; on the first one, they would interrupt the event loop for some ms at a time. The
 * attacker gets only the time that all these leave (`SCHED_IDLE`), because an attacker elsewhere would not take CPU
 * time from them either.
 *
 * The good clients and the publisher run in this process. Its own pauses would be most of the 99th percentile: 4.6 ms
 * instead of 3.3 ms in the quiet time. Therefore its young generation is so large (the task sets V8's flags) that
 * nothing is collected during a phase, and it has priority over all other programs on its CPU (`SCHED_FIFO`), which
 * needs root. Without root it prints a warning, and the percentiles are higher.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { AbuseStage } from "../tests/support/abuse.ts";
import { ATTACK_NAMES } from "../tests/support/abuse_attacks.ts";
import { pauseFor } from "../tests/support/wait.ts";

/** How long to wait at most until the memory is back, in s. */
const SETTLE_SECONDS = 600;
const WARM_UP_SECONDS = 15;

const seconds = Number(Deno.args[0] ?? 60);
const names = Deno.args.slice(1);
const attacks = names.length > 0 ? names : ATTACK_NAMES;
const cpus = navigator.hardwareConcurrency;
const [loopCpu, otherCpus] = cpus > 1 ? ["0", `1-${cpus - 1}`] : ["0", "0"];
const attacker = ["chrt", "--idle", "0", "taskset", "-c", otherCpus];

/** Waits until the node's memory is at most 1.1 times `before`. Resolves to the memory and to the time it took, in s. */
async function memoryAfter(
  before: number,
): Promise<{ bytes: number; seconds: number }> {
  const start = performance.now();
  for (let waited = 0;; waited = (performance.now() - start) / 1000) {
    const bytes = await stage.node.memory();
    if (bytes <= 1.1 * before || waited > SETTLE_SECONDS) {
      return { bytes, seconds: waited };
    }
    await pauseFor(1000);
  }
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

/** Runs a program. Resolves to whether it succeeded. */
async function run(program: string, ...args: string[]): Promise<boolean> {
  return (await new Deno.Command(program, { args }).output()).success;
}

await run("taskset", "-pca", otherCpus, `${Deno.pid}`);
// The processes that this one starts do not have the priority.
const priority = ["--reset-on-fork", "--fifo", "--pid", "1"];
if (!await run("chrt", ...priority, `${Deno.pid}`)) {
  console.warn("Cannot get priority for the good clients: run this as root");
}
await using stage = await AbuseStage.start();
await stage.node.pin(loopCpu, otherCpus);
// Lets the heap of the node grow to the size that it needs.
for (const name of attacks) {
  await stage.attack(name, WARM_UP_SECONDS, attacker);
}
await stage.settle();
await pauseFor(10_000);
const before = await stage.node.memory();
console.log(
  "attack       | done    | p99 quiet | attacked | ratio | pause here | RSS before | after   | within 10 % after",
);
for (const name of attacks) {
  const earlier = await stage.measure(seconds / 2);
  const attacked = await stage.attack(name, seconds, attacker);
  await stage.settle();
  const after = await memoryAfter(before);
  const later = await stage.measure(seconds / 2);
  const quiet = (earlier.p99 + later.p99) / 2;
  console.log(
    [
      name.padEnd(12),
      `${attacked.done}`.padEnd(7),
      quiet.toFixed(2).padEnd(9),
      attacked.p99.toFixed(2).padEnd(8),
      (attacked.p99 / quiet).toFixed(2).padEnd(5),
      `${attacked.pause.toFixed(0)} ms`.padEnd(10),
      mib(before).padEnd(10),
      mib(after.bytes).padEnd(7),
      `${after.seconds.toFixed(0)} s`,
    ].join(" | "),
  );
}
