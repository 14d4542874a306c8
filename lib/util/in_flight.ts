/**
 * Counts what is under way, so that leaving can wait for it.
 *
 * @module
 */

/** Work under way, with a bound on how long anybody waits for it. */
export class InFlight {
  #count = 0;
  #idle: (() => void) | undefined;
  readonly #end = (): void => {
    if (--this.#count === 0) this.#idle?.();
  };

  /** How much is under way. */
  get count(): number {
    return this.#count;
  }

  /** Counts one more, until what it answers is called, which has to be once. */
  begin(): () => void {
    this.#count++;
    return this.#end;
  }

  /** Runs `work` and counts it until it is over. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const end = this.begin();
    try {
      return await work();
    } finally {
      end();
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
