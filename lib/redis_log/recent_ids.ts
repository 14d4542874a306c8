/**
 * A bounded set of ids that forgets the oldest.
 *
 * @module
 */

/** Keeps the ids that were added last, at most as many as the constructor is given. */
export class RecentIds {
  readonly #sizeMax: number;
  readonly #ids = new Set<string>();
  /** The same ids by age; when the list is full, each new id replaces the oldest. */
  readonly #ring: string[] = [];
  #next = 0;

  /** Starts empty. */
  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax;
  }

  /** Returns whether `id` is among the ids that were added last. */
  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** Adds an id, and forgets the oldest id if there are too many. */
  add(id: string): void {
    const oldest = this.#ring[this.#next];
    if (oldest !== undefined) this.#ids.delete(oldest);
    this.#ring[this.#next] = id;
    this.#next = (this.#next + 1) % this.#sizeMax;
    this.#ids.add(id);
  }
}
