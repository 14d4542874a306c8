/**
 * Collects a WebSocket message that arrives in parts: in several reads, or in several frames.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type FrameHead, unmask } from "./frame.ts";

const NOTHING: Buffer = Buffer.alloc(0);

/** A message of which only a part has arrived yet. */
export class PartialMessage {
  /** The opcode of the message's first frame. */
  readonly opcode: number;
  readonly #bytesMax: number;
  /** The bytes of the message that have arrived, unmasked, followed by unused space. */
  #bytes = NOTHING;
  #length = 0;
  /** Number of bytes of the current frame's payload that have not arrived yet. */
  #left = 0;
  /** Whether the current frame is the last one of the message. */
  #fin = false;
  #mask = NOTHING;
  /** Number of bytes of the current frame's payload that have been unmasked. */
  #unmasked = 0;

  /** Creates a message without bytes, which may have at most `bytesMax` bytes. */
  constructor(opcode: number, bytesMax: number) {
    this.opcode = opcode;
    this.#bytesMax = bytesMax;
  }

  /** Number of bytes that have arrived. */
  get length(): number {
    return this.#length;
  }

  /** Whether a part of the current frame's payload has not arrived yet. */
  get isInFrame(): boolean {
    return this.#left > 0;
  }

  /** Whether the whole message has arrived. */
  get isComplete(): boolean {
    return this.#left === 0 && this.#fin;
  }

  /** The bytes of the message that have arrived. */
  get payload(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Begins the next frame of the message. `bytes` are those in which the head was found. */
  beginFrame({ fin, length, mask }: FrameHead, bytes: Buffer): void {
    this.#left = length;
    this.#fin = fin;
    this.#mask = Buffer.from(bytes.subarray(mask, mask + 4));
    this.#unmasked = 0;
  }

  /** Takes the bytes of the current frame from index `at` on. Returns the index after the bytes that it has taken. */
  take(bytes: Buffer, at: number): number {
    const part = bytes.subarray(at, at + this.#left);
    unmask(part, this.#mask, this.#unmasked);
    this.#append(part);
    this.#unmasked += part.length;
    this.#left -= part.length;
    return at + part.length;
  }

  /**
   * Appends bytes to the message. The buffer grows by doubling, as bytes arrive. It is not allocated with the length
   * that the frame's head states; otherwise a client could make the server allocate memory by sending only heads.
   */
  #append(part: Buffer): void {
    const needed = this.#length + part.length;
    if (needed > this.#bytes.length) {
      const size = Math.max(needed, 2 * this.#bytes.length);
      const bytes = Buffer.allocUnsafe(Math.min(size, this.#bytesMax));
      this.#bytes.copy(bytes, 0, 0, this.#length);
      this.#bytes = bytes;
    }
    part.copy(this.#bytes, this.#length);
    this.#length = needed;
  }
}
