import assert from "node:assert/strict";
import {
  byteLength,
  exceedsBytes,
  isPrintable,
} from "../../../lib/util/text.ts";

Deno.test("byteLength() counts bytes of UTF-8", () => {
  for (
    const [text, bytes] of [["", 0], ["a", 1], ["é", 2], ["€", 3], [
      "😀",
      4,
    ]] as const
  ) {
    assert.equal(byteLength(text), bytes);
  }
});

Deno.test("exceedsBytes() compares with the bytes of UTF-8", () => {
  for (const unit of ["a", "é", "€", "😀", "\ud800"]) {
    for (const count of [0, 1, 2, 5]) {
      const text = unit.repeat(count);
      const bytes = byteLength(text);
      assert.equal(exceedsBytes(text, bytes), false, text);
      assert.equal(exceedsBytes(text, bytes - 1), true, text);
      assert.equal(exceedsBytes(text, 3 * bytes), false, text);
    }
  }
});

Deno.test("isPrintable() refuses control characters and unpaired surrogates", () => {
  for (const text of ["", "a b", "é", "😀", "\u00a0", "\u200f"]) {
    assert.ok(isPrintable(text), text);
  }
  for (const text of ["\0", "a\n", "\x1f", "\x7f", "\x80", "\x9f", "\ud800"]) {
    assert.ok(!isPrintable(text), JSON.stringify(text));
  }
});
