/**
 * Keeps the results of asynchronous work for a limited time, so that several callers share them.
 *
 * @module
 */

/** A value that a map has. */
interface Kept<V> {
  readonly value: V;
  /** Deletes the value. The timer keeps the value in memory until it is cleared. */
  timer?: ReturnType<typeof setTimeout>;
}

/** A map that deletes each value some time after the asynchronous work that belongs to the value is done. */
export class ExpiringMap<K, V> {
  readonly #keepMs: number;
  readonly #dropped: (value: V) => void;
  readonly #values = new Map<K, Kept<V>>();
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
    return this.#values.get(key)?.value;
  }

  /** Returns the keys and values, those that were set first before the others. */
  *entries(): Generator<[K, V]> {
    for (const [key, { value }] of this.#values) yield [key, value];
  }

  /** Sets the value of a key. The value is deleted when `work` rejects, or `keepMs` after `work` resolves. */
  set(key: K, value: V, work: Promise<unknown>): void {
    const older = this.#values.get(key);
    if (older !== undefined) this.delete(key, older.value);
    if (this.#closed) return this.#dropped(value);
    const kept = { value };
    this.#values.set(key, kept);
    work.then(
      () => this.#expire(key, kept),
      () => this.delete(key, value),
    );
  }

  /** Deletes a key if its value is still `value`. */
  delete(key: K, value: V): void {
    const kept = this.#values.get(key);
    if (kept === undefined || kept.value !== value) return;
    this.#values.delete(key);
    clearTimeout(kept.timer);
    this.#dropped(value);
  }

  /** Deletes all values and clears all timers. After that, the map keeps no value. */
  close(): void {
    this.#closed = true;
    for (const [key, value] of this.entries()) this.delete(key, value);
  }

  #expire(key: K, kept: Kept<V>): void {
    if (this.#values.get(key) !== kept) return;
    kept.timer = setTimeout(() => this.delete(key, kept.value), this.#keepMs);
  }
}
