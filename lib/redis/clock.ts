/**
 * Computes the time of the Redis server's clock without asking Redis.
 *
 * @module
 */

/** Translates times of this process' monotonic clock into times of the Redis server's clock. */
export class RedisClock {
  /**
   * The Redis server's clock minus this process' monotonic clock, in ms; undefined until {@linkcode RedisClock.set} is
   * called.
   */
  #skewMs: number | undefined;

  /** Records that the time on Redis is now `now`, in ms since 1970. */
  set(now: number): void {
    this.#skewMs = now - performance.now();
  }

  /**
   * Returns the time on Redis at a time of `performance.now()`, in ms since 1970; undefined until
   * {@linkcode RedisClock.set} is called.
   */
  at(time: number): number | undefined {
    return this.#skewMs === undefined ? undefined : time + this.#skewMs;
  }
}
