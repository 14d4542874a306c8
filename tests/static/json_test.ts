import assert from "node:assert/strict";
import fc from "fast-check";
import { placeOf, readJson } from "../../static/json.js";

Deno.test("readJson() returns the value of valid JSON", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const text = JSON.stringify(value, null, 1);
    assert.deepEqual(readJson(text), { value: JSON.parse(text) });
  }));
});

Deno.test("readJson() returns for invalid JSON the first wrong place, and what is expected there", () => {
  const cases: [text: string, index: number, sentence: string][] = [
    ["", 0, "line 1, column 1: a value is expected"],
    ["hello", 0, "line 1, column 1: a value is expected"],
    ['{"a":1,}', 7, "line 1, column 8: a name in double quotes is expected"],
    ["[1,]", 3, "line 1, column 4: a value is expected"],
    [
      "[1 2]",
      3,
      "line 1, column 4: a comma or the closing bracket is expected",
    ],
    ['{"a" 1}', 5, "line 1, column 6: a colon is expected"],
    [
      '{"a":1',
      6,
      "line 1, column 7: a comma or the closing bracket is expected",
    ],
    ["{}\n{}", 3, "line 2, column 1: nothing more is expected"],
    ["{\n  'a': 1\n}", 4, "line 2, column 3: texts need double quotes"],
    ["[1}", 2, "line 1, column 3: a comma or the closing bracket is expected"],
    ["[truex]", 1, "line 1, column 2: a value or ] is expected"],
    ["[01]", 1, "line 1, column 2: a value or ] is expected"],
    [
      '["a\nb"]',
      1,
      "line 1, column 2: this text has no closing quote, or a line break or an invalid \\ inside",
    ],
  ];
  for (const [text, index, sentence] of cases) {
    assert.deepEqual(readJson(text), { index, sentence }, text);
  }
});

Deno.test("readJson() returns a place for every text that JSON.parse() rejects", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.nat(), fc.string(), (value, at, put) => {
      const json = JSON.stringify(value);
      const cut = at % (json.length + 1);
      const text = json.slice(0, cut) + put + json.slice(cut + 1);
      const result = readJson(text);
      if ("value" in result) return;
      const { index = 0, sentence = "" } = result;
      assert.ok(index <= text.length);
      const atEnd = sentence.includes("nothing more") && index === text.length;
      assert.ok(!atEnd, "the whole text was taken for valid");
    }),
    { numRuns: 500 },
  );
});

Deno.test("placeOf() counts lines and columns from 1", () => {
  assert.deepEqual(placeOf("ab\ncd", 4), { line: 2, column: 2 });
});
