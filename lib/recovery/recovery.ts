/**
 * Recovery: finds the messages that a client missed, complete and in order, or the reason why they are not available.
 *
 * It works in two steps. {@linkcode Recovery.prepare} waits for everything that has to be read.
 * {@linkcode Recovery.collect} then uses only memory and runs in the same synchronous step in which the client joins
 * its rooms, so that a message that is delivered meanwhile is neither lost nor sent twice.
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

/** How long a client waits if its node has not delivered up to the client's position yet, in ms. */
const BEHIND_TIMEOUT_MS = 3000;
/** How long a client waits until its node has confirmed that the log is still the same, in ms. */
const CONFIRM_TIMEOUT_MS = 3000;
/** Maximum number of simultaneous reads of the log. Further reads wait. */
const READS_MAX = 4;
/** How long the result of a look-up is reused for other clients, in ms. */
const LOOKUP_KEEP_MS = 2000;

/** A request with everything that was read for it. */
export interface PreparedJoin {
  readonly request: JoinRequest;
  /**
   * The reason why messages are missing; undefined if none are. With `ingress`, everything that reached the log can be
   * replayed.
   */
  readonly reason?: GapReason;
  /** Messages that are older than those in the ring. */
  readonly prefix: readonly Entry[];
  /** The id after which the ring continues. Undefined if no message is replayed. */
  readonly from?: string;
  /** The log's epoch when the request was prepared. */
  readonly epoch: string;
}

/** The messages that a client gets when it joins a room, or the reason why some are missing. */
export interface JoinResult {
  readonly room: string;
  /** Whether no message is missing since the position that the client named. */
  readonly recovered: boolean;
  /** The reason why messages are missing; undefined if none are. */
  readonly reason?: GapReason;
  /** The messages to replay, oldest first. */
  readonly messages: readonly Entry[];
  /** The id after which `messages` begins. Undefined if the client gets only future messages. */
  readonly from?: string | undefined;
}

/**
 * Returns whether no message can be replayed for this room. With the reason `ingress`, every message that reached the
 * log is replayed, and each recovery finds the gap again.
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
  /** Results of recent look-ups of ids. Clients that reconnect together mostly name the same id. */
  readonly #lookups = new ExpiringMap<string, Promise<boolean>>(LOOKUP_KEEP_MS);

  /** Creates a recovery that reads from `ring`, and older messages from the histories. */
  constructor({ log, history, gaps }: LogParts, ring: Ring) {
    this.#log = log;
    this.#history = history;
    this.#gaps = gaps;
    this.#ring = ring;
    this.#reads = new SharedReads(
      this.#limit,
      // If this node's head were still before `end`, the messages in between would be sent twice.
      async (end) => await this.#caughtUp(end) && ring.covers(end),
    );
  }

  /** The current position, after which all future messages come. */
  get position(): string {
    const { epoch, id } = this.#log.head;
    return formatPosition(epoch, id);
  }

  /**
   * Reads the messages for a request, or determines why they are not available.
   *
   * @throws {ApiError} `log_…`, `overloaded` if that cannot be determined at the moment, so that the client has to
   * connect again
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
   * Returns the results of prepared requests, from memory alone. They are valid only in the same synchronous step: send
   * them and join the client before any other code runs.
   *
   * @returns `undefined` if the ring no longer has the messages for a request, which then has to be prepared again.
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
   * Resolves to whether an id belongs to this log. It does not if only another master has it, or had it before Redis
   * failed over. Asks Redis only if this node has not delivered the id itself.
   *
   * @throws {ApiError} `log_…` if that cannot be determined at the moment
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

  /** Clears all timers. */
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

  /** Returns whether messages of Redis channels may be missing since the position that the client named. */
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

  /** Resolves to the reason why a position is not valid in this log; undefined if it is valid. */
  async #refusalOf(
    { epoch, id }: Position,
    current: string,
  ): Promise<GapReason | undefined> {
    if (compareIds(id, this.#log.head.began) < 0) return "epoch";
    if (epoch !== undefined && epoch !== current) return "epoch";
    if (!await this.#caughtUp(id)) return "position";
    // An epoch is confirmed as a whole, so its ids are valid. An id without an epoch has to be looked up.
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
   * Waits until this node has delivered up to `id`, because another node may already have sent later messages to the
   * client. Resolves to `false` if the log itself does not reach that far.
   */
  async #caughtUp(id: string): Promise<boolean> {
    const { head } = this.#log;
    if (await head.reached(id, BEHIND_TIMEOUT_MS)) return true;
    // An unreachable log does not show whether the position is wrong; `probe()` then rejects.
    await this.#log.probe();
    return compareIds(id, head.id) <= 0;
  }

  /**
   * Returns whether this node has delivered this id. If so, a client that has received the id has received a part of
   * the same log.
   */
  #hasDelivered(id: string): boolean {
    return this.#ring.has(id) || this.#log.knows(id);
  }

  /** Waits until this node has confirmed that the log is still the same. */
  async #confirmed(): Promise<void> {
    if (await this.#log.head.whenConfirmed(CONFIRM_TIMEOUT_MS)) return;
    throw new ApiError(
      "log_unreachable",
      "Cannot recover: not all nodes have confirmed that Redis still has every message; connect again later",
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

/** Makes the result of a request for which no message is replayed. */
function nothing(room: string, reason: GapReason | undefined): JoinResult {
  return { room, recovered: false, ...(reason && { reason }), messages: [] };
}

function newest(messages: readonly Entry[], count: number): readonly Entry[] {
  return count === 0 ? [] : messages.slice(-count);
}
