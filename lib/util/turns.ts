/**
 * Limits how many pieces of asynchronous work run at a time: one for each key, or a given number in total.
 *
 * @module
 */

/**
 * Runs pieces of work that have the same key one after the other, in the order of the calls. Pieces of work with
 * different keys run at the same time.
 */
export class KeyedTurns<K = string> {
  /** For each key with unfinished work, the promise of the newest piece of work. */
  readonly #last = new Map<K, Promise<unknown>>();

  /**
   * Runs `work` when all earlier pieces of work with this key have ended, even if they failed. Settles as `work` does.
   */
  async run<T>(key: K, work: () => Promise<T>): Promise<T> {
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

/**
 * Runs at most a given number of pieces of work at a time. Further pieces of work wait and start in the order of the
 * calls.
 */
export class Limit {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  /** Creates a limit that runs at most `max` pieces of work at a time. */
  constructor(max: number) {
    this.#free = max;
  }

  /** Number of pieces of work that have not started yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Runs `work` as soon as fewer than `max` pieces of work are running. Settles as `work` does. */
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
