/**
 * Runs Roomcast with a clock that a test sets forward by six hours (SIGUSR1) and back (SIGUSR2), as often as it likes.
 * Only the time of day changes, as if an operator had set it: timers and `performance.now()` go on.
 */

const STEP_MS = 6 * 3_600_000;
const realNow = Date.now;
let aheadMs = 0;
Date.now = () => realNow() + aheadMs;
Deno.addSignalListener("SIGUSR1", () => aheadMs += STEP_MS);
Deno.addSignalListener("SIGUSR2", () => aheadMs -= STEP_MS);
await import("../../main.ts");
