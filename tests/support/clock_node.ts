/**
 * Runs Roomcast with a clock that a test sets forward by six hours (SIGUSR1) and back (SIGUSR2), as often as it likes.
 * Only the time of day changes, as if an operator had set it: timers and `performance.now()` go on. Logs `clock_set` for
 * each step.
 */
// deno-lint-ignore-file no-console -- the node logs to stdout, too

const STEP_MS = 6 * 3_600_000;
const realNow = Date.now;
let aheadMs = 0;
Date.now = () => realNow() + aheadMs;
Deno.addSignalListener("SIGUSR1", () => step(STEP_MS));
Deno.addSignalListener("SIGUSR2", () => step(-STEP_MS));
await import("../../main.ts");

function step(ms: number): void {
  aheadMs += ms;
  console.log(JSON.stringify({ kind: "clock_set", aheadMs }));
}
