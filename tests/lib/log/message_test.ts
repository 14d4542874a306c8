import assert from "node:assert/strict";
import { ApiError, type ErrorCode } from "../../../lib/errors.ts";
import {
  encodeMessage,
  parseKey,
  parseRoom,
  parseRooms,
} from "../../../lib/log/message.ts";

/** Returns a function that checks that an error has this code and a sentence with advice. */
function refused(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, /^Cannot .+: .+; .+/);
    return true;
  };
}

const GOOD_ROOMS = [
  "a",
  "chat",
  "x".repeat(255),
  "é".repeat(127),
  "é".repeat(127) + "x",
  "👍".repeat(63),
  "👍".repeat(63) + "abc",
  "__proto__",
  "constructor",
  "toString",
  " ",
  "a b",
  "a/b?c#d",
  "../..",
  "...",
  ".a",
  "news.*",
  "{x}",
  "$",
  "👩‍👩‍👧‍👦",
  "\u202eright\u200f",
  "\u2028",
  "\ufeff",
  "\uffff",
  "e\u0301",
];

const BROKEN_ROOMS = [
  "",
  ".",
  "..",
  "x".repeat(256),
  "é".repeat(128),
  "👍".repeat(64),
  "x".repeat(10_000_000),
  "\ud800",
  "a\udc00b",
  "\udc00\ud800",
  undefined,
  null,
  0,
  1,
  true,
  {},
  [],
  ["chat"],
  { toString: (): string => "chat" },
  new String("chat"),
];

Deno.test("parseRoom() returns a name of 1 to 255 bytes of printable text unchanged", () => {
  for (const room of GOOD_ROOMS) assert.equal(parseRoom(room), room);
});

Deno.test("parseRoom() throws for a name with any control character", () => {
  for (let code = 0; code < 0x100; code++) {
    const room = `a${String.fromCharCode(code)}b`;
    const control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    if (control) {
      assert.throws(() => parseRoom(room), refused("invalid_room"));
    } else assert.equal(parseRoom(room), room);
  }
});

Deno.test("parseRoom() throws for a name of 0 or 256 bytes, an unpaired surrogate, and a value that is not a string", () => {
  for (const room of BROKEN_ROOMS) {
    assert.throws(() => parseRoom(room), refused("invalid_room"));
  }
});

Deno.test("parseRooms() returns a list of 1 to 100 names in order, without repetitions", () => {
  assert.deepEqual(parseRooms(["b", "a", "b", "__proto__", "a"]), [
    "b",
    "a",
    "__proto__",
  ]);
  const hundred = Array.from({ length: 100 }, (_, i) => `r${i}`);
  assert.deepEqual(parseRooms(hundred), hundred);
  for (
    const rooms of [
      [],
      undefined,
      null,
      "chat",
      {},
      { length: 1, 0: "a" },
      [
        "a",
        "",
      ],
      ["a", null],
      [["a"]],
    ]
  ) assert.throws(() => parseRooms(rooms), refused("invalid_room"));
  assert.throws(
    () => parseRooms([...hundred, "one"]),
    refused("too_many_rooms"),
  );
});

Deno.test("parseKey() returns a key of 1 to 128 printable characters unchanged, and undefined for undefined", () => {
  assert.equal(parseKey(undefined), undefined);
  for (
    const key of ["k", "x".repeat(128), "é".repeat(128), "__proto__", "😀"]
  ) {
    assert.equal(parseKey(key), key);
  }
  for (
    const key of [
      "",
      "x".repeat(129),
      "a\u0000",
      "a\nb",
      "\u0085",
      "\ud800",
      null,
      1,
      {},
      ["k"],
    ]
  ) assert.throws(() => parseKey(key), refused("invalid_key"));
});

Deno.test("encodeMessage() accepts a message of exactly the maximum size, and throws for a message that is one byte longer", () => {
  for (const unit of ["x", "é", "€", "😀", "\\", "\u0000", "\ud800"]) {
    for (const filler of ["", "x", "xx", "xxx"]) {
      const message = unit.repeat(50) + filler;
      const json = JSON.stringify(message);
      const bytes = new TextEncoder().encode(json).length;
      assert.equal(encodeMessage(message, bytes), json);
      assert.equal(encodeMessage(message, bytes + 1), json);
      assert.throws(
        () => encodeMessage(message, bytes - 1),
        refused("message_too_large"),
      );
    }
  }
});

Deno.test("encodeMessage() returns every kind of value as JSON", () => {
  for (
    const message of [
      null,
      false,
      0,
      -0,
      1e300,
      "",
      [],
      {},
      [null],
      { "": [{}] },
      "\u2028\u2029\u0000",
      JSON.parse('{"__proto__":1,"constructor":{"prototype":2}}'),
    ]
  ) assert.equal(encodeMessage(message, 1000), JSON.stringify(message));
});

Deno.test("encodeMessage() throws if the message is missing", () => {
  assert.throws(
    () => encodeMessage(undefined, 1000),
    refused("message_missing"),
  );
});

Deno.test("encodeMessage() throws invalid_message if a message has more than 100 levels", () => {
  for (const depth of [99, 100, 101, 1000, 10_000, 100_000, 1_000_000]) {
    for (const [open, close] of [["[", "]"], ['{"a":', "}"]] as const) {
      const json = open.repeat(depth) + (close === "}" ? "1" : "") +
        close.repeat(depth);
      const message: unknown = JSON.parse(json);
      try {
        assert.equal(encodeMessage(message, json.length) === json, true);
        assert.ok(depth <= 100, `${depth} levels are accepted`);
      } catch (error) {
        refused("invalid_message")(error);
        assert.ok(depth > 100, `${depth} levels are refused`);
      }
      assert.throws(() => encodeMessage(message, 64), ApiError);
    }
  }
});
