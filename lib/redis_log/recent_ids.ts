/**
 * A bounded set of ids that forgets the oldest.
 *
 * @module
 */

/** Remembers the ids that were added last, up to a maximum number. */
export class RecentIds {
  readonly #sizeMax: number;
  readonly #ids = new Set<string>();
  /** The ids of `#ids` as a ring buffer; when the buffer is full, each new id replaces the oldest. */
  readonly #ring: string[] = [];
  #next = 0;

  /** Creates an empty set that remembers at most `sizeMax` ids. */
  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax;
  }

  /** Returns whether `id` is among the ids that were added last. */
  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** Adds an id, and forgets the oldest id if the set is full. */
  add(id: string): void {
    const oldest = this.#ring[this.#next];
    if (oldest !== undefined) this.#ids.delete(oldest);
    this.#ring[this.#next] = id;
    this.#next = (this.#next + 1) % this.#sizeMax;
    this.#ids.add(id);
  }
}
