/**
 * Keeps the results of asynchronous work for a limited time, so that several callers share them.
 *
 * @module
 */

/** A map that deletes each value some time after the asynchronous work that belongs to the value is done. */
export class ExpiringMap<K, V> {
  readonly #keepMs: number;
  readonly #dropped: (value: V) => void;
  readonly #values = new Map<K, V>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #closed = false;

  /**
   * Creates an empty map. It keeps each value for `keepMs` after the value's work is done.
   *
   * @param dropped Called once with each value that the map no longer has.
   */
  constructor(keepMs: number, dropped: (value: V) => void = () => {}) {
    this.#keepMs = keepMs;
    this.#dropped = dropped;
  }

  /** Returns the value of a key; undefined if the map has no value for the key. */
  get(key: K): V | undefined {
    return this.#values.get(key);
  }

  /** Returns the keys and values, those that were set first before the others. */
  entries(): IterableIterator<[K, V]> {
    return this.#values.entries();
  }

  /** Sets the value of a key. The value is deleted when `work` rejects, or `keepMs` after `work` resolves. */
  set(key: K, value: V, work: Promise<unknown>): void {
    const older = this.#values.get(key);
    if (older !== undefined) this.delete(key, older);
    if (this.#closed) return this.#dropped(value);
    this.#values.set(key, value);
    work.then(
      () => this.#expire(key, value),
      () => this.delete(key, value),
    );
  }

  /** Deletes a key if its value is still `value`. */
  delete(key: K, value: V): void {
    if (this.#values.get(key) !== value) return;
    this.#values.delete(key);
    this.#dropped(value);
  }

  /** Deletes all values and clears all timers. After that, the map keeps no value. */
  close(): void {
    this.#closed = true;
    for (const [key, value] of this.#values) this.delete(key, value);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #expire(key: K, value: V): void {
    if (this.#closed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.delete(key, value);
    }, this.#keepMs);
    this.#timers.add(timer);
  }
}
