/**
 * Counts what is under way, so that leaving can wait for it.
 *
 * @module
 */

/** Work under way, with a bound on how long anybody waits for it. */
export class UnderWay {
  #count = 0;
  #idle: (() => void) | undefined;

  /** How much is under way. */
  get count(): number {
    return this.#count;
  }

  /** Runs `work` and counts it until it is over. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    this.#count++;
    try {
      return await work();
    } finally {
      if (--this.#count === 0) this.#idle?.();
    }
  }

  /** Resolves when nothing is under way, or after `timeoutMs`. */
  async settled(timeoutMs: number): Promise<void> {
    if (this.#count === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#idle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
