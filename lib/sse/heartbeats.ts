/**
 * Heartbeats: reminds the server of each stream regularly, with one timer for all streams.
 *
 * @module
 */

/** Time between two heartbeats of one stream, in ms. Proxies close connections on which nothing is sent for 60 s. */
const INTERVAL_MS = 25_000;
/** Number of groups of streams. Each group has its heartbeats at another time, so that they are spread evenly. */
const GROUPS = 25;

/** Calls a function with each stream once in an interval. The timer runs while there are streams. */
export class Heartbeats<T> {
  readonly #beat: (stream: T) => void;
  readonly #intervalMs: number;
  readonly #groups: readonly Set<T>[] = Array.from(
    { length: GROUPS },
    () => new Set<T>(),
  );
  #added = 0;
  #next = 0;
  #size = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Creates a list without streams. `beat` is called with a stream when its heartbeat is due. */
  constructor(beat: (stream: T) => void, intervalMs = INTERVAL_MS) {
    this.#beat = beat;
    this.#intervalMs = intervalMs;
  }

  /** Adds a stream. Its first heartbeat is due within the interval. */
  add(stream: T): void {
    this.#groups[this.#added++ % GROUPS]?.add(stream);
    this.#size++;
    this.#timer ??= setInterval(
      () => this.#beatNext(),
      this.#intervalMs / GROUPS,
    );
  }

  /** Removes a stream that was added. */
  delete(stream: T): void {
    const isFound = this.#groups.some((group) => group.delete(stream));
    if (isFound && --this.#size === 0) this.close();
  }

  /** Stops the timer. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #beatNext(): void {
    const group = this.#groups[this.#next++ % GROUPS] ?? [];
    for (const stream of group) this.#beat(stream);
  }
}
