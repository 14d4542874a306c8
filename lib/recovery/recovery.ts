/**
 * Recovery: what a client missed, whole and in order, or the reason why not.
 *
 * It takes two steps. {@linkcode Recovery.prepare} waits for whatever has to be read, the same read for all who need
 * it. {@linkcode Recovery.collect} then answers from memory alone, in the same synchronous step in which the client is
 * joined: nothing that is delivered meanwhile can fall between, or come twice.
 *
 * @module
 */
import { pause } from "../util/deadline.ts";
import { ApiError } from "../errors.ts";
import type { GapReason } from "../log/gaps.ts";
import type { Entry, History, Log, LogParts } from "../log/log.ts";
import { parseRoom } from "../log/message.ts";
import {
  compareIds,
  formatPosition,
  ID_ZERO,
  idBefore,
  idOf,
  parsePosition,
} from "../log/position.ts";
import type { Ring } from "../delivery/ring.ts";

/** What a client wants of a room: what came after a position, the newest few, or just what is to come. */
export interface JoinRequest {
  readonly room: string;
  /** Null: something was sent that is no position. */
  readonly since?:
    | { readonly epoch: string | undefined; readonly id: string }
    | null
    | undefined;
  readonly last?: number | undefined;
  /** A gap that it was told of before, and may never have heard of. */
  readonly gap?: GapReason | undefined;
}

type Position = NonNullable<JoinRequest["since"]>;

/** A wish for which everything that has to be read has been read. */
export interface PreparedJoin {
  readonly wish: JoinRequest;
  /** Why it cannot be had; with `ingress`, all but what nobody heard can. */
  readonly reason?: GapReason;
  /** Messages that came before the ring's. */
  readonly prefix: readonly Entry[];
  /** The ring goes on after this id; undefined: nothing is to be given. */
  readonly from?: string;
  readonly epoch: string;
}

/** What became of a wish, at the moment of joining. */
export interface JoinResult {
  readonly room: string;
  /** Whether nothing is missing since the position that was named. */
  readonly recovered: boolean;
  readonly reason?: GapReason;
  readonly messages: readonly Entry[];
  /** What it is given begins after this id; undefined: with what comes next. */
  readonly from?: string | undefined;
}

/** Whether nothing of a wish can be had. With `ingress` all is that was heard, and the hole is found again. */
export function isGap(
  found: JoinResult,
): found is JoinResult & { readonly reason: GapReason } {
  return found.reason !== undefined && found.from === undefined;
}

/** How long a client that is ahead of this node waits for it to catch up. */
const BEHIND_TIMEOUT_MS = 3000;
/** How long a client waits until it is known that the log is the one it knows. */
const CONFIRM_TIMEOUT_MS = 3000;
/** How often a read is begun anew because the ring has moved on. */
const ATTEMPTS_MAX = 3;
const NEVER = new AbortController().signal;
/** How long first askers wait for others, so that one read serves them all. */
const COALESCE_MS = 10;
/** How long what was read stays good for those who come a little later. */
const KEEP_MS = 2000;
/** Reads of histories at a time; others wait their turn. */
const READS_MAX = 4;
/** Messages of one page, and pages of one read: beyond, what was missed counts as trimmed. */
const PAGE_LIMIT = 1000;
const PAGES_MAX = 64;

/** What was read of a room: all that came after `since`, up to `end`. */
interface Read {
  readonly entries: readonly Entry[];
  /** Undefined: it was too much, or the log is another; nothing can be had. */
  readonly since: string | undefined;
  readonly end: string;
}

/** A read that several share. */
interface SharedRead {
  /** Where it begins; moves back while it is open. */
  from: string;
  open: boolean;
  readonly read: Promise<Read>;
}

/** Answers what clients missed, from the ring and, for what is older, from the rooms' histories. */
export class Recovery {
  readonly #log: Log;
  readonly #history: History;
  readonly #gaps: LogParts["gaps"];
  readonly #ring: Ring;
  readonly #tapes = new Map<string, SharedRead>();
  /** What was looked for in the log lately; bounded by the clients that are on their way in. */
  readonly #looked = new Map<string, Promise<boolean>>();
  readonly #turns: (() => void)[] = [];
  #reading = 0;

  /** Reads histories for what `ring` no longer holds. */
  constructor({ log, history, gaps }: LogParts, ring: Ring) {
    this.#log = log;
    this.#history = history;
    this.#gaps = gaps;
    this.#ring = ring;
  }

  /**
   * Makes sure that a wish can be answered from memory, or finds out why it cannot be.
   *
   * @throws {ApiError} `log_…` where the log cannot say at the moment: the client is to come again
   */
  async prepare(wish: JoinRequest): Promise<PreparedJoin> {
    const { epoch } = this.#log.head;
    if (wish.gap !== undefined) {
      return { wish, reason: wish.gap, prefix: [], epoch };
    }
    if (wish.since === null) {
      return { wish, reason: "position", prefix: [], epoch };
    }
    if (wish.since !== undefined) {
      return await this.#prepareSince(wish, wish.since, epoch);
    }
    if (wish.last !== undefined && wish.last > 0) {
      return await this.#prepareLast(wish, wish.last, epoch);
    }
    return { wish, prefix: [], epoch };
  }

  /**
   * Answers wishes from memory. Undefined where the ring has moved on so far meanwhile that it has to be prepared
   * again. What it answers holds only for this very moment: deliver it and join before anything else.
   */
  collect(prepared: readonly PreparedJoin[]): JoinResult[] | undefined {
    const { epoch } = this.#log.head;
    const collected: JoinResult[] = [];
    for (const { wish, reason, prefix, from, epoch: was } of prepared) {
      const { room, since } = wish;
      if (from === undefined) {
        collected.push({
          room,
          recovered: false,
          ...(reason && { reason }),
          messages: [],
        });
      } else if (was !== epoch) {
        collected.push({
          room,
          recovered: false,
          reason: "epoch",
          messages: [],
        });
      } else if (!this.#ring.covers(from)) return undefined;
      else {
        const recent = this.#ring.after(room, from);
        const messages = prefix.length === 0 ? recent : [...prefix, ...recent];
        const wanted = since ? messages : messages.slice(-(wish.last ?? 0));
        const [first] = wanted;
        const hole = this.#hasHole(wish);
        collected.push({
          room,
          recovered: since !== undefined && !hole,
          ...(hole && { reason: "ingress" }),
          messages: wanted,
          from: since?.id ?? (first && idBefore(first.id)),
        });
      }
    }
    return collected;
  }

  /** The position of this moment: what is delivered next comes after it. */
  get position(): string {
    const { epoch, id } = this.#log.head;
    return formatPosition(epoch, id);
  }

  /** Whether something was published on Redis since that nobody heard: all that was heard can be given all the same. */
  #hasHole({ room, since }: JoinRequest): boolean {
    return since ? this.#gaps.within(room, since.id, this.#log.head.id) : false;
  }

  async #prepareSince(
    wish: JoinRequest,
    since: Position,
    epoch: string,
  ): Promise<PreparedJoin> {
    const refused = (reason: GapReason): PreparedJoin => ({
      wish,
      reason,
      prefix: [],
      epoch,
    });
    const ofAnother = compareIds(since.id, this.#log.head.began) < 0;
    if (ofAnother || (since.epoch !== undefined && since.epoch !== epoch)) {
      return refused("epoch");
    }
    if (!await this.#caughtUp(since.id)) return refused("position");
    // An epoch is confirmed as a whole; an id without one is looked for.
    if (since.epoch !== undefined) {
      if (!this.#hasDelivered(since.id)) await this.#confirmed();
    } else if (!await this.isOfThisLog(since.id)) return refused("position");
    if (this.#log.head.epoch !== epoch) return refused("epoch");
    const hole = this.#hasHole(wish) ? { reason: "ingress" as const } : {};
    if (this.#ring.covers(since.id)) {
      return { wish, prefix: [], from: since.id, epoch, ...hole };
    }
    const read = await this.#shared(
      `since ${wish.room}`,
      since.id,
      (from) => this.#readAll(wish.room, from),
    );
    if (this.#log.head.epoch !== epoch) return refused("epoch");
    if (!reachesBack(read, since.id)) return refused("trimmed");
    return {
      wish,
      prefix: read.entries.filter(({ id }) => compareIds(id, since.id) > 0),
      from: read.end,
      epoch,
      ...hole,
    };
  }

  async #prepareLast(
    wish: JoinRequest,
    last: number,
    epoch: string,
  ): Promise<PreparedJoin> {
    const { floor } = this.#ring;
    if (this.#ring.after(wish.room, floor).length >= last) {
      return { wish, prefix: [], from: floor, epoch };
    }
    const { entries, end } = await this.#shared(
      `last ${last} of ${wish.room}`,
      ID_ZERO,
      () => this.#readLast(wish.room, last),
    );
    return { wish, prefix: entries, from: end, epoch };
  }

  /**
   * Waits until this node has delivered up to `id`: the client may come from a node that was ahead. Answers false
   * where the log itself is not that far.
   */
  async #caughtUp(id: string): Promise<boolean> {
    const { head } = this.#log;
    if (await head.reached(id, BEHIND_TIMEOUT_MS)) return true;
    // A log that cannot be reached cannot say that the position is wrong.
    await this.#log.probe();
    return compareIds(id, head.id) <= 0;
  }

  /**
   * Whether an id is one of this log, and not of a branch of it that another master has, or had before Redis failed
   * over. An id that this node has delivered itself needs no look at Redis.
   *
   * @throws {ApiError} if that cannot be said at the moment
   */
  async isOfThisLog(id: string): Promise<boolean> {
    if (this.#hasDelivered(id)) return true;
    await this.#confirmed();
    let looked = this.#looked.get(id);
    if (looked === undefined) {
      looked = this.#inTurn(() => this.#log.contains(id));
      this.#looked.set(id, looked);
      const forget = (): void => void this.#looked.delete(id);
      // Those who come back together mostly come from the same place.
      looked.then(() => void setTimeout(forget, KEEP_MS), forget);
    }
    return await looked;
  }

  /** Whether this node has delivered what has this id: then a client that has it shares what the others here have. */
  #hasDelivered(id: string): boolean {
    return this.#ring.has(id) || this.#log.knows(id);
  }

  /** Waits until it is known that the log is the one that clients know. @throws {ApiError} if it takes too long */
  async #confirmed(): Promise<void> {
    if (await this.#log.head.whenConfirmed(CONFIRM_TIMEOUT_MS)) return;
    throw new ApiError(
      "log_unreachable",
      "Cannot recover: not all nodes have confirmed that Redis still has every message; connect again later",
    );
  }

  /**
   * Reads once for all who ask for the same at about the same time: the first waits a little for the others, and the
   * one who needs most decides from where. The ring joins on to what it answers, if that reaches back to `from`.
   */
  async #shared(
    key: string,
    from: string,
    read: (from: string) => Promise<Read>,
  ): Promise<Read> {
    for (let tries = 0; tries < ATTEMPTS_MAX; tries++) {
      let tape = this.#tapes.get(key);
      if (
        tape === undefined || (!tape.open && compareIds(from, tape.from) < 0)
      ) tape = this.#record(key, from, read);
      else if (compareIds(from, tape.from) < 0) tape.from = from;
      const result = await tape.read;
      if (!reachesBack(result, from)) {
        // Too far for the one who needs most is not too far for all.
        const own = result.since !== undefined || tape.from === from;
        if (own) return result;
      } else if (
        // Delivered twice is what came between, if this node is not that far yet.
        await this.#caughtUp(result.end) && this.#ring.covers(result.end)
      ) return result;
      if (this.#tapes.get(key) === tape) this.#tapes.delete(key);
    }
    throw new ApiError(
      "overloaded",
      "Cannot recover: messages come faster than they can be read; connect again later",
    );
  }

  #record(
    key: string,
    from: string,
    read: (from: string) => Promise<Read>,
  ): SharedRead {
    const gathered = pause(COALESCE_MS, NEVER).then(() =>
      this.#inTurn(() => {
        tape.open = false;
        return read(tape.from);
      })
    );
    const tape: SharedRead = { from, open: true, read: gathered };
    this.#tapes.set(key, tape);
    const forget = (): void => {
      if (this.#tapes.get(key) === tape) this.#tapes.delete(key);
    };
    gathered.then(() => void setTimeout(forget, KEEP_MS), forget);
    return tape;
  }

  /** Reads pages back from the newest until there are `last`, or no more that are kept. */
  async #readLast(room: string, last: number): Promise<Read> {
    const entries: Entry[] = [];
    let end: string | undefined, more = true;
    for (let pages = 0; more && pages < PAGES_MAX; pages++) {
      const oldest = entries.at(-1);
      const page = await this.#history.read(room, {
        since: oldest && { epoch: this.#log.head.epoch, id: oldest.id },
        order: "desc",
        limit: last - entries.length,
      });
      entries.push(...page.messages);
      end ??= idOf(page.position);
      more = page.more && page.messages.length > 0 && entries.length < last;
    }
    return {
      entries: entries.toReversed(),
      since: ID_ZERO,
      end: end ?? ID_ZERO,
    };
  }

  /** Reads pages until the ring joins on, from `from` or the oldest message that is kept. */
  async #readAll(room: string, from: string): Promise<Read> {
    const entries: Entry[] = [];
    const { epoch } = this.#log.head;
    let since = from, end = from;
    for (let pages = 0; pages < PAGES_MAX; pages++) {
      const page = await this.#history.read(room, {
        since: { epoch, id: end },
        order: "asc",
        limit: PAGE_LIMIT,
      });
      if (page.completeSince === undefined) break;
      if (compareIds(end, page.completeSince) < 0) {
        entries.length = 0;
        since = page.completeSince;
      }
      entries.push(...page.messages);
      end = idOf(page.position);
      if (!page.more || this.#ring.covers(end)) return { entries, since, end };
    }
    return { entries: [], since: undefined, end };
  }

  async #inTurn<T>(read: () => Promise<T>): Promise<T> {
    if (this.#reading >= READS_MAX) {
      await new Promise<void>((resolve) => this.#turns.push(resolve));
    } else this.#reading++;
    try {
      return await read();
    } finally {
      const next = this.#turns.shift();
      if (next === undefined) this.#reading--;
      else next();
    }
  }
}

function reachesBack({ since }: Read, id: string): boolean {
  return since !== undefined && compareIds(since, id) <= 0;
}

/**
 * Reads the rooms a client wishes for: names, or `{room, since?, last?}`; the last of those that name one room counts.
 *
 * @throws {ApiError} `invalid_room`, `invalid_parameter`
 */
export function parseJoinRequest(wish: unknown): JoinRequest {
  if (typeof wish !== "object" || wish === null) {
    return { room: parseRoom(wish) };
  }
  const { room, since, last } = wish as Record<string, unknown>;
  if (
    last !== undefined &&
    !(Number.isInteger(last) && Number(last) >= 0 && Number(last) <= PAGE_LIMIT)
  ) {
    throw new ApiError(
      "invalid_parameter",
      `Cannot join: "last" is not a number from 0 to ${PAGE_LIMIT}; send one`,
    );
  }
  return {
    room: parseRoom(room),
    since: since === undefined || since === null
      ? undefined
      : readPosition(since),
    last: last as number | undefined,
  };
}

/** A position or an id; null where it is neither. */
export function readPosition(since: unknown): Position | null {
  try {
    return parsePosition(since);
  } catch {
    return null;
  }
}
