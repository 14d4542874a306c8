import assert from "node:assert/strict";
import { RedisClock } from "../../../lib/redis/clock.ts";

Deno.test("RedisClock.at() returns undefined before the first call of set()", () => {
  assert.equal(new RedisClock().at(performance.now()), undefined);
});

Deno.test("RedisClock.at() converts a time of performance.now() into Redis' time, as set by the last call of set()", () => {
  const clock = new RedisClock();
  for (const now of [1_700_000_000_000, 1_600_000_000_000]) {
    const local = performance.now();
    clock.set(now);
    const difference = (clock.at(local + 5000) ?? 0) - (now + 5000);
    assert.ok(Math.abs(difference) < 100, `${difference} ms`);
  }
});
