/**
 * The messages that are in memory for one client, from the moment at which they are read until the client was sent them.
 *
 * @module
 */
import { entryBytes } from "../delivery/ring.ts";
import type { ReplayWatcher, Subscriber } from "../delivery/subscriber.ts";
import { ApiError } from "../errors.ts";
import type { Entry } from "../log/log.ts";
import { Limit } from "../util/turns.ts";

/**
 * Maximum number of reads of the log that are made for one client at a time. A client that names many rooms, each with
 * another position, would otherwise delay the reads for all other clients.
 */
const CLIENT_READS_MAX = 4;

/** The messages of one read of a history. */
export class HeldRead {
  /** Memory of the messages that were read so far, in bytes. */
  bytes = 0;
  /** Whether the read has not ended yet. */
  isRunning = true;
  /** Whether the read is kept for further clients. */
  isKept = true;
  /** The clients that need the messages. */
  readonly holds = new Set<ReplayHold>();
  /** The value of `ReplayMemory`'s waiting time at which the read may not wait any more, in ms. */
  readonly waitsUntil: number;

  /** Creates a read that has not begun. */
  constructor(waitsUntil: number) {
    this.waitsUntil = waitsUntil;
  }

  /** Whether the read's messages are in memory. */
  get isHeld(): boolean {
    return this.isRunning || this.isKept || this.holds.size > 0;
  }
}

/** Counts the bytes of what clients hold. */
export interface HeldBytes {
  /** Number of bytes of messages that the ring has dropped so far. */
  readonly droppedBytes: number;
  /** Time for which the node could send its clients something, in ms. */
  readonly servedMs: number;
  /** Counts a read for a client that needs it. */
  retain(hold: ReplayHold, read: HeldRead): void;
  /** Counts a read no longer for a client. */
  release(hold: ReplayHold, read: HeldRead): void;
  /** Checks from now on whether a client's connection is closed and how fast it reads. */
  watch(hold: ReplayHold): void;
  /** Ends these checks. */
  unwatch(hold: ReplayHold): void;
}

/** Holds the memory of the messages that one client needs. Tells how fast the client reads them. */
export class ReplayHold implements ReplayWatcher, Disposable {
  /** The reads that the client needs. */
  readonly reads = new Set<HeldRead>();
  /** The client's subscriber; undefined until the client is sent the messages. */
  subscriber: Subscriber | undefined;
  /**
   * `ReplayMemory.droppedBytes` when the client was first sent messages; undefined before, and if it does not matter how
   * many messages the ring has dropped since.
   */
  ringMark: number | undefined;
  readonly #memory: HeldBytes;
  readonly #isOpen: () => boolean;
  #isReleased = false;
  /** Limits the reads for the client; undefined until there is one. */
  #limit: Limit | undefined;
  /** The messages that the client is sent, also those that are in the ring. */
  #messages: readonly Entry[] = [];
  /** `ReplayMemory.servedMs` when the client was first sent messages, and when it was last sent some. */
  #startedAt = 0;
  #sentAt = 0;

  /** Creates a hold without reads. Use `ReplayMemory.hold()`. */
  constructor(memory: HeldBytes, isOpen: () => boolean) {
    this.#memory = memory;
    this.#isOpen = isOpen;
  }

  /** Memory of the reads that the client needs, in bytes. */
  get bytes(): number {
    return [...this.reads].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Memory of all messages that the client is sent, in bytes. */
  get messageBytes(): number {
    return this.#messages.reduce((sum, entry) => sum + entryBytes(entry), 0);
  }

  /** Whether nothing is needed for the client any more: its connection is closed, or the hold was released. */
  get isClosed(): boolean {
    return this.#isReleased || (this.subscriber?.closed ?? !this.#isOpen());
  }

  /**
   * Runs a read of the log for the client as soon as fewer than {@linkcode CLIENT_READS_MAX} others run. Settles as
   * `work` does.
   *
   * @throws {ApiError} `overloaded` if the client is gone when its turn comes
   */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#limit ??= new Limit(CLIENT_READS_MAX);
    return await this.#limit.run(async () => {
      this.checkOpen();
      return await work();
    });
  }

  /** @throws {ApiError} `overloaded` if nothing need be read for the client any more, as {@linkcode isClosed} says */
  checkOpen(): void {
    if (!this.isClosed) return;
    throw new ApiError(
      "overloaded",
      "Cannot read missed messages: the client has disconnected; connect again",
    );
  }

  /** Holds a read, too. Does nothing if the hold was released already. */
  add(read: HeldRead): void {
    if (this.#isReleased || this.reads.has(read)) return;
    this.reads.add(read);
    this.#memory.retain(this, read);
  }

  /** Holds a read no longer, because its messages are of no use to the client. */
  remove(read: HeldRead): void {
    if (this.reads.delete(read)) this.#memory.release(this, read);
  }

  /** Records that the client is about to be sent the messages. */
  start(subscriber: Subscriber, messages: readonly Entry[]): void {
    if (this.#isReleased) return;
    this.subscriber = subscriber;
    this.#messages = messages;
    this.ringMark = this.#memory.droppedBytes;
    this.#startedAt = this.#sentAt = this.#memory.servedMs;
    this.#memory.watch(this);
  }

  progressed(): void {
    this.#sentAt = this.#memory.servedMs;
  }

  finished(): void {
    this.release();
  }

  /** Returns whether the client has not been sent anything for `stalledMs`, or not everything after `slowMs`. */
  isSlow(stalledMs: number, slowMs: number): boolean {
    const now = this.#memory.servedMs;
    return this.subscriber !== undefined &&
      (now - this.#sentAt >= stalledMs || now - this.#startedAt >= slowMs);
  }

  /** Ends the hold: the client does not need the messages any more. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#messages = [];
    this.#memory.unwatch(this);
    for (const read of this.reads) this.remove(read);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
