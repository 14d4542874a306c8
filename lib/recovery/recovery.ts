/**
 * Recovery: finds every message that a client missed, in order, or the reason why these messages are not available.
 *
 * Recovery takes two steps. {@linkcode Recovery.prepare} is asynchronous and reads the messages that are no longer in
 * memory. {@linkcode Recovery.collect} then adds the newest messages from memory. The caller sends the result and joins
 * the client to its rooms in the same synchronous step, so that no message is lost or sent twice.
 *
 * @module
 */
import type { Ring } from "../delivery/ring.ts";
import { ApiError } from "../errors.ts";
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
import { reachesBack, readAfter, readNewest } from "./history_pages.ts";
import type { JoinRequest, Position } from "./join_request.ts";
import { SharedReads } from "./shared_reads.ts";

/** How long a client waits for its node to deliver the messages up to the client's position, in ms. */
const BEHIND_TIMEOUT_MS = 3000;
/** How long a client waits until all nodes have confirmed that Redis still has every message of the log, in ms. */
const CONFIRM_TIMEOUT_MS = 3000;
/** Maximum number of reads of the log at a time. Further reads wait. */
const READS_MAX = 4;
/** How long a node remembers whether the log contains an id, in ms, because other clients may name the same id. */
const LOOKUP_KEEP_MS = 2000;

/** A request together with the messages that were read for it. */
export interface PreparedJoin {
  readonly request: JoinRequest;
  /**
   * The reason why messages are missing; undefined if none are missing. With the reason `ingress`, messages of a Redis
   * channel may never have reached the log; messages that reached the log can be replayed.
   */
  readonly reason?: GapReason;
  /** The messages up to `from`, which were read from the room's history. */
  readonly prefix: readonly Entry[];
  /** Messages after this id are taken from the ring. Undefined if no message is replayed. */
  readonly from?: string;
  /** The log's epoch when the request was prepared. */
  readonly epoch: string;
}

/** The messages that a client gets when it joins a room, and the reason if some are missing. */
export interface JoinResult {
  readonly room: string;
  /** Whether the client named a position and gets every message after it. */
  readonly recovered: boolean;
  /** The reason why messages are missing; undefined if none are missing. */
  readonly reason?: GapReason;
  /** The messages to replay, oldest first. */
  readonly messages: readonly Entry[];
  /**
   * The id just before the first of `messages`, or the id that the client named. Undefined if no earlier message is
   * sent.
   */
  readonly from?: string | undefined;
}

/**
 * Returns whether a join has a gap and no messages. A join with the reason `ingress` does not count: every message that
 * reached the log is replayed, and the gap is found again in the log whenever the client reconnects.
 */
export function isGap(
  result: JoinResult,
): result is JoinResult & { readonly reason: GapReason } {
  return result.reason !== undefined && result.from === undefined;
}

/** Finds the messages that clients missed, in the ring or, if they are older, in the histories of their rooms. */
export class Recovery {
  readonly #log: LogParts["log"];
  readonly #history: LogParts["history"];
  readonly #gaps: LogParts["gaps"];
  readonly #ring: Ring;
  readonly #limit = new Limit(READS_MAX);
  readonly #reads: SharedReads;
  /**
   * Whether the log contains the ids that clients have named recently. Clients that reconnect together mostly name the
   * same id.
   */
  readonly #lookups = new ExpiringMap<string, Promise<boolean>>(LOOKUP_KEEP_MS);

  /** Creates a recovery that takes messages from `ring` and reads older messages from the histories of the rooms. */
  constructor({ log, history, gaps }: LogParts, ring: Ring) {
    this.#log = log;
    this.#history = history;
    this.#gaps = gaps;
    this.#ring = ring;
    this.#reads = new SharedReads(
      this.#limit,
      // If this node has not delivered the messages up to `end` yet, they would be sent twice.
      async (end) => await this.#caughtUp(end) && ring.covers(end),
    );
  }

  /** The log's current position. All future messages come after it. */
  get position(): string {
    const { epoch, id } = this.#log.head;
    return formatPosition(epoch, id);
  }

  /**
   * Reads the messages for a request, or determines why these messages are not available.
   *
   * @throws {ApiError} `log_…`, `overloaded` if the messages cannot be read at the moment, so that the client has to
   * try again later
   */
  async prepare(request: JoinRequest): Promise<PreparedJoin> {
    const { gap, since, last = 0 } = request;
    const { epoch } = this.#log.head;
    if (gap !== undefined) return refuse(request, gap, epoch);
    if (since === null) return refuse(request, "position", epoch);
    if (since !== undefined) {
      return await this.#prepareSince(request, since, epoch);
    }
    if (last > 0) return await this.#prepareLast(request, last, epoch);
    return { request, prefix: [], epoch };
  }

  /**
   * Returns the results of prepared requests, with the newest messages from memory. The results are valid only in the
   * current synchronous step: send them and join the client to its rooms before other code runs.
   *
   * @returns `undefined` if the ring has dropped messages that a request needs. Prepare the requests again in that
   * case.
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
   * Resolves to whether the log contains the message with this id. Resolves to `false` if only another Redis master has
   * the id, or if it was lost when Redis failed over. Asks Redis only if this node has not delivered that message
   * itself.
   *
   * @throws {ApiError} `log_…` if Redis cannot be asked at the moment
   */
  async isOfThisLog(id: string): Promise<boolean> {
    if (this.#hasDelivered(id)) return true;
    await this.#confirmed();
    let lookup = this.#lookups.get(id);
    if (lookup === undefined) {
      lookup = this.#limit.run(() => this.#log.contains(id));
      this.#lookups.set(id, lookup, lookup);
    }
    return await lookup;
  }

  /** Clears all timers of the recovery. */
  close(): void {
    this.#reads.close();
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
  ): Promise<PreparedJoin> {
    const refusal = await this.#refusalOf(since, epoch);
    if (refusal !== undefined) return refuse(request, refusal, epoch);
    const found = this.#hasIngressGap(request)
      ? { request, epoch, reason: "ingress" } as const
      : { request, epoch };
    if (this.#ring.covers(since.id)) {
      return { ...found, prefix: [], from: since.id };
    }
    const { room } = request;
    const read = await this.#reads.read(
      `since ${room}`,
      since.id,
      (from) => this.#readAfter(room, from),
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
   * Resolves to the reason why messages cannot be replayed from a position; undefined if they can. `current` is the
   * log's epoch.
   */
  async #refusalOf(
    { epoch, id }: Position,
    current: string,
  ): Promise<GapReason | undefined> {
    if (compareIds(id, this.#log.head.began) < 0) return "epoch";
    if (epoch !== undefined && epoch !== current) return "epoch";
    if (!await this.#caughtUp(id)) return "position";
    // If all nodes have confirmed the current epoch, every id of this epoch is valid. An id without an epoch may be of
    // another epoch, so it has to be looked up.
    if (epoch !== undefined) {
      if (!this.#hasDelivered(id)) await this.#confirmed();
    } else if (!await this.isOfThisLog(id)) return "position";
    return this.#log.head.epoch === current ? undefined : "epoch";
  }

  async #prepareLast(
    request: JoinRequest,
    last: number,
    epoch: string,
  ): Promise<PreparedJoin> {
    const { room } = request;
    const { floor } = this.#ring;
    if (this.#ring.after(room, floor).length >= last) {
      return { request, prefix: [], from: floor, epoch };
    }
    const { entries, end } = await this.#reads.read(
      `last ${last} of ${room}`,
      ID_ZERO,
      () => readNewest(this.#history, this.#log.head.epoch, room, last),
    );
    return { request, prefix: entries, from: end, epoch };
  }

  #readAfter(room: string, from: string): ReturnType<typeof readAfter> {
    const { epoch } = this.#log.head;
    const isContinued = (end: string): boolean => this.#ring.covers(end);
    return readAfter(this.#history, epoch, room, from, isContinued);
  }

  /**
   * Waits until this node has delivered every message up to `id`, because another node may have delivered that message
   * before this node. Resolves to `false` if the log ends before `id`.
   */
  async #caughtUp(id: string): Promise<boolean> {
    const { head } = this.#log;
    if (await head.reached(id, BEHIND_TIMEOUT_MS)) return true;
    // If the log cannot be reached, it is not known whether the position is wrong. `probe()` then rejects.
    await this.#log.probe();
    return compareIds(id, head.id) <= 0;
  }

  /**
   * Returns whether this node has delivered the message with this id. If it has, the client that named the id has
   * received messages of the same log.
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

function refuse(
  request: JoinRequest,
  reason: GapReason,
  epoch: string,
): PreparedJoin {
  return { request, reason, prefix: [], epoch };
}

/** Returns the result of a request for which no message is replayed. */
function nothing(room: string, reason: GapReason | undefined): JoinResult {
  return { room, recovered: false, ...(reason && { reason }), messages: [] };
}

function newest(messages: readonly Entry[], count: number): readonly Entry[] {
  return count === 0 ? [] : messages.slice(-count);
}
