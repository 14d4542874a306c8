/**
 * Limits the bytes of large join answers that are buffered for clients.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { Subscriber } from "./subscriber.ts";

/** Maximum bytes of answers that may be buffered for a client that asks for another large answer. */
const CLIENT_ANSWER_BYTES_MAX = 8 << 20;
/** Maximum bytes of answers that may be buffered for all clients together. */
const ANSWER_BYTES_MAX = 64 << 20;

/** Keeps track of the subscribers for which large join answers are buffered. */
export class AnswerBacklog {
  /**
   * The subscribers for which a large answer is buffered. A subscriber whose answer has been sent is removed at the
   * next `add()`.
   */
  readonly #subscribers = new Set<Subscriber>();

  /** Returns whether more than {@linkcode CLIENT_ANSWER_BYTES_MAX} bytes of answers are buffered for a client. */
  isFullFor(subscriber: Subscriber): boolean {
    return subscriber.requestedBytes > CLIENT_ANSWER_BYTES_MAX;
  }

  /**
   * Records that a large answer of `bytes` bytes will be written. Accepts an answer of any size if no other large
   * answer is buffered on this node.
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
