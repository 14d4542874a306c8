import assert from "node:assert/strict";
import { randomText } from "../../../lib/util/random.ts";

Deno.test("randomText() encodes the given number of bytes in base64url", () => {
  for (const bytes of [1, 3, 15, 16, 33, 4096]) {
    const text = randomText(bytes);
    assert.match(text, /^[\w-]+$/);
    assert.equal(text.length, Math.ceil(bytes * 4 / 3), `${bytes} bytes`);
  }
});

Deno.test("randomText() never returns the same text twice, even after its block of random bytes is used up", () => {
  const texts = Array.from({ length: 10_000 }, () => randomText(15));
  assert.equal(new Set(texts).size, texts.length);
});

Deno.test("randomText() returns all values of a byte about equally often", () => {
  const counts = new Map<string, number>();
  for (const character of many(300_000)) {
    counts.set(character, (counts.get(character) ?? 0) + 1);
  }
  assert.equal(counts.size, 64);
  const expected = 400_000 / 64;
  for (const [character, count] of counts) {
    // About 13 standard deviations.
    assert.ok(Math.abs(count - expected) < 1000, `${character}: ${count}`);
  }
});

/** Returns `bytes` random bytes in base64url, made of several texts of 300 bytes. */
function many(bytes: number): string {
  return Array.from({ length: bytes / 300 }, () => randomText(300)).join("");
}
