/**
 * Keeps the results of asynchronous work for a limited time, so that several callers share them.
 *
 * @module
 */

/** A map whose entries are deleted some time after the work that produces them is done. */
export class ExpiringMap<K, V> {
  readonly #keepMs: number;
  readonly #values = new Map<K, V>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #closed = false;

  /** Creates a map that keeps an entry for `keepMs` after its work is done. */
  constructor(keepMs: number) {
    this.#keepMs = keepMs;
  }

  /** Returns the value of a key. */
  get(key: K): V | undefined {
    return this.#values.get(key);
  }

  /** Adds a value. It is deleted at once if `work` rejects, and `keepMs` after `work` resolves. */
  set(key: K, value: V, work: Promise<unknown>): void {
    if (this.#closed) return;
    this.#values.set(key, value);
    work.then(
      () => this.#expire(key, value),
      () => this.delete(key, value),
    );
  }

  /** Deletes a value, unless it has been replaced by another one. */
  delete(key: K, value: V): void {
    if (this.#values.get(key) === value) this.#values.delete(key);
  }

  /** Deletes all entries and clears all timers. No entry can be added afterwards. */
  close(): void {
    this.#closed = true;
    this.#values.clear();
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
