/**
 * Encodes the WebSocket frames that a server sends, and decodes the heads of the frames that a client sends (RFC 6455
 * §5.2).
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Opcode of a frame that continues the message of the frame before (RFC 6455 §5.2). */
export const CONTINUATION = 0;
/** Opcode of the first frame of a text message. */
export const TEXT = 1;
/** Opcode of the first frame of a binary message. */
export const BINARY = 2;
/** Opcode of a frame that begins or completes the closing handshake. */
export const CLOSE = 8;
/** Opcode of a frame that the other side answers with a pong. */
export const PING = 9;
/** Opcode of a frame that answers a ping. */
export const PONG = 10;

/** Maximum payload of a control frame in bytes (RFC 6455 §5.5). */
export const CONTROL_BYTES_MAX = 125;

/** Returns a new buffer with this number of bytes, whose content may be anything. */
export type Allocate = (bytes: number) => Buffer;

/** Encodes a text as one complete, unmasked frame, in a buffer from `allocate`. */
export function encodeTextFrame(text: string, allocate?: Allocate): Buffer {
  return encodeTextFrames([text], allocate);
}

/** Encodes each text as one frame. Returns all frames, in order, in one buffer from `allocate`. */
export function encodeTextFrames(
  texts: readonly string[],
  allocate: Allocate = Buffer.allocUnsafe,
): Buffer {
  const lengths = texts.map((text) => Buffer.byteLength(text));
  const frames = allocate(
    lengths.reduce((sum, length) => sum + headLength(length) + length, 0),
  );
  let at = 0;
  for (const [index, text] of texts.entries()) {
    at = writeHead(frames, at, TEXT, lengths[index] ?? 0);
    at += frames.write(text, at);
  }
  return frames;
}

/** Encodes bytes as one complete, unmasked frame with the given opcode. */
export function encodeFrame(opcode: number, payload: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(headLength(payload.length) + payload.length);
  payload.copy(frame, writeHead(frame, 0, opcode, payload.length));
  return frame;
}

/** Returns the index at which the payload begins in an unmasked frame. */
export function payloadStart(frame: Buffer): number {
  const short = frame[1] ?? 0;
  return short < 126 ? 2 : short === 126 ? 4 : 10;
}

/** The decoded head of a frame that a client sent. */
export interface FrameHead {
  readonly fin: boolean;
  readonly opcode: number;
  /** Length of the payload in bytes. */
  readonly length: number;
  /** The index of the mask in the bytes that were read. The mask has 4 bytes, and the payload follows it. */
  readonly mask: number;
}

/** Decodes the head of a frame that begins at index `at`. Returns undefined if `bytes` does not have the whole head. */
export function readHead(bytes: Buffer, at: number): FrameHead | undefined {
  if (bytes.length < at + 2) return undefined;
  const first = bytes.readUInt8(at), short = bytes.readUInt8(at + 1) & 0x7f;
  const mask = at + (short < 126 ? 2 : short === 126 ? 4 : 10);
  if (bytes.length < mask + 4) return undefined;
  return {
    fin: first >= 0x80,
    opcode: first & 0x0f,
    length: short < 126
      ? short
      : short === 126
      ? bytes.readUInt16BE(at + 2)
      : Number(bytes.readBigUInt64BE(at + 2)),
    mask,
  };
}

/**
 * Returns the rule of RFC 6455 that the head of a client's frame at index `at` violates, as text; undefined if it
 * violates none. The head's first two bytes must have arrived.
 *
 * @param isInMessage Whether the frames before this one have begun a message and not ended it.
 */
export function errorInHead(
  bytes: Buffer,
  at: number,
  isInMessage: boolean,
): string | undefined {
  const first = bytes.readUInt8(at), second = bytes.readUInt8(at + 1);
  const opcode = first & 0x0f;
  if ((first & 0x70) !== 0) return "a reserved bit is set";
  if (second < 0x80) return "a frame is not masked";
  if (opcode > PONG || (opcode > BINARY && opcode < CLOSE)) {
    return "an opcode is unknown";
  }
  if (opcode >= CLOSE) {
    return first < 0x80 || (second & 0x7f) > CONTROL_BYTES_MAX
      ? "a control frame is fragmented or too long"
      : undefined;
  }
  return (opcode === CONTINUATION) === isInMessage
    ? undefined
    : "a continuation has no message, or a message begins within another";
}

/**
 * Unmasks a part of a frame's payload in place (RFC 6455 §5.3). `past` is the number of bytes of the payload before
 * this part.
 */
export function unmask(payload: Buffer, mask: Buffer, past: number): void {
  for (let at = 0; at < payload.length; at++) {
    payload[at] = (payload[at] ?? 0) ^ (mask[(past + at) & 3] ?? 0);
  }
}

function headLength(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10;
}

/** Writes the head of a frame at index `at`. Returns the index after the head, at which the payload begins. */
function writeHead(
  frames: Buffer,
  at: number,
  opcode: number,
  length: number,
): number {
  const head = headLength(length);
  frames[at] = 0x80 | opcode;
  frames[at + 1] = head === 2 ? length : head === 4 ? 126 : 127;
  if (head === 4) frames.writeUInt16BE(length, at + 2);
  if (head === 10) frames.writeBigUInt64BE(BigInt(length), at + 2);
  return at + head;
}
