/**
 * Runs asynchronous work one after the other, or a few at a time.
 *
 * @module
 */

/** Runs the works of one key one after the other, in the order in which they came. Works of different keys overlap. */
export class KeyedTurns {
  /** The last work of each key that is not done yet. */
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `work` when all earlier works of this key are done, whether they failed or not. Settles as `work` does. */
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

/** Runs a limited number of works at a time. Others wait, in the order in which they came. */
export class Limit {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  /** Creates a limit of `max` works at a time. */
  constructor(max: number) {
    this.#free = max;
  }

  /** How many works wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Runs `work` as soon as fewer than the maximum are running. Settles as `work` does. */
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
