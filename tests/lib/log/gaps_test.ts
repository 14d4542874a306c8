import assert from "node:assert/strict";
import fc from "fast-check";
import { GAPS_MAX, IngressGaps, parseChannels } from "../../../lib/log/gaps.ts";
import { compareIds } from "../../../lib/log/position.ts";

Deno.test("IngressGaps.within() returns true for the rooms of a gap's channels if the gap lies after the first id and up to the second", () => {
  const gaps = new IngressGaps();
  gaps.add("5-0", ["news", "chat.*"]);
  for (
    const [room, after, upTo, expected] of [
      ["news", "4-9", "5-0", true],
      ["news", "0-0", "9-0", true],
      ["chat.1", "4-0", "6-0", true],
      ["chat", "4-0", "6-0", false],
      ["other", "0-0", "9-0", false],
      ["news", "5-0", "9-0", false],
      ["news", "0-0", "4-9", false],
    ] as const
  ) {
    assert.equal(
      gaps.within(room, after, upTo),
      expected,
      `${room} after ${after} up to ${upTo}`,
    );
  }
});

Deno.test("IngressGaps.within() returns false before the first gap was added, and after clear()", () => {
  const gaps = new IngressGaps();
  assert.equal(gaps.within("a", "0-0", "9-0"), false);
  gaps.add("5-0", ["*"]);
  gaps.clear();
  assert.equal(gaps.within("a", "0-0", "9-0"), false);
});

Deno.test("IngressGaps.add() returns a function that returns true for the rooms of the gap's channels", () => {
  const concerns = new IngressGaps().add("1-0", ["a", "b?"]);
  assert.deepEqual(["a", "b1", "b", "c"].map(concerns), [
    true,
    true,
    false,
    false,
  ]);
});

Deno.test("IngressGaps.add() ignores a gap whose id is not greater than that of the newest gap", () => {
  const gaps = new IngressGaps();
  gaps.add("5-0", ["a"]);
  gaps.add("5-0", ["b"]);
  gaps.add("4-0", ["c"]);
  assert.deepEqual(
    ["a", "b", "c"].map((room) => gaps.within(room, "0-0", "9-0")),
    [true, false, false],
  );
});

Deno.test("IngressGaps.within() returns true for all ids before the oldest kept gap if more than 1,000 gaps were added", () => {
  const gaps = new IngressGaps();
  for (let i = 1; i <= GAPS_MAX - 1; i++) gaps.add(`${i}-0`, ["a"]);
  assert.equal(gaps.within("b", "0-0", "9999-0"), false);
  gaps.add(`${GAPS_MAX}-0`, ["a"]);
  gaps.add(`${GAPS_MAX + 1}-0`, ["a"]);
  assert.equal(gaps.within("b", "0-0", "9999-0"), true, "gap 1 is forgotten");
  assert.equal(gaps.within("b", "2-0", "9999-0"), false);
  assert.equal(gaps.within("a", "2-0", "9999-0"), true);
  assert.equal(gaps.within("b", "0-0", "1-0"), false, "before all gaps");
});

Deno.test("IngressGaps.within() returns the same as a search in a plain list, for random gaps and ranges", () => {
  const id = fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 2 })).map(
    ([ms, sequence]) => `${ms}-${sequence}`,
  );
  const channels = fc.subarray(["a", "b", "a*"], { minLength: 1 });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(id, channels)),
      fc.array(fc.tuple(fc.constantFrom("a", "b", "ab", "c"), id, id)),
      (list, questions) => {
        const gaps = new IngressGaps();
        const added: [id: string, concerns: (room: string) => boolean][] = [];
        for (const [id, channels] of list) {
          const concerns = gaps.add(id, channels);
          if (compareIds(id, added.at(-1)?.[0] ?? "0-0") > 0) {
            added.push([id, concerns]);
          }
        }
        for (const [room, after, upTo] of questions) {
          const expected = added.some(([id, concerns]) =>
            compareIds(id, after) > 0 && compareIds(id, upTo) <= 0 &&
            concerns(room)
          );
          assert.equal(gaps.within(room, after, upTo), expected);
        }
      },
    ),
  );
});

Deno.test("parseChannels() reads a JSON list of names, and throws for any other text", () => {
  assert.deepEqual(parseChannels('["a","b*"]'), ["a", "b*"]);
  for (const text of ["", "{", "{}", '"a"', "[1]", '["a",null]', "null"]) {
    assert.throws(() => parseChannels(text), text);
  }
});
