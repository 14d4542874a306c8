/**
 * The clock of the Redis server, as this process knows it.
 *
 * @module
 */

/** Translates times of this process' monotonic clock into times of the Redis server's clock. */
export class RedisClock {
  /** Redis' clock less this process' monotonic clock, in ms; undefined until Redis has been asked. */
  #skewMs: number | undefined;

  /** Records that it is `now` on Redis at the moment, in ms since 1970. */
  set(now: number): void {
    this.#skewMs = now - performance.now();
  }

  /**
   * Returns the time on Redis at a time of `performance.now()`, in ms since 1970; undefined until Redis has been asked.
   */
  at(time: number): number | undefined {
    return this.#skewMs === undefined ? undefined : time + this.#skewMs;
  }
}
