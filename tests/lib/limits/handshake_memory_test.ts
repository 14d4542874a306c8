import assert from "node:assert/strict";
import { ApiError } from "../../../lib/errors.ts";
import { HandshakeMemory } from "../../../lib/limits/handshake_memory.ts";

function isRefused(error: unknown): boolean {
  return error instanceof ApiError && error.retryable &&
    error.code === "too_many_connects";
}

Deno.test("HandshakeMemory refuses handshakes that would exceed its bytes, until others have ended", () => {
  const memory = new HandshakeMemory(100);
  const first = memory.enter(60);
  const second = memory.enter(40);
  assert.throws(() => memory.enter(1), isRefused);
  assert.equal(memory.bytes, 100);
  second[Symbol.dispose]();
  assert.throws(() => memory.enter(41), isRefused);
  memory.enter(40)[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(memory.bytes, 0);
});

Deno.test("HandshakeMemory accepts a handshake of any size if there is no other", () => {
  const memory = new HandshakeMemory(100);
  using _ = memory.enter(1000);
  assert.throws(() => memory.enter(1), isRefused);
});
