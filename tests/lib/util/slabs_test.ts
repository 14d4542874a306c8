import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { makeSlabs } from "../../../lib/util/slabs.ts";

Deno.test("makeSlabs() cuts small buffers out of shared blocks that no other buffer uses", () => {
  const allocate = makeSlabs();
  const blocks = new Set<ArrayBufferLike>();
  const others = new Set<ArrayBufferLike>();
  const buffers = [];
  for (let index = 0; index < 1000; index++) {
    const bytes = allocate(100).fill(index & 255);
    assert.equal(bytes.length, 100);
    buffers.push(bytes);
    blocks.add(bytes.buffer);
    others.add(Buffer.allocUnsafe(1000).buffer);
  }
  // A block of 8 KiB has 81 buffers.
  assert.equal(blocks.size, 13);
  assert.equal([...blocks].some((block) => others.has(block)), false);
  for (const [index, bytes] of buffers.entries()) {
    assert.ok(bytes.every((byte) => byte === (index & 255)), "overwritten");
  }
});

Deno.test("makeSlabs() gives a large buffer memory of its own", () => {
  const allocate = makeSlabs();
  const sizes = [1, 5000, 4096, 4096, 100_000].map((bytes) => {
    const buffer = allocate(bytes);
    return [buffer.length, buffer.buffer.byteLength];
  });
  assert.deepEqual(sizes, [
    [1, 8192],
    [5000, 5000],
    [4096, 8192],
    [4096, 8192],
    [100_000, 100_000],
  ]);
});
