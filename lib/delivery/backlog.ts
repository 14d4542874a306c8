/**
 * Limits the large responses that are buffered for clients.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { Subscriber } from "./subscriber.ts";

/** Maximum bytes of responses that may be buffered for a client that asks for another large one. */
const CLIENT_RESPONSE_BYTES_MAX = 8 << 20;
/** Maximum bytes of responses that may be buffered for all clients together. */
const RESPONSE_BYTES_MAX = 64 << 20;

/** Keeps track of the subscribers that have large responses buffered. */
export class ResponseBacklog {
  /** Subscribers for which a large response is buffered, or was until recently. */
  readonly #subscribers = new Set<Subscriber>();

  /**
   * Returns whether the earlier responses that are buffered for a client exceed {@linkcode CLIENT_RESPONSE_BYTES_MAX}.
   */
  isFullFor(subscriber: Subscriber): boolean {
    return subscriber.requestedBytes > CLIENT_RESPONSE_BYTES_MAX;
  }

  /**
   * Counts a large response that is about to be written. The first one is accepted regardless of its size.
   *
   * @throws {ApiError} `overloaded` if too many large responses are buffered on this node
   */
  add(subscriber: Subscriber, bytes: number): void {
    let total = bytes;
    for (const other of this.#subscribers) {
      if (other.requestedBytes === 0) this.#subscribers.delete(other);
      else total += other.requestedBytes;
    }
    if (total > Math.max(bytes, RESPONSE_BYTES_MAX)) {
      throw new ApiError(
        "overloaded",
        `Cannot join: this node is still sending ${
          RESPONSE_BYTES_MAX >> 20
        } MiB of join answers to clients; try again later`,
      );
    }
    this.#subscribers.add(subscriber);
  }
}
