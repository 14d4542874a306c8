/**
 * Values that are meant to break a parser: texts, numbers and JSON, and changes of texts.
 *
 * Bytes are strings here, with one character from U+0000 to U+00FF for each byte, because strings are easy to join and
 * to change. {@linkcode utf8} makes them of a text.
 */
import { Buffer } from "node:buffer";
import fc, { type Arbitrary } from "fast-check";

/** Returns the bytes of a text in UTF-8. */
export function utf8(text: string): string {
  return Buffer.from(text).toString("latin1");
}

/** Names that mean something in JavaScript, Socket.IO or Redis, and characters that mean something in a protocol. */
const WORDS = [
  ...["", " ", "*", "**", "a.*.b", "fuzz.*", "canary", "canary*", "chat"],
  ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"],
  ...["connect", "disconnect", "disconnecting", "error", "newListener"],
  ...["removeListener", "connect_error", "_placeholder", "then", "length"],
  ...["\0", "\r\n", "\n", "\x1b[31m", "\u202e", "\ufeff", "\ud800", "\x7f"],
  ...["😀", "e\u0301", "ﬃ", "İ", "%00", "%", "%zz", "%2e%2e%2f", "../../etc"],
  ...["{roomcast}", "roomcast:{roomcast}:log", "$", "0-0", "-", "+", "NaN"],
  ...["18446744073709551615-18446744073709551615", "1-1;1.1", ";;..", "a:b/c"],
  ...["<script>alert(1)</script>", "'; DROP TABLE x; --", "${1}", "{{7*7}}"],
] as const;

/** A short text that is more often than not one of those that break something. */
export const word: Arbitrary<string> = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...WORDS) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 12 }) },
  { weight: 1, arbitrary: fc.string({ unit: "grapheme", maxLength: 12 }) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom("x", "é", "a.", "😀"), fc.nat(400))
      .map(([text, times]) => text.repeat(times)),
  },
);

/** The name of a room: one that the fuzzer may use, or any text. */
export const room: Arbitrary<string> = fc.oneof(
  fc.constantFrom("fuzz.a", "fuzz.b", "fuzz.c"),
  word.map((text) => `fuzz.${text}`),
  word,
);

/** A number as JSON may have it, or almost. */
export const numberText: Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    ...["0", "-0", "-1", "1e400", "-1e400", "1e-400", "0.1", "01", "+1", ".5"],
    ...["0x10", "1_000", "9007199254740993", "NaN", "Infinity", "1e", "--1"],
    ...["2147483648", "4294967296", "-2147483649", "1e21", "9".repeat(400)],
  ),
  fc.integer().map(String),
  fc.double().map(String),
);

/** Any JSON, with the values above in it. */
export const json: Arbitrary<unknown> =
  fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, depthIdentifier: "json" },
      fc.constantFrom(null, true, false, 0, -1, 1.5, {}, []),
      word,
      fc.double({ noNaN: true }),
      fc.array(tie("value"), { maxLength: 4, depthIdentifier: "json" }),
      fc.dictionary(word, tie("value"), {
        maxKeys: 4,
        depthIdentifier: "json",
      }),
    ),
  })).value;

/** Very deep or broken JSON, as a text. */
const hardJson: Arbitrary<string> = fc.oneof(
  fc.tuple(
    fc.constantFrom("[", '{"a":', '[{"a":'),
    fc.integer({ min: 1, max: 20_000 }),
  ).map(([open, depth]) => open.repeat(depth)),
  fc.integer({ min: 1, max: 30_000 }).map((depth) =>
    "[".repeat(depth) + "]".repeat(depth)
  ),
  numberText,
  numberText.map((number) => `[${number}]`),
  fc.constantFrom(
    ...["", "[", "{", '"', '"\\u', "nul", "[,]", '{"a":1,"a":2}', "[1]]"],
    ...['{"__proto__":{"polluted":1}}', '"\\ud800"', '["\\u0000"]', "//", "{}"],
  ),
);

/** A change of a text at a place, which is a part of its length. */
const change = fc.record({
  kind: fc.constantFrom("cut", "drop", "insert", "repeat", "flip" as const),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.integer({ min: 1, max: 8 }),
  text: fc.oneof(word.map(utf8), fc.string({ maxLength: 4 })),
});

/** Returns bytes of `arbitrary`, changed at a few places or at none. */
export function changed(arbitrary: Arbitrary<string>): Arbitrary<string> {
  return fc.tuple(arbitrary, fc.array(change, { maxLength: 3 })).map((
    [bytes, changes],
  ) =>
    changes.reduce((bytes, { kind, at, length, text }) => {
      const index = Math.floor(at * bytes.length);
      const before = bytes.slice(0, index), after = bytes.slice(index);
      const part = after.slice(0, length), rest = after.slice(length);
      if (kind === "cut") return before;
      if (kind === "drop") return before + rest;
      if (kind === "insert") return before + text + after;
      if (kind === "repeat") return before + part.repeat(20) + rest;
      const bit = 1 << (length - 1);
      const flipped = String.fromCharCode((part.charCodeAt(0) || 0) ^ bit);
      return before + flipped + after.slice(1);
    }, bytes)
  );
}

/** Returns values as JSON in UTF-8, sometimes changed, or something else that is hard to parse. */
export function jsonOf(values: Arbitrary<unknown>): Arbitrary<string> {
  const texts = values.map((value) => utf8(JSON.stringify(value) ?? "null"));
  return fc.oneof(
    { weight: 4, arbitrary: texts },
    { weight: 2, arbitrary: changed(texts) },
    { weight: 1, arbitrary: hardJson },
  );
}

/** Splits bytes at a few random places. */
export function split(arbitrary: Arbitrary<string>): Arbitrary<string[]> {
  const places = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
    maxLength: 3,
  });
  return fc.tuple(arbitrary, places).map(([bytes, places]) => {
    const cuts = places.map((place) => Math.floor(place * bytes.length))
      .sort((a, b) => a - b);
    return [...cuts, bytes.length].map((end, index) =>
      bytes.slice(index === 0 ? 0 : cuts[index - 1], end)
    ).filter((part) => part !== "");
  });
}
