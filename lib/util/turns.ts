/**
 * Runs asynchronous work in turns: one piece at a time, or a few.
 *
 * @module
 */

/**
 * Runs pieces of work with the same key one after the other, in the order of the calls. Work with different keys
 * overlaps.
 */
export class KeyedTurns {
  /** The last unfinished piece of work of each key. */
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `work` when all earlier work of this key is done, successful or not. Settles as `work` does. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const turn = before === undefined ? work() : before.then(work);
    const done = turn.catch(() => {});
    this.#last.set(key, done);
    try {
      return await turn;
    } finally {
      if (this.#last.get(key) === done) this.#last.delete(key);
    }
  }
}

/** Runs a limited number of pieces of work at a time. Further work waits, in the order of the calls. */
export class Limit {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  /** Creates a limit of `max` pieces of work at a time. */
  constructor(max: number) {
    this.#free = max;
  }

  /** Number of pieces of work that are waiting. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Runs `work` as soon as fewer than the maximum number of pieces are running. Settles as `work` does. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
