/**
 * Limits the bytes of large join answers that are buffered for clients.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { Subscriber } from "./subscriber.ts";

/** Maximum bytes of join answers that may still be buffered for a client when it asks for another large one. */
const CLIENT_ANSWER_BYTES_MAX = 8 << 20;
/** Maximum bytes of large join answers that may be buffered for all clients of a node together. */
const ANSWER_BYTES_MAX = 64 << 20;

/** Keeps track of the clients for which large join answers are still buffered. */
export class AnswerBacklog {
  /**
   * The clients for which a large answer is buffered. A client whose answers have been sent is removed only at the next
   * `add()`.
   */
  readonly #subscribers = new Set<Subscriber>();

  /** Returns whether more than {@linkcode CLIENT_ANSWER_BYTES_MAX} bytes of answers are buffered for a client. */
  isFullFor(subscriber: Subscriber): boolean {
    return subscriber.requestedBytes > CLIENT_ANSWER_BYTES_MAX;
  }

  /**
   * Records that a large answer of `bytes` bytes will be written. If no other large answer is buffered on this node,
   * accepts an answer of any size.
   *
   * @throws {ApiError} `overloaded` if more than 64 MiB of large answers would be buffered on this node
   */
  add(subscriber: Subscriber, bytes: number): void {
    let total = bytes;
    for (const other of this.#subscribers) {
      if (other.requestedBytes === 0) this.#subscribers.delete(other);
      else total += other.requestedBytes;
    }
    if (total > Math.max(bytes, ANSWER_BYTES_MAX)) {
      throw new ApiError(
        "overloaded",
        `Cannot join: this node is still sending ${
          ANSWER_BYTES_MAX >> 20
        } MiB of join answers to clients; try again later`,
      );
    }
    this.#subscribers.add(subscriber);
  }
}
