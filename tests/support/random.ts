/** Random numbers that can be repeated. */

/** Random numbers that depend only on the seed (mulberry32). */
export class Random {
  #state: number;

  /** Starts the sequence of a seed. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Returns a number of at least 0 and less than 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Returns an integer from `min` to `max`. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** Returns true with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** Returns one of these items. */
  oneOf<T>(things: readonly T[]): T {
    return things[this.between(0, things.length - 1)] as T;
  }

  /** Returns some of these items, in their order: at least one and at most `max`. */
  someOf<T>(things: readonly T[], max: number = things.length): T[] {
    const rest = [...things.keys()];
    const count = this.between(1, max);
    const taken = Array.from(
      { length: count },
      () => rest.splice(this.between(0, rest.length - 1), 1)[0],
    );
    return things.filter((_, index) => taken.includes(index));
  }

  /** Returns another sequence, which depends on this seed and on how many numbers were drawn before. */
  fork(): Random {
    return new Random(this.between(0, 2 ** 32 - 1));
  }
}
