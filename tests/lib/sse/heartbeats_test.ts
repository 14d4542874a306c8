import assert from "node:assert/strict";
import { Heartbeats } from "../../../lib/sse/heartbeats.ts";
import { until } from "../../support/wait.ts";

Deno.test("Heartbeats reminds of each stream once in an interval, and of none that was removed", async () => {
  const INTERVAL_MS = 250;
  const beats = new Map<number, number[]>();
  const heartbeats = new Heartbeats<number>((stream) => {
    const times = beats.get(stream) ?? [];
    beats.set(stream, [...times, performance.now()]);
  }, INTERVAL_MS);
  for (let stream = 0; stream < 60; stream++) heartbeats.add(stream);
  heartbeats.delete(59);
  await until(
    "each stream has three heartbeats",
    () =>
      beats.size === 59 &&
      [...beats.values()].every(({ length }) => length >= 3),
  );
  heartbeats.close();
  for (const [, [first = 0, second = 0, third = 0]] of beats) {
    // A timer may be late, and then the next is earlier than the interval after it.
    assert.ok(third - first > 1.5 * INTERVAL_MS, `${first} ${second} ${third}`);
  }
  const firsts = [...beats.values()].map(([first = 0]) => first);
  const spread = Math.max(...firsts) - Math.min(...firsts);
  assert.ok(spread > INTERVAL_MS / 2, `they are spread over ${spread} ms`);
});

Deno.test("Heartbeats runs no timer without a stream", () => {
  const heartbeats = new Heartbeats<number>(() => {});
  heartbeats.add(1);
  heartbeats.delete(1);
  // The test would fail because of a leaked timer.
  heartbeats.delete(1);
});
