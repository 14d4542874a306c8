/**
 * Counts work in flight, so that a stopping node can wait until this work is done.
 *
 * @module
 */

/** Counts pieces of work in flight, and waits until none is left or a timeout is over. */
export class InFlight {
  #count = 0;
  #idle: (() => void) | undefined;
  readonly #end = (): void => {
    if (--this.#count === 0) this.#idle?.();
  };

  /** Number of pieces of work that have begun and not ended. */
  get count(): number {
    return this.#count;
  }

  /** Records that a piece of work begins. Returns the function to call, exactly once, when this piece of work ends. */
  begin(): () => void {
    this.#count++;
    return this.#end;
  }

  /** Runs `work`, and counts it as in flight until its promise settles. */
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
