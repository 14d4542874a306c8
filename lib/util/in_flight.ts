/**
 * Counts work in flight, so that a node that stops can wait for it.
 *
 * @module
 */

/** Counts work in flight and waits for it, for a limited time. */
export class InFlight {
  #count = 0;
  #idle: (() => void) | undefined;
  readonly #end = (): void => {
    if (--this.#count === 0) this.#idle?.();
  };

  /** Number of pieces of work in flight. */
  get count(): number {
    return this.#count;
  }

  /** Increments the count. Returns the function that decrements it, to be called exactly once. */
  begin(): () => void {
    this.#count++;
    return this.#end;
  }

  /** Runs `work` and counts it until it settles. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const end = this.begin();
    try {
      return await work();
    } finally {
      end();
    }
  }

  /** Resolves when no work is in flight, or after `timeoutMs`. */
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
