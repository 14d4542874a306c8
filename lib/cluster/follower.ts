/**
 * Follows a store that all nodes share.
 *
 * @module
 */
import type { Observe } from "../observer.ts";
import { Attempts } from "../redis/attempts.ts";
import { pause } from "../util/deadline.ts";

/** Time between two looks at the store if no other node has sent a command, in ms. */
const INTERVAL_MS = 2000;
/**
 * Minimum time between two looks, in ms, however many commands of other nodes arrive. It is also the time between two
 * attempts to load the store when a node starts.
 */
const INTERVAL_MS_MIN = 50;

/** Options of {@linkcode Follower}. */
export interface FollowerOptions {
  /** Takes over what has changed in the store. Rejects if that fails. */
  readonly look: () => Promise<void>;
  /** Returns whether the store has been loaded once. Until then, attempts follow each other quickly. */
  readonly isLoaded: () => boolean;
  /** What failed, for the report of an unexpected error. */
  readonly where: string;
  readonly observe: Observe;
}

/**
 * Looks at a store again and again: at once when another node says that it has changed it, which it does by a command
 * that may be lost, and otherwise every 2 s.
 *
 * Lifetime: `start()` starts to look. Call `close()` to stop.
 */
export class Follower {
  readonly #options: FollowerOptions;
  readonly #closing = new AbortController();
  readonly #looks: Attempts;
  /** Ends the pause before the next look at the store. */
  #wake = new AbortController();
  /** Called after the next look that begins. */
  #waiting: (() => void)[] = [];

  /** Stores the options. Does not look yet. */
  constructor(options: FollowerOptions) {
    this.#options = options;
    const { where, observe } = options;
    this.#looks = new Attempts(where, observe, this.#closing.signal);
  }

  /** Starts to look. */
  start(): void {
    void this.#run();
  }

  /** Causes a look soon. */
  wake(): void {
    this.#wake.abort();
  }

  /** Causes a look, and resolves when a look has ended that began after the call, or when the follower is closed. */
  look(): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.wake();
    });
  }

  /** Stops to look. */
  close(): void {
    this.#closing.abort();
    this.#wake.abort();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async #run(): Promise<void> {
    const { look, isLoaded } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      // A command that arrives during the look may be about a change after it, so it causes another look.
      this.#wake = new AbortController();
      const waiting = this.#waiting.splice(0);
      await this.#looks.run(look);
      for (const resolve of waiting) resolve();
      await pause(INTERVAL_MS_MIN, signal);
      if (!isLoaded()) continue;
      await pause(INTERVAL_MS - INTERVAL_MS_MIN, this.#wake.signal);
    }
  }
}
