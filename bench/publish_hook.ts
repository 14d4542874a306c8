/**
 * Measures how long clients wait for the answers to their publishes into rooms that the publish hook does not concern,
 * while other clients publish into a room that it does concern: with a hook that answers at once, and with one that
 * takes 500 ms for each answer. The two take turns, so that a machine that becomes slower or faster does not favor one
 * of them. Prints a table, and exits with 1 if the slow hook makes the 99th percentile more than 1.2 times as long.
 *
 *     deno run -A bench/publish_hook.ts [seconds of a round] [rounds]
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import type { Socket } from "socket.io-client";
import { Subscriber } from "../tests/support/client.ts";
import { HookBackend, result } from "../tests/support/hook_backend.ts";
import { TestNode } from "../tests/support/node.ts";
import { Redis } from "../tests/support/redis.ts";
import { pauseFor } from "../tests/support/wait.ts";

const [seconds = 5, rounds = 6] = Deno.args.map(Number);
/** Number of clients that publish into each kind of room. */
const CLIENTS = 20;
/** Time between two publishes of one client into a room that the hook does not concern, in ms. */
const INTERVAL_MS = 50;
/** The same for a room that the hook concerns: the slow hook can answer all of these publishes in time. */
const MODERATED_INTERVAL_MS = 1000;
const SLOW_MS = 500;
const RATIO_MAX = 1.2;

let delayMs = 0;
await using backend = await HookBackend.start(async (call, response) => {
  if (delayMs > 0) await pauseFor(delayMs);
  result({})(call, response);
});
await using redis = await Redis.start();
await using node = await TestNode.start({
  REDIS_URL: redis.url,
  CHANNELS: "-",
  EVENTS_PER_SECOND_MAX: "1000",
  PUBLISH_HOOK_URL: backend.url("/publish"),
  HOOK_ROOMS: "moderated.*",
  HOOK_TIMEOUT_MS: "5000",
});
await using stack = new AsyncDisposableStack();
const connect = async (): Promise<Socket> =>
  stack.use(
    await Subscriber.connect(node.url, { transports: ["websocket"] }),
  ).socket;
const free = await Promise.all(Array.from({ length: CLIENTS }, connect));
const moderated = await Promise.all(Array.from({ length: CLIENTS }, connect));

const waits = { fast: [] as number[], slow: [] as number[] };
// The first round warms up, and does not count.
for (let round = 0; round <= rounds; round++) {
  for (const hook of ["fast", "slow"] as const) {
    delayMs = hook === "slow" ? SLOW_MS : 0;
    const found = await measure();
    if (round > 0) waits[hook].push(...found);
  }
}
const rows = Object.entries(waits).map(([hook, all]) => {
  const sorted = all.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.floor(share * sorted.length)] ?? NaN;
  return { hook, publishes: all.length, p50: at(0.5), p99: at(0.99) };
});
console.table(rows.map(({ hook, publishes, p50, p99 }) => ({
  hook: hook === "slow" ? `${SLOW_MS} ms` : "at once",
  publishes,
  "p50, ms": p50.toFixed(2),
  "p99, ms": p99.toFixed(2),
})));
const ratio = (rows[1]?.p99 ?? NaN) / (rows[0]?.p99 ?? NaN);
console.log(`p99 with the slow hook: ${ratio.toFixed(2)} times`);
// `Deno.exit()` would end the process before `await using` has stopped the node.
Deno.exitCode = ratio <= RATIO_MAX ? 0 : 1;

/**
 * Lets all clients publish for some time. Resolves to how long the answers to those whom the hook does not concern took,
 * in ms.
 */
async function measure(): Promise<number[]> {
  const found: number[] = [];
  const end = performance.now() + seconds * 1000;
  const publishing = [
    ...free.map((socket, i) =>
      publishAll(socket, `free.${i}`, end, INTERVAL_MS, found)
    ),
    ...moderated.map((socket, i) =>
      publishAll(socket, `moderated.${i}`, end, MODERATED_INTERVAL_MS)
    ),
  ];
  await Promise.all(publishing);
  return found;
}

/** Publishes at a steady rate until `end`, and waits for all answers. Adds how long they took to `found`. */
async function publishAll(
  socket: Socket,
  room: string,
  end: number,
  intervalMs: number,
  found: number[] = [],
): Promise<void> {
  const answers: Promise<unknown>[] = [];
  // The clients begin at different times.
  await pauseFor(Math.random() * intervalMs);
  while (performance.now() < end) {
    const start = performance.now();
    answers.push(
      socket.emitWithAck("publish", { room, message: "hello" })
        .then(() => found.push(performance.now() - start)),
    );
    await pauseFor(intervalMs);
  }
  await Promise.all(answers);
}
