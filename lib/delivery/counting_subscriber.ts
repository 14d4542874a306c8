/**
 * Splits the bytes that are buffered for a client into those of messages and those of answers that it asked for.
 *
 * @module
 */
import { Subscriber } from "./subscriber.ts";

/** A subscriber that knows how many bytes are buffered in all, and derives from it how many the client asked for. */
export abstract class CountingSubscriber extends Subscriber {
  /** How many bytes of answers that the client asked for were buffered at the last count. */
  #requestedBytes = 0;

  /** All bytes that are buffered for the client in this process, except those of replayed messages. */
  protected abstract get allBytes(): number;

  override get bufferedBytes(): number {
    return this.allBytes - this.requestedBytes;
  }

  // All bytes are sent in the order in which they were written, but only their sum is known. The bytes of answers
  // therefore count as the last to be sent.
  override get requestedBytes(): number {
    return this.#requestedBytes = Math.min(this.#requestedBytes, this.allBytes);
  }

  override respond(write: () => void): void {
    const { bufferedBytes } = this;
    try {
      write();
    } finally {
      this.#requestedBytes = this.allBytes - bufferedBytes;
    }
  }
}
