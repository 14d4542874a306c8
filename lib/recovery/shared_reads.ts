/**
 * Reads histories once for all clients that need the same.
 *
 * Clients that lose their node reconnect together, and most of them missed the same messages.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { compareIds } from "../log/position.ts";
import { pause } from "../util/deadline.ts";
import { ExpiringMap } from "../util/expiring_map.ts";
import type { Limit } from "../util/turns.ts";
import { type HistoryRead, reachesBack } from "./history_pages.ts";

/** How often a read is repeated because the ring has moved on meanwhile. */
const ATTEMPTS_MAX = 3;
/** Time that a read waits for further clients before it starts, in ms. */
const COALESCE_MS = 10;
/** Time for which a finished read is used for further clients, in ms. */
const KEEP_MS = 2000;
const NEVER = new AbortController().signal;

/** Reads from an id on. */
type Read = (from: string) => Promise<HistoryRead>;

/** A read that several clients share. */
interface SharedRead {
  /** The id after which it reads. A client that needs more moves it back until the read starts. */
  from: string;
  isStarted: boolean;
  readonly result: Promise<HistoryRead>;
}

/** Keeps the reads that are running and those that were finished a moment ago. */
export class SharedReads {
  readonly #reads = new ExpiringMap<string, SharedRead>(KEEP_MS);
  readonly #limit: Limit;
  readonly #isContinued: (end: string) => Promise<boolean>;

  /**
   * Creates an empty collection. `limit` bounds how many reads run at a time. `isContinued` resolves to whether the ring
   * has every message after the end of a read.
   */
  constructor(limit: Limit, isContinued: (end: string) => Promise<boolean>) {
    this.#limit = limit;
    this.#isContinued = isContinued;
  }

  /**
   * Resolves to a read of `key` that the ring continues. Whether it reaches back to `from` is for the caller to check:
   * if it does not, the history does not keep that much.
   *
   * @throws {ApiError} `overloaded` if messages arrive faster than they can be read; `log_…`
   */
  async read(key: string, from: string, read: Read): Promise<HistoryRead> {
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const shared = this.#join(key, from, read);
      const result = await shared.result;
      if (!reachesBack(result, from)) {
        // A read that failed for the client that needs most may succeed for one that needs less.
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

  /** Returns a read that begins at `from` or before, if there is one or if it can still be moved; otherwise a new one. */
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
