import assert from "node:assert/strict";
import { backoffMs } from "../../../lib/util/backoff.ts";

Deno.test("backoffMs() doubles the pause with each failure up to the limit and shortens it at random by up to a half", () => {
  for (
    const [failures, most] of [
      [0, 50],
      [1, 100],
      [2, 200],
      [4, 800],
      [
        5,
        1000,
      ],
      [40, 1000],
      [2000, 1000],
    ] as const
  ) {
    for (let i = 0; i < 100; i++) {
      const ms = backoffMs(failures, 1000);
      assert.ok(ms >= most / 2 && ms <= most, `${failures}: ${ms}`);
    }
  }
  const pauses = new Set(Array.from({ length: 20 }, () => backoffMs(3, 1000)));
  assert.ok(pauses.size > 1);
});
