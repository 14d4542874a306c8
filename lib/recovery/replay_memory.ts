/**
 * Limits the memory of the messages that were read from histories for clients that connect or join.
 *
 * A read of a history is in memory once, however many clients need its messages. It counts while it runs, while it is
 * kept for further clients, and as long as a client that needs it has not been sent all of its messages. A client that
 * asks for a history and does not read would otherwise keep that history in memory until its connection is closed
 * (`docs/decisions/0029-replay-memory.md`).
 *
 * @module
 */
import { entryBytes, type Ring } from "../delivery/ring.ts";
import type { Subscriber } from "../delivery/subscriber.ts";
import { ApiError } from "../errors.ts";
import type { Entry, History } from "../log/log.ts";
import type { Observe } from "../observer.ts";
import { type HeldBytes, HeldRead, ReplayHold } from "./replay_hold.ts";
import { REPLAY_LIMITS, type ReplayLimits } from "./replay_limits.ts";

/** The parts of a node that {@linkcode ReplayMemory} uses. */
export interface ReplayMemoryOptions {
  readonly ring: Pick<Ring, "droppedBytes">;
  /** Disconnects a client that reads too slowly, for which `bytes` bytes are in memory. Must not throw. */
  readonly disconnect: (subscriber: Subscriber, bytes: number) => void;
  readonly observe: Observe;
  readonly limits?: Partial<ReplayLimits>;
}

/** A read that waits before its next page. */
interface Waiting {
  readonly read: HeldRead;
  readonly resolve: () => void;
  readonly reject: (error: ApiError) => void;
}

/**
 * Counts the bytes of all reads that are in memory.
 *
 * Limits: at most `bytesMax` bytes, one more read, and one page of each other running read. At the limit, reads wait,
 * and the clients that hold up the others are disconnected as slow; they reconnect and get the rest. A read that has
 * waited for too long fails as `overloaded`, after which its clients try again.
 *
 * Lifetime: a timer runs while clients hold memory or reads wait. Call `close()` to stop it.
 */
export class ReplayMemory implements HeldBytes {
  readonly #options: ReplayMemoryOptions;
  readonly #limits: ReplayLimits;
  readonly #holds = new Set<ReplayHold>();
  #waiting: Waiting[] = [];
  #bytes = 0;
  /**
   * Time in ms, in steps of `checkMs`. A time in which the node was too busy for its checks does not count, because no
   * client could be sent anything then.
   */
  #servedMs = 0;
  /** Like `#servedMs`, but only the time in which reads have waited for memory. */
  #waitedMs = 0;
  /** The only read that may read further pages than its first; undefined if there is none. */
  #long: HeldRead | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;
  /** Deletes finished reads that no client needs, until fewer than `bytesMax` bytes are held. */
  onFull: (isFull: () => boolean) => void = () => {};

  /** Starts without reads. */
  constructor(options: ReplayMemoryOptions) {
    this.#options = options;
    this.#limits = { ...REPLAY_LIMITS, ...options.limits };
  }

  /** Memory of the messages that were read from histories for clients, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Returns what holds the memory of one client's messages. Call its `release()` when the messages are not needed any
   * more. It is released by itself when `isOpen` returns that the client's connection is closed.
   */
  hold(isOpen: () => boolean): ReplayHold {
    return new ReplayHold(this, isOpen);
  }

  /** Counts a read that is about to begin. It counts until {@linkcode ReplayMemory.end}, or longer if it is held. */
  begin(): HeldRead {
    return new HeldRead(this.#waitedMs + this.#limits.waitMs);
  }

  /**
   * Waits until a read may read its next page.
   *
   * @throws {ApiError} `overloaded` if there is no memory for the read
   */
  async admit(read: HeldRead): Promise<void> {
    if (this.#mayContinue(read)) return this.#continue(read);
    this.onFull(() => this.#isFull);
    if (this.#mayContinue(read)) return this.#continue(read);
    if (this.#isClosed || this.#mayNotWait(read)) throw this.#refusal();
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ read, resolve, reject });
      this.#startTimer();
    });
  }

  /** Returns a history whose pages count for a read, and which waits before each page until there is memory for it. */
  meter(history: Pick<History, "read">, read: HeldRead): Pick<History, "read"> {
    return {
      read: async (room, range) => {
        await this.admit(read);
        const page = await history.read(room, range);
        this.#grow(read, page.messages);
        return page;
      },
    };
  }

  /** Records that a read has ended. */
  end(read: HeldRead): void {
    if (this.#long === read) this.#long = undefined;
    this.#change(read, () => read.isRunning = false);
    // Another read may read further pages now.
    this.#resume();
  }

  /** Records that a read is no longer kept for further clients. */
  drop(read: HeldRead): void {
    this.#change(read, () => read.isKept = false);
  }

  retain(hold: ReplayHold, read: HeldRead): void {
    this.watch(hold);
    this.#change(read, () => read.holds.add(hold));
  }

  release(hold: ReplayHold, read: HeldRead): void {
    this.#change(read, () => read.holds.delete(hold));
    if (this.#waiting.length > 0) this.onFull(() => this.#isFull);
  }

  watch(hold: ReplayHold): void {
    this.#holds.add(hold);
    this.#startTimer();
  }

  unwatch(hold: ReplayHold): void {
    this.#holds.delete(hold);
  }

  /**
   * Returns whether one client holds so much that waiting for memory may never help it: at least half of `bytesMax`.
   */
  isFilledBy(hold: ReplayHold): boolean {
    return 2 * hold.bytes >= this.#limits.bytesMax;
  }

  get servedMs(): number {
    return this.#servedMs;
  }

  get droppedBytes(): number {
    return this.#options.ring.droppedBytes;
  }

  /** Stops the timer, and fails all reads that wait. */
  close(): void {
    this.#isClosed = true;
    this.#stopTimer();
    for (const { reject } of this.#waiting.splice(0)) reject(overloaded());
  }

  get #isFull(): boolean {
    return this.#bytes >= this.#limits.bytesMax;
  }

  /**
   * Returns whether a read may read its next page. If nothing else is held, it may always do so. Only one read at a time
   * may have more than one page, because two half-finished reads could otherwise wait for each other.
   */
  #mayContinue(read: HeldRead): boolean {
    if (read === this.#long) return true;
    if (read.bytes > 0 && this.#long !== undefined) return false;
    return !this.#isFull || this.#bytes === read.bytes;
  }

  #continue(read: HeldRead): void {
    if (read.bytes > 0) this.#long = read;
  }

  #grow(read: HeldRead, messages: readonly Entry[]): void {
    const bytes = messages.reduce((sum, entry) => sum + entryBytes(entry), 0);
    read.bytes += bytes;
    if (read.isHeld) this.#bytes += bytes;
  }

  /** Changes what holds a read, and counts its bytes or no longer does. */
  #change(read: HeldRead, change: () => void): void {
    const wasHeld = read.isHeld;
    change();
    if (read.isHeld === wasHeld) return;
    this.#bytes += wasHeld ? -read.bytes : read.bytes;
    if (wasHeld) this.#resume();
  }

  /** Lets those waiting reads continue that may do so, in the order in which they have begun to wait. */
  #resume(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) {
      if (this.#mayContinue(one.read)) {
        this.#continue(one.read);
        one.resolve();
      } else this.#waiting.push(one);
    }
  }

  #check(): void {
    const { checkMs } = this.#limits;
    this.#servedMs += checkMs;
    for (const hold of this.#holds) {
      if (hold.isClosed) hold.release();
      else if (this.#isBehindRing(hold)) this.#disconnect(hold);
    }
    if (this.#waiting.length > 0 && this.#isFull) {
      this.#waitedMs += checkMs;
      this.#makeRoom();
      this.#refuseExpired();
    }
    if (this.#holds.size + this.#waiting.length > 0) this.#startTimer();
    else this.#stopTimer();
  }

  /** Returns whether a read has waited for memory long enough. A wait only for its turn does not count. */
  #mayNotWait(read: HeldRead): boolean {
    return this.#isFull && this.#waitedMs >= read.waitsUntil;
  }

  #refuseExpired(): void {
    const isExpired = ({ read }: Waiting) => this.#mayNotWait(read);
    const expired = this.#waiting.filter(isExpired);
    this.#waiting = this.#waiting.filter((one) => !isExpired(one));
    for (const { reject } of expired) reject(this.#refusal());
  }

  #startTimer(): void {
    if (this.#isClosed) return;
    this.#timer ??= setInterval(() => this.#check(), this.#limits.checkMs);
  }

  #stopTimer(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /**
   * Returns whether the ring has dropped so many messages since a replay began that the replay may keep too many. A small
   * replay never does, as small as what may be buffered for any client.
   */
  #isBehindRing(hold: ReplayHold): boolean {
    const { ringMark } = hold;
    const { bytesMax, smallBytes } = this.#limits;
    if (ringMark === undefined) return false;
    if (this.droppedBytes - ringMark <= bytesMax) return false;
    if (hold.messageBytes > smallBytes) return true;
    hold.ringMark = undefined;
    return false;
  }

  /**
   * Disconnects clients that read too slowly, until there is room. Only reads that no other client needs become free,
   * so others are left alone. Those reads come first for which fewest clients have to be disconnected.
   */
  #makeRoom(): void {
    const { stalledMs, slowMs } = this.#limits;
    const reads = new Set([...this.#holds].flatMap(({ reads }) => [...reads]));
    const perClient = ({ bytes, holds }: HeldRead) => bytes / holds.size;
    const blocking = [...reads].filter(({ holds }) =>
      [...holds].every((hold) => hold.isSlow(stalledMs, slowMs))
    ).sort((a, b) => perClient(b) - perClient(a));
    for (const { holds } of blocking) {
      if (!this.#isFull) return;
      for (const hold of [...holds]) this.#disconnect(hold);
    }
  }

  #disconnect(hold: ReplayHold): void {
    const { subscriber, bytes } = hold;
    hold.release();
    if (subscriber !== undefined) this.#options.disconnect(subscriber, bytes);
  }

  #refusal(): ApiError {
    this.#options.observe({ kind: "limited", limit: "replay_bytes" });
    return overloaded();
  }
}

function overloaded(): ApiError {
  return new ApiError(
    "overloaded",
    "Cannot read missed messages: this node already holds too many messages for clients that read slowly; try again later",
  );
}
