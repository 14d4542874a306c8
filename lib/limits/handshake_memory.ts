/**
 * Limits the memory of what connecting clients have sent.
 *
 * While a hook or Redis is slow, all clients that connect wait, each with what it has sent in its CONNECT packet. A
 * packet of 128 KiB can take 2 MB once it is parsed.
 *
 * @module
 */
import { ApiError } from "../errors.ts";

/** Maximum memory of what all connecting clients of a node have sent, in bytes. */
const HANDSHAKE_BYTES_MAX = 64 << 20;

/** Counts the bytes of handshakes in flight. */
export class HandshakeMemory {
  readonly #bytesMax: number;
  #bytes = 0;

  /** Starts without handshakes. */
  constructor(bytesMax: number = HANDSHAKE_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /** Memory of what the connecting clients have sent, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Counts a handshake of `bytes` bytes until the returned value is disposed of. If there is no other handshake, accepts
   * one of any size.
   *
   * @throws {ApiError} `too_many_connects` if all handshakes together would have more than `bytesMax` bytes
   */
  enter(bytes: number): Disposable {
    if (this.#bytes > 0 && this.#bytes + bytes > this.#bytesMax) {
      throw new ApiError(
        "too_many_connects",
        `Cannot connect: other clients that are connecting to this node have sent ${
          this.#bytesMax >> 20
        } MiB; connect again later`,
      );
    }
    this.#bytes += bytes;
    return { [Symbol.dispose]: () => void (this.#bytes -= bytes) };
  }
}
