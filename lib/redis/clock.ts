/**
 * Computes the time on the Redis server without a command to Redis.
 *
 * @module
 */

/** Converts times of this process' monotonic clock (`performance.now()`) into times of the Redis server's clock. */
export class RedisClock {
  /**
   * The Redis server's clock minus this process' monotonic clock, in ms; undefined until {@linkcode RedisClock.set} is
   * called.
   */
  #skewMs: number | undefined;

  /** Records the current time of the Redis server's clock, in ms since 1970. */
  set(now: number): void {
    this.#skewMs = now - performance.now();
  }

  /**
   * Returns what the Redis server's clock shows when `performance.now()` returns `time`, in ms since 1970. Returns
   * undefined until {@linkcode RedisClock.set} is called.
   */
  at(time: number): number | undefined {
    return this.#skewMs === undefined ? undefined : time + this.#skewMs;
  }
}
