import assert from "node:assert/strict";
import { ApiError } from "../../../lib/errors.ts";
import {
  compareIds,
  formatPosition,
  ID_ZERO,
  newEpoch,
  parsePosition,
  timestampOf,
} from "../../../lib/log/position.ts";

const EPOCH = "0123456789abcdef";

Deno.test("compareIds() orders ids as numbers, not as text", () => {
  const rising = [
    "0-0",
    "0-1",
    "0-2",
    "0-10",
    "1-0",
    "2-9",
    "10-0",
    "999-999999999999999",
    "1763831234567-0",
    "1763831234567-1",
    "1763831234567-10",
    "1763831234568-0",
    "999999999999999-999999999999998",
    "999999999999999-999999999999999",
  ];
  for (const [i, a] of rising.entries()) {
    for (const [j, b] of rising.entries()) {
      assert.equal(Math.sign(compareIds(a, b)), Math.sign(i - j), `${a} ${b}`);
    }
  }
  assert.deepEqual([...rising].reverse().sort(compareIds), rising);
});

Deno.test("timestampOf() returns the milliseconds of an id", () => {
  assert.equal(timestampOf("1763831234567-12"), 1763831234567);
});

Deno.test("parsePosition() returns the values that formatPosition() was called with", () => {
  for (const epoch of [EPOCH, newEpoch(), newEpoch()]) {
    for (const id of [ID_ZERO, "1-0", "1763831234567-12", "0-1"]) {
      assert.deepEqual(parsePosition(formatPosition(epoch, id)), { epoch, id });
    }
  }
});

Deno.test("parsePosition() returns an id without an epoch if the text is an id", () => {
  for (const id of ["1-0", "0-1", "1763831234567-12"]) {
    assert.deepEqual(parsePosition(id), { epoch: undefined, id });
  }
});

Deno.test("parsePosition() throws an error with advice for a text that is neither a position nor an id", () => {
  const bad: unknown[] = [
    "$",
    "-",
    "+",
    ">",
    "*",
    "0",
    "",
    "0-0",
    "00-00",
    "01-0",
    "1-00",
    `${EPOCH}.00-0`,
    "1",
    "1-",
    "-1",
    "1-*",
    "(1-0",
    "1-0-0",
    "-1-0",
    "+1-0",
    "1 -0",
    " 1-0",
    "1-0\n",
    "1-0\u0000",
    "1.5-0",
    "1e3-0",
    "0x1-0",
    "١-٠",
    "1234567890123456-0",
    "0-1234567890123456",
    "9".repeat(10_000_000),
    `${"9".repeat(10_000_000)}-0`,
    `${EPOCH}.`,
    `${EPOCH}.$`,
    `${EPOCH}.1`,
    `${EPOCH}.1-0.`,
    `${EPOCH}.1-0\n`,
    `.1-0`,
    "abc.1-0",
    "ABCDEFGHIJ.1-0",
    `${"a".repeat(33)}.1-0`,
    `${EPOCH}.1-0 COUNT 1`,
    `__proto__.1-0`,
    undefined,
    null,
    true,
    0,
    1,
    NaN,
    1763831234567,
    10n,
    Symbol("1-0"),
    [],
    ["1-0"],
    {},
    { epoch: EPOCH, id: "1-0" },
    { toString: (): string => "1-0", length: 3 },
    new String("1-0"),
    (): string => "1-0",
  ];
  for (const since of bad) {
    assert.throws(() => parsePosition(since), (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.code, "invalid_position");
      assert.ok(error.message.length < 200);
      return true;
    });
  }
});

Deno.test("newEpoch() returns a different name at each call, and every name is valid in a position", () => {
  const epochs = new Set(Array.from({ length: 1000 }, newEpoch));
  assert.equal(epochs.size, 1000);
  for (const epoch of epochs) assert.match(epoch, /^[0-9a-f]{16}$/);
});
