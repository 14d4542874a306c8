import assert from "node:assert/strict";
import { parsedBytes } from "../../../lib/util/parsed_bytes.ts";
import { collectGarbage } from "../../support/collect_garbage.ts";

const SIZE = 100_000;

/** Texts of about {@linkcode SIZE} characters, whose values need much memory for each character. */
const TEXTS: Readonly<Record<string, string>> = {
  "empty lists": `[${"[],".repeat(SIZE / 3)}0]`,
  "empty objects": `[${"{},".repeat(SIZE / 3)}0]`,
  "objects with a field": `[${'{"a":1},'.repeat(SIZE / 8)}0]`,
  "short texts": `[${
    Array.from({ length: SIZE / 8 }, (_, i) => `"${10_000 + i}"`).join()
  }]`,
  "an object with many fields": `{${
    Array.from({ length: SIZE / 10 }, (_, i) => `"f${10_000 + i}":1`).join()
  }}`,
  "a long text": `"${"x".repeat(SIZE)}"`,
  "numbers": `[${"1.5,".repeat(SIZE / 4)}0]`,
};

for (const [what, text] of Object.entries(TEXTS)) {
  Deno.test(`parsedBytes() is not much less than the memory of ${what}`, async () => {
    const kept: unknown[] = [];
    await collectGarbage();
    const before = Deno.memoryUsage().heapUsed;
    for (let i = 0; i < 20; i++) kept.push(JSON.parse(text));
    await collectGarbage();
    const bytes = (Deno.memoryUsage().heapUsed - before) / kept.length;
    const counted = parsedBytes(kept[0]);
    assert.ok(counted > 0.7 * bytes, `${counted} of ${bytes} bytes`);
  });
}

Deno.test("parsedBytes() counts little for a usual handshake", () => {
  const auth = {
    token: "x".repeat(500),
    rooms: Array.from(
      { length: 10 },
      (_, i) => ({ room: `room-${i}`, last: 5 }),
    ),
  };
  assert.ok(parsedBytes(auth) < 5000, `${parsedBytes(auth)}`);
});
