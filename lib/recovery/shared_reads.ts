/**
 * Reads a history once for all clients that need the same messages.
 *
 * If a node stops, its clients reconnect together, and most of them missed the same messages.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { History } from "../log/log.ts";
import { compareIds } from "../log/position.ts";
import { pause } from "../util/deadline.ts";
import { ExpiringMap } from "../util/expiring_map.ts";
import type { Limit } from "../util/turns.ts";
import { type HistoryRead, reachesBack } from "./history_pages.ts";
import type { HeldRead, ReplayHold } from "./replay_hold.ts";
import type { ReplayMemory } from "./replay_memory.ts";

/**
 * Maximum number of attempts to read missed messages for a client. An attempt fails if the ring meanwhile drops
 * messages that follow those that were read.
 */
const ATTEMPTS_MAX = 3;
/** Delay before a read starts, in ms, so that further clients can share the read. */
const COALESCE_MS = 10;
/** How long the result of a finished read is reused for other clients, in ms. */
const KEEP_MS = 2000;

/** Reads the messages of a room after the id `from`, from a history whose pages count for the read. */
type Read = (
  from: string,
  history: Pick<History, "read">,
) => Promise<HistoryRead>;

/** A read of a room's history whose result several clients share. */
interface SharedRead {
  /**
   * The id after which the read begins. Until the read starts, a client that needs earlier messages sets an earlier id.
   */
  from: string;
  isStarted: boolean;
  /** The memory of the messages that were read. */
  readonly held: HeldRead;
  /** The clients that wait for the result. */
  readonly wanting: Set<ReplayHold>;
  readonly result: Promise<HistoryRead>;
}

/** Options of {@linkcode SharedReads}. */
export interface SharedReadsOptions {
  readonly history: Pick<History, "read">;
  /** Limits how many reads run at a time. */
  readonly limit: Limit;
  /** Limits the memory of the messages that were read. */
  readonly memory: ReplayMemory;
  /** Resolves to whether the ring has every message after the id `end`, at which a read has ended. */
  readonly isContinued: (end: string) => Promise<boolean>;
}

/**
 * Runs reads of histories and shares their results. Keeps the reads that are in flight, and those that finished within
 * the last {@linkcode KEEP_MS}, unless their memory is needed for other reads.
 */
export class SharedReads {
  readonly #reads: ExpiringMap<string, SharedRead>;
  readonly #options: SharedReadsOptions;

  /** Starts without reads. */
  constructor(options: SharedReadsOptions) {
    this.#options = options;
    const { memory } = options;
    this.#reads = new ExpiringMap(KEEP_MS, ({ held }) => memory.drop(held));
    memory.onFull = (isFull) => this.#dropUnused(isFull);
  }

  /**
   * Resolves to the result of a read that begins after the id `from` or after an earlier id. The ring has every message
   * after the result's end.
   *
   * The caller has to check the result by `reachesBack()`, because the result begins later than `from` if the history
   * no longer has the oldest messages.
   *
   * @param key A name for the room and the kind of read. Calls with the same key share a read.
   * @param hold Holds the messages of the result.
   *
   * @throws {ApiError} `overloaded` if the ring drops messages faster than the history can be read, if there is no
   * memory for the messages, or if all clients that wait for the read are gone before it starts; a code `log_…` if the
   * log cannot be read
   */
  async read(
    key: string,
    from: string,
    read: Read,
    hold: ReplayHold,
  ): Promise<HistoryRead> {
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const shared = this.#join(key, from, read);
      const result = await this.#resultOf(shared, hold);
      if (!reachesBack(result, from)) {
        // The read may have failed only because another client needs too many messages. A read for this client alone
        // may succeed.
        const isFinal = result.since !== undefined || shared.from === from;
        if (isFinal) return result;
      } else {
        hold.add(shared.held);
        if (await this.#options.isContinued(result.end)) return result;
        hold.remove(shared.held);
      }
      this.#reads.delete(key, shared);
    }
    throw new ApiError(
      "overloaded",
      "Cannot read missed messages: this node receives new messages faster than it can read the missed ones; try again later",
    );
  }

  async #resultOf(shared: SharedRead, hold: ReplayHold): Promise<HistoryRead> {
    shared.wanting.add(hold);
    try {
      return await shared.result;
    } finally {
      shared.wanting.delete(hold);
    }
  }

  /** Clears all timers of the reads. */
  close(): void {
    this.#reads.close();
  }

  /**
   * Returns a read of all messages after `from` and perhaps of earlier ones. Reuses a read that begins early enough or
   * has not started yet; otherwise creates a new read.
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
    const held = this.#options.memory.begin();
    const result = pause(COALESCE_MS).then(() => this.#run(shared, read));
    const wanting = new Set<ReplayHold>();
    const shared: SharedRead = {
      from,
      isStarted: false,
      held,
      wanting,
      result,
    };
    this.#reads.set(key, shared, result);
    return shared;
  }

  async #run(shared: SharedRead, read: Read): Promise<HistoryRead> {
    const { history, limit, memory } = this.#options;
    const { held } = shared;
    try {
      // Reads that have to wait for memory do not keep others from running.
      await memory.admit(held);
      return await limit.run(async () => {
        // Clients may connect, ask for histories and disconnect faster than histories can be read.
        const holds = [...shared.wanting];
        if (holds.every(({ isClosed }) => isClosed)) holds[0]?.checkOpen();
        shared.isStarted = true;
        return await read(shared.from, memory.meter(history, held));
      });
    } finally {
      memory.end(held);
    }
  }

  /** Deletes finished reads that no client needs, oldest first, while there is no memory for others. */
  #dropUnused(isFull: () => boolean): void {
    for (const [key, shared] of this.#reads.entries()) {
      if (!isFull()) return;
      const { isRunning, holds } = shared.held;
      if (!isRunning && holds.size === 0) this.#reads.delete(key, shared);
    }
  }
}
