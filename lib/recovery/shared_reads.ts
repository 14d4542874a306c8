/**
 * Reads a history once for all clients that need the same messages.
 *
 * If a node stops, its clients reconnect together, and most of them missed the same messages.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { compareIds } from "../log/position.ts";
import { pause } from "../util/deadline.ts";
import { ExpiringMap } from "../util/expiring_map.ts";
import type { Limit } from "../util/turns.ts";
import { type HistoryRead, reachesBack } from "./history_pages.ts";

/** How often a read is attempted if the ring drops messages after its end meanwhile. */
const ATTEMPTS_MAX = 3;
/** Delay before a read starts, in ms, so that further clients can share it. */
const COALESCE_MS = 10;
/** How long a finished read is reused for further clients, in ms. */
const KEEP_MS = 2000;
const NEVER = new AbortController().signal;

/** Reads messages after an id. */
type Read = (from: string) => Promise<HistoryRead>;

/** A read that several clients share. */
interface SharedRead {
  /** The id after which the read begins. Until the read starts, a client that needs earlier messages moves it back. */
  from: string;
  isStarted: boolean;
  readonly result: Promise<HistoryRead>;
}

/** Keeps the reads in flight and those that finished within the last {@linkcode KEEP_MS}. */
export class SharedReads {
  readonly #reads = new ExpiringMap<string, SharedRead>(KEEP_MS);
  readonly #limit: Limit;
  readonly #isContinued: (end: string) => Promise<boolean>;

  /**
   * Creates an empty collection. At most as many reads as `limit` allows run at a time. `isContinued` resolves to
   * whether the ring has every message after the end of a read.
   */
  constructor(limit: Limit, isContinued: (end: string) => Promise<boolean>) {
    this.#limit = limit;
    this.#isContinued = isContinued;
  }

  /**
   * Resolves to a read of `key` after whose end the ring has every message. The caller has to check whether the read
   * reaches back to `from`: if it does not, the history is not that long.
   *
   * @throws {ApiError} `overloaded` if messages arrive faster than they can be read; `log_…`
   */
  async read(key: string, from: string, read: Read): Promise<HistoryRead> {
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const shared = this.#join(key, from, read);
      const result = await shared.result;
      if (!reachesBack(result, from)) {
        // A read that failed for the client that needs the most messages may succeed for a client that needs fewer.
        const isFinal = result.since !== undefined || shared.from === from;
        if (isFinal) return result;
      } else if (await this.#isContinued(result.end)) return result;
      this.#reads.delete(key, shared);
    }
    throw new ApiError(
      "overloaded",
      "Cannot recover: messages arrive faster than they can be read; connect again later",
    );
  }

  /** Clears all timers. */
  close(): void {
    this.#reads.close();
  }

  /**
   * Returns a read that begins at `from` or earlier: an existing one, if it can be used or moved back, or a new one.
   */
  #join(key: string, from: string, read: Read): SharedRead {
    const shared = this.#reads.get(key);
    if (shared === undefined) return this.#start(key, from, read);
    if (compareIds(from, shared.from) >= 0) return shared;
    if (shared.isStarted) return this.#start(key, from, read);
    shared.from = from;
    return shared;
  }

  #start(key: string, from: string, read: Read): SharedRead {
    const result = pause(COALESCE_MS, NEVER).then(() =>
      this.#limit.run(() => {
        shared.isStarted = true;
        return read(shared.from);
      })
    );
    const shared: SharedRead = { from, isStarted: false, result };
    this.#reads.set(key, shared, result);
    return shared;
  }
}
