import assert from "node:assert/strict";
import { formatOffset, readOffset } from "../../../lib/socketio/offset.ts";

Deno.test("readOffset() returns the id and the notice with which formatOffset() was called", () => {
  for (const id of ["1-0", "1763831234567-12"]) {
    for (const [generation, number] of [[1, 1], [12, 345]] as const) {
      const offset = formatOffset(id, { generation, number });
      assert.deepEqual(readOffset(offset), {
        id,
        confirms: { generation, number },
      });
    }
  }
});

Deno.test("readOffset() returns an id only if the offset is an id or a position", () => {
  const cases: [offset: unknown, id: string | undefined][] = [
    ["5-1", "5-1"],
    ["0123456789abcdef.5-1", "5-1"],
    ["0123456789abcdef.5-1;2.3", "5-1"],
    ["", undefined],
    ["foo", undefined],
    ["$", undefined],
    ["0-0", undefined],
    ["5-1;2", undefined],
    ["5-1;2.3;4.5", undefined],
    ["5-1;2.3 ", undefined],
    ["5-1;x.3", undefined],
    [`${"9".repeat(100)}-1`, undefined],
    [null, undefined],
    [5, undefined],
    [{}, undefined],
  ];
  for (const [offset, id] of cases) {
    assert.equal(readOffset(offset)?.id, id, String(offset));
  }
  assert.equal(readOffset("5-1")?.confirms, undefined);
});

Deno.test("readOffset() returns undefined if the client sends no offset", () => {
  assert.equal(readOffset(undefined), undefined);
});
