import assert from "node:assert/strict";
import { RateLimit } from "../../../lib/limits/rate_limit.ts";

Deno.test("RateLimit allows a burst, and after it one event for each interval", () => {
  const limit = new RateLimit(10, 5);
  const usage = { usedUntil: 0 };
  for (let i = 0; i < 5; i++) assert.equal(limit.spend(usage, 1, 1000), 0);
  assert.ok(Math.abs(limit.spend(usage, 1, 1000) - 100) < 0.001);
  assert.ok(Math.abs(limit.spend(usage, 1, 1040) - 60) < 0.001);
  assert.equal(limit.spend(usage, 1, 1100), 0);
  assert.ok(limit.spend(usage, 1, 1100) > 0);
});

Deno.test("RateLimit allows the rate for any length of time, and the whole burst again after a pause", () => {
  const limit = new RateLimit(50, 100);
  const usage = { usedUntil: 0 };
  let allowed = 0;
  for (let ms = 1000; ms < 11_000; ms++) {
    if (limit.spend(usage, 1, ms) === 0) allowed++;
  }
  assert.ok(allowed >= 599 && allowed <= 601, `${allowed}`);
  allowed = 0;
  while (limit.spend(usage, 1, 60_000) === 0) allowed++;
  assert.equal(allowed, 100);
});

Deno.test("RateLimit lets a sender spend more than it has left, and makes it wait for longer afterwards", () => {
  const limit = new RateLimit(10, 10);
  const usage = { usedUntil: 0 };
  assert.equal(limit.spend(usage, 9, 1000), 0);
  assert.equal(limit.spend(usage, 1000, 1000), 0);
  const waitMs = limit.spend(usage, 1, 1000);
  assert.ok(Math.abs(waitMs - 100_000) < 0.001, `${waitMs}`);
  assert.ok(limit.spend(usage, 1, 1000 + waitMs - 1) > 0);
  assert.equal(limit.spend(usage, 1, 1000 + waitMs), 0);
});

Deno.test("RateLimit keeps the usages of senders apart", () => {
  const limit = new RateLimit(1, 1);
  const [one, two] = [{ usedUntil: 0 }, { usedUntil: 0 }];
  assert.equal(limit.spend(one, 1, 1000), 0);
  assert.ok(limit.spend(one, 1, 1000) > 0);
  assert.equal(limit.spend(two, 1, 1000), 0);
});

Deno.test("RateLimit charges a sender for what it has already sent, also if nothing is left", () => {
  const limit = new RateLimit(10, 5);
  const usage = { usedUntil: 0 };
  assert.equal(limit.charge(usage, 4, 1000), 0);
  assert.ok(Math.abs(limit.charge(usage, 4, 1000) - 400) < 0.001);
  assert.ok(Math.abs(limit.charge(usage, 1, 1000) - 500) < 0.001);
  assert.equal(limit.charge(usage, 1, 2000), 0);
});
