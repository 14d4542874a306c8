/**
 * Measures how much good clients notice of abuse:
 *
 *     deno run -A bench/abuse.ts [<seconds> [<attack>…]]
 *
 * A node serves 200 clients, into whose room 20 messages are published per second. Each attack runs for `<seconds>`
 * (60) in a process of its own. The table has the 99th percentile of the delivery in quiet times and under the attack,
 * and the resident memory of the node before and after. With two CPUs or more, the node has the first one for itself,
 * and the attacker gets only the time that the good clients leave on the others (`SCHED_IDLE`): otherwise an attacker on
 * the same machine delays both with its own work.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { AbuseStage } from "../tests/support/abuse.ts";
import { ATTACK_NAMES } from "../tests/support/abuse_attacks.ts";
import { pauseFor } from "../tests/support/wait.ts";

/** How long to wait at most until the memory is back, in s. */
const SETTLE_SECONDS = 30;
const WARM_UP_SECONDS = 15;
const QUIET_SECONDS = 20;

const [seconds = "60", ...names] = Deno.args;
const cpus = navigator.hardwareConcurrency;
const [node, others] = cpus > 1
  ? [
    ["taskset", "-c", "0"],
    ["chrt", "--idle", "0", "taskset", "-c", `1-${cpus - 1}`],
  ]
  : [undefined, undefined];
if (others !== undefined) {
  await new Deno.Command("taskset", {
    args: ["-pca", `1-${cpus - 1}`, `${Deno.pid}`],
  }).output();
}
console.log(
  "attack       | done    | p99 quiet | p99 attack | ratio | RSS before | RSS after",
);
const attacks = names.length > 0 ? names : ATTACK_NAMES;
await using stage = await AbuseStage.start(node);
// Lets the heap of the node grow to the size that it needs.
for (const name of attacks) await stage.attack(name, WARM_UP_SECONDS, others);
await stage.settle();
await pauseFor(10_000);
const before = await stage.node.memory();
for (const name of attacks) {
  const quiet = await stage.measure(QUIET_SECONDS);
  const attacked = await stage.attack(name, Number(seconds), others);
  await stage.settle();
  let after = await stage.node.memory();
  for (let i = 0; i < SETTLE_SECONDS && after > 1.1 * before; i++) {
    await pauseFor(1000);
    after = await stage.node.memory();
  }
  console.log(
    [
      name.padEnd(12),
      `${attacked.done}`.padEnd(7),
      quiet.p99.toFixed(2).padEnd(9),
      attacked.p99.toFixed(2).padEnd(10),
      (attacked.p99 / quiet.p99).toFixed(2).padEnd(5),
      `${(before / 2 ** 20).toFixed(0)} MiB`.padEnd(10),
      `${(after / 2 ** 20).toFixed(0)} MiB`,
    ].join(" | "),
  );
}
