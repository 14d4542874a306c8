/**
 * Recovery: finds every message that a client missed, or the reason why these messages are not available.
 *
 * Recovery takes two steps. {@linkcode Recovery.prepare} is asynchronous and reads the messages that are no longer in
 * memory. {@linkcode Recovery.collect} then adds the newest messages from memory. The caller then sends the result and
 * joins the client to its rooms in the same synchronous step, so that no message is lost or sent twice.
 *
 * @module
 */
import type { Ring } from "../delivery/ring.ts";
import { ApiError, toApiError } from "../errors.ts";
import type { GapReason } from "../log/gaps.ts";
import type { Entry, LogParts } from "../log/log.ts";
import {
  compareIds,
  formatPosition,
  ID_ZERO,
  idBefore,
} from "../log/position.ts";
import { ExpiringMap } from "../util/expiring_map.ts";
import { Limit } from "../util/turns.ts";
import {
  countToRead,
  reachesBack,
  readAfter,
  readNewest,
} from "./history_pages.ts";
import type { JoinRequest, Position } from "./join_request.ts";
import {
  type JoinResult,
  nothing,
  type PreparedJoin,
  refuse,
} from "./join_result.ts";
import type { ReplayHold } from "./replay_hold.ts";
import type { ReplayMemory } from "./replay_memory.ts";
import { SharedReads } from "./shared_reads.ts";

/** How long a request waits until this node has delivered the messages up to the client's position, in ms. */
const BEHIND_TIMEOUT_MS = 3000;
/** How long a request waits until all nodes have confirmed that Redis still has every message, in ms. */
const CONFIRM_TIMEOUT_MS = 3000;
/** Maximum number of reads of histories at a time, and of look-ups of ids. Further ones wait. */
const READS_MAX = 4;
/**
 * How long a node remembers whether the log contains an id, in ms. Clients that reconnect together often name the same
 * id.
 */
const LOOKUP_KEEP_MS = 2000;

/**
 * Resolves to whether the log contains an id; to undefined if the client that asked first was gone when its turn came, so
 * that the id was not looked up.
 */
type Lookup = Promise<boolean | undefined>;

/** Finds the messages that clients missed, in the ring or, if they are older, in the histories of their rooms. */
export class Recovery {
  readonly #log: LogParts["log"];
  readonly #gaps: LogParts["gaps"];
  readonly #ring: Ring;
  readonly #memory: ReplayMemory;
  readonly #reads: SharedReads;
  readonly #lookupLimit = new Limit(READS_MAX);
  /**
   * For each id that clients have named recently, whether the log contains the id. Clients that reconnect together
   * mostly name the same id.
   */
  readonly #lookups = new ExpiringMap<string, Lookup>(LOOKUP_KEEP_MS);

  /**
   * Stores the parts of the log and the ring, from which missed messages are taken, and the memory in which those of
   * histories are counted. Call `close()` to clear the timers.
   */
  constructor(
    { log, history, gaps }: LogParts,
    ring: Ring,
    memory: ReplayMemory,
  ) {
    this.#log = log;
    this.#gaps = gaps;
    this.#ring = ring;
    this.#memory = memory;
    this.#reads = new SharedReads({
      history,
      limit: new Limit(READS_MAX),
      memory,
      // If this node has not delivered the messages up to `end` yet, the client would receive them again by fan-out.
      isContinued: async (end) => await this.#caughtUp(end) && ring.covers(end),
    });
  }

  /** Returns what holds the messages of one client, as {@linkcode ReplayMemory.hold} does. */
  hold(isOpen: () => boolean): ReplayHold {
    return this.#memory.hold(isOpen);
  }

  /**
   * The position up to which this node has delivered messages. All messages that it delivers later come after this
   * position.
   */
  get position(): string {
    const { epoch, id } = this.#log.head;
    return formatPosition(epoch, id);
  }

  /**
   * Reads those messages for a request that are older than the ring, or determines why these messages are not
   * available. Pass the result to {@linkcode Recovery.collect}. If the client misses more messages in its other rooms than
   * a node can hold, the result has the gap `overloaded`, because another attempt would fail as well.
   *
   * @param hold Holds the messages that are read.
   *
   * @throws {ApiError} A retryable error (`log_…` or `overloaded`) if the messages cannot be read at the moment
   */
  async prepare(
    request: JoinRequest,
    hold: ReplayHold,
  ): Promise<PreparedJoin> {
    const { gap, since, last = 0 } = request;
    const { epoch } = this.#log.head;
    if (gap !== undefined) return refuse(request, gap, epoch);
    if (since === null) return refuse(request, "position", epoch);
    try {
      if (since !== undefined) {
        return await this.#prepareSince(request, since, epoch, hold);
      }
      if (last > 0) return await this.#prepareLast(request, last, epoch, hold);
    } catch (error) {
      const isFull = toApiError(error).code === "overloaded" &&
        this.#memory.isFilledBy(hold);
      if (!isFull) throw error;
      return refuse(request, "overloaded", epoch);
    }
    return { request, prefix: [], epoch };
  }

  /**
   * Completes prepared requests with the newest messages, which the ring holds. The results are valid only in the
   * current synchronous step: send them and join the client to its rooms before other code runs.
   *
   * @returns One result for each request; `undefined` if the ring has dropped messages that a request needs, so that
   * the requests have to be prepared again.
   */
  collect(prepared: readonly PreparedJoin[]): JoinResult[] | undefined {
    const results: JoinResult[] = [];
    for (const one of prepared) {
      const result = this.#collectOne(one);
      if (result === undefined) return undefined;
      results.push(result);
    }
    return results;
  }

  /**
   * Resolves to whether the log contains the message with this id. The log may lack the message because another Redis
   * master has it, or because the message was lost when Redis failed over. Asks Redis only if this node has not
   * delivered the message itself.
   *
   * @param hold The hold of the client. If the client is gone, Redis is not asked.
   * @throws {ApiError} With a code `log_…`, if Redis cannot be asked at the moment; `overloaded` if the client is gone
   */
  async isOfThisLog(id: string, hold: ReplayHold): Promise<boolean> {
    if (this.#hasDelivered(id)) return true;
    await this.#confirmed();
    for (;;) {
      // Clients that name the same id share the look-up also before its turn has come. If it fails, it fails for all of
      // them at once.
      const lookup = this.#lookups.get(id) ?? this.#lookUp(id, hold);
      const isFound = await lookup;
      if (isFound !== undefined) return isFound;
      this.#lookups.delete(id, lookup);
      hold.checkOpen();
    }
  }

  /** Looks up an id for a client, and for all others that name the id until {@linkcode LOOKUP_KEEP_MS} later. */
  #lookUp(id: string, hold: ReplayHold): Lookup {
    const lookup = this.#lookupLimit.run(async () =>
      hold.isClosed ? undefined : await this.#log.contains(id)
    );
    this.#lookups.set(id, lookup, lookup);
    return lookup;
  }

  /** Clears all timers of the recovery. */
  close(): void {
    this.#reads.close();
    this.#memory.close();
    this.#lookups.close();
  }

  #collectOne(prepared: PreparedJoin): JoinResult | undefined {
    const { request, reason, prefix, from, epoch } = prepared;
    const { room, since } = request;
    if (from === undefined) return nothing(room, reason);
    if (epoch !== this.#log.head.epoch) return nothing(room, "epoch");
    if (!this.#ring.covers(from)) return undefined;
    const recent = this.#ring.after(room, from);
    const all = prefix.length === 0 ? recent : [...prefix, ...recent];
    const messages = since ? all : newest(all, request.last ?? 0);
    const [first] = messages;
    const hasGap = this.#hasIngressGap(request);
    return {
      room,
      recovered: since !== undefined && !hasGap,
      ...(hasGap && { reason: "ingress" }),
      messages,
      from: since?.id ?? (first && idBefore(first.id)),
    };
  }

  /** Returns whether messages of Redis channels may be missing after the position that the client named. */
  #hasIngressGap({ room, since }: JoinRequest): boolean {
    return since ? this.#gaps.within(room, since.id, this.#log.head.id) : false;
  }

  async #prepareSince(
    request: JoinRequest,
    since: Position,
    epoch: string,
    hold: ReplayHold,
  ): Promise<PreparedJoin> {
    const refusal = await this.#refusalOf(since, epoch, hold);
    if (refusal !== undefined) return refuse(request, refusal, epoch);
    const found = this.#hasIngressGap(request)
      ? { request, epoch, reason: "ingress" } as const
      : { request, epoch };
    if (this.#ring.covers(since.id)) {
      return { ...found, prefix: [], from: since.id };
    }
    const { room } = request;
    const read = await hold.inTurn(() =>
      this.#reads.read(
        `since ${room}`,
        since.id,
        (from, history) =>
          readAfter(
            history,
            this.#log.head.epoch,
            room,
            from,
            (end) => this.#ring.covers(end),
          ),
        hold,
      )
    );
    if (this.#log.head.epoch !== epoch) return refuse(request, "epoch", epoch);
    if (!reachesBack(read, since.id)) return refuse(request, "trimmed", epoch);
    return {
      ...found,
      prefix: read.entries.filter(({ id }) => compareIds(id, since.id) > 0),
      from: read.end,
    };
  }

  /**
   * Resolves to the reason why the messages after a position cannot be replayed; undefined if they may be replayed.
   * `current` is the log's epoch.
   */
  async #refusalOf(
    { epoch, id }: Position,
    current: string,
    hold: ReplayHold,
  ): Promise<GapReason | undefined> {
    if (compareIds(id, this.#log.head.began) < 0) return "epoch";
    if (epoch !== undefined && epoch !== current) return "epoch";
    if (!await this.#caughtUp(id)) return "position";
    // If all nodes have confirmed the current epoch, every id of this epoch is valid. An id without an epoch may be of
    // another epoch, so it has to be looked up.
    if (epoch !== undefined) {
      if (!this.#hasDelivered(id)) await this.#confirmed();
    } else if (!await hold.inTurn(() => this.isOfThisLog(id, hold))) {
      return "position";
    }
    return this.#log.head.epoch === current ? undefined : "epoch";
  }

  async #prepareLast(
    request: JoinRequest,
    last: number,
    epoch: string,
    hold: ReplayHold,
  ): Promise<PreparedJoin> {
    const { room } = request;
    const { floor } = this.#ring;
    if (this.#ring.after(room, floor).length >= last) {
      return { request, prefix: [], from: floor, epoch };
    }
    const count = countToRead(last);
    const { entries, end } = await hold.inTurn(() =>
      this.#reads.read(
        `last ${count} of ${room}`,
        ID_ZERO,
        (_, history) => readNewest(history, this.#log.head.epoch, room, count),
        hold,
      )
    );
    return { request, prefix: entries, from: end, epoch };
  }

  /**
   * Waits until this node has delivered every message up to `id`, because the client may have received later messages
   * from another node. Resolves to `false` if the log ends before `id`.
   */
  async #caughtUp(id: string): Promise<boolean> {
    const { head } = this.#log;
    if (await head.reached(id, BEHIND_TIMEOUT_MS)) return true;
    // If the log cannot be reached, it is not known whether the position is wrong. `probe()` then rejects.
    await this.#log.probe();
    return compareIds(id, head.id) <= 0;
  }

  /**
   * Returns whether this node has recently delivered the message with this id. If so, the id belongs to the log that
   * this node reads.
   */
  #hasDelivered(id: string): boolean {
    return this.#ring.has(id) || this.#log.knows(id);
  }

  /** Waits until all nodes have confirmed that Redis still has every message of the log. */
  async #confirmed(): Promise<void> {
    if (await this.#log.head.whenConfirmed(CONFIRM_TIMEOUT_MS)) return;
    throw new ApiError(
      "log_unreachable",
      "Cannot read missed messages: not all nodes have confirmed that Redis still has every message; try again later",
    );
  }
}

function newest(messages: readonly Entry[], count: number): readonly Entry[] {
  return count === 0 ? [] : messages.slice(-count);
}
