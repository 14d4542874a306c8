import assert from "node:assert/strict";
import { isDeeperThan } from "../../../lib/util/depth.ts";

/** Returns JSON with `levels` lists or objects within each other. */
function nested(levels: number, open: string, close: string): unknown {
  return JSON.parse(`${open.repeat(levels)}1${close.repeat(levels)}`);
}

Deno.test("isDeeperThan() counts the levels of lists and objects", () => {
  for (const flat of [1, "[[[[", null, true, undefined]) {
    assert.equal(isDeeperThan(0, flat), false);
  }
  assert.equal(isDeeperThan(0, []), true);
  assert.equal(isDeeperThan(1, {}), false);
  for (
    const [open, close] of [["[", "]"], ['{"a":', "}"], [
      '[{"b":0,"a":',
      "}]",
    ]] as const
  ) {
    const levels = open.length > 6 ? 200 : 100;
    const value = nested(100, open, close);
    assert.equal(isDeeperThan(levels, value), false);
    assert.equal(isDeeperThan(levels - 1, value), true);
  }
  assert.equal(isDeeperThan(3, [1, { a: [2, { b: 3 }] }]), true);
  assert.equal(isDeeperThan(4, [1, { a: [2, { b: 3 }] }]), false);
});

Deno.test("isDeeperThan() finds the depth of a value of a million levels without running out of stack", () => {
  assert.equal(isDeeperThan(100, nested(1_000_000, "[", "]")), true);
  assert.equal(isDeeperThan(100, nested(200_000, '{"a":', "}")), true);
});
