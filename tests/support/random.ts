/** Pseudo-random numbers that a seed repeats. */

/** A sequence of pseudo-random numbers that depends only on its seed (mulberry32). */
export class Random {
  #state: number;

  /** Starts the sequence that belongs to `seed`. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Returns the next number, at least 0 and less than 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Returns a random integer from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** Returns `true` with the given probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** Returns a random item of `things`. */
  oneOf<T>(things: readonly T[]): T {
    return things[this.between(0, things.length - 1)] as T;
  }

  /** Returns random items of `things`, in their order: at least one and at most `max`. */
  someOf<T>(things: readonly T[], max: number = things.length): T[] {
    const rest = [...things.keys()];
    const count = this.between(1, max);
    const taken = Array.from(
      { length: count },
      () => rest.splice(this.between(0, rest.length - 1), 1)[0],
    );
    return things.filter((_, index) => taken.includes(index));
  }

  /** Returns a new sequence whose seed is made of the next number of this sequence. */
  fork(): Random {
    return new Random(this.between(0, 2 ** 32 - 1));
  }
}
