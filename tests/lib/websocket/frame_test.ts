import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { encodeTextFrame, errorInHead } from "../../../lib/websocket/frame.ts";

/** Decodes one frame (RFC 6455 §5.2) and asserts that a server may send it. */
function decode(frame: Uint8Array): { text: string; headLength: number } {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const [first, second] = [view.getUint8(0), view.getUint8(1)];
  assert.equal(first >> 7, 1, "FIN");
  assert.equal((first >> 4) & 7, 0, "RSV");
  assert.equal(first & 15, 1, "opcode text");
  assert.equal(second >> 7, 0, "not masked");
  const short = second & 127;
  let length = BigInt(short), headLength = 2;
  if (short === 126) [length, headLength] = [BigInt(view.getUint16(2)), 4];
  if (short === 127) [length, headLength] = [view.getBigUint64(2), 10];
  if (short >= 126) {
    const least = short === 126 ? 126n : 65_536n;
    assert.ok(length >= least, "the length has its shortest form");
  }
  assert.equal(BigInt(frame.length - headLength), length);
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
    .decode(frame.subarray(headLength));
  return { text, headLength };
}

Deno.test("encodeTextFrame() encodes the length in the form that RFC 6455 requires for the size of the text", () => {
  const heads = [
    [0, 2],
    [1, 2],
    [125, 2],
    [126, 4],
    [127, 4],
    [65_535, 4],
    [65_536, 10],
    [1_000_000, 10],
  ] as const;
  for (const [bytes, headLength] of heads) {
    for (const unit of ["x", "é", "€", "😀"]) {
      const width = new TextEncoder().encode(unit).length;
      const text = unit.repeat(bytes / width) + "x".repeat(bytes % width);
      const decoded = decode(encodeTextFrame(text));
      assert.equal(decoded.text === text, true, `${bytes} bytes of ${unit}`);
      assert.equal(decoded.headLength, headLength);
    }
  }
});

Deno.test("encodeTextFrame() encodes any text as UTF-8", () => {
  for (const text of ["\ufeffx", "\u0000", "\u2028", "👩‍👩‍👧‍👦", "\u202e"]) {
    assert.equal(decode(encodeTextFrame(text)).text, text);
  }
  assert.equal(decode(encodeTextFrame("a\ud800b")).text, "a\ufffdb");
});

Deno.test("errorInHead() names the rule that the head of a client's frame violates", () => {
  const error = (first: number, second: number, isInMessage = false) =>
    errorInHead(Buffer.from([0, first, second]), 1, isInMessage);
  // A text, a part of it, its continuation, a ping within a message, and a close frame of the largest size.
  assert.equal(error(0x81, 0x80), undefined);
  assert.equal(error(0x01, 0xff), undefined);
  assert.equal(error(0x80, 0x80, true), undefined);
  assert.equal(error(0x89, 0x80, true), undefined);
  assert.equal(error(0x88, 0x80 | 125), undefined);
  for (const bit of [0x40, 0x20, 0x10]) {
    assert.equal(error(0x81 | bit, 0x80), "a reserved bit is set");
  }
  assert.equal(error(0x81, 0x7f), "a frame is not masked");
  for (const opcode of [3, 7, 11, 15]) {
    assert.equal(error(0x80 | opcode, 0x80), "an opcode is unknown");
  }
  const control = "a control frame is fragmented or too long";
  assert.equal(error(0x09, 0x80), control);
  assert.equal(error(0x88, 0x80 | 126), control);
  const order =
    "a continuation has no message, or a message begins within another";
  assert.equal(error(0x80, 0x80), order);
  assert.equal(error(0x82, 0x80, true), order);
});
