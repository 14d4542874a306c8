/**
 * The interfaces of the log. All messages enter the log by `append()`, and clients receive them in the log's order.
 *
 * @module
 */
import type { ApiError } from "../errors.ts";
import type { LogHead } from "./head.ts";
import type { EntryMeta, PublishRequest } from "./message.ts";

/** A message that was read from the log. */
export interface Entry {
  /** The message's id, `<milliseconds>-<sequence>`. Ids rise in the order of the log. */
  readonly id: string;
  readonly room: string;
  /** The message as JSON text. */
  readonly json: string;
  /** The properties that the message has in addition to its text; absent if there are none. */
  readonly meta?: EntryMeta;
}

/**
 * The result of a publish in one room: the message's id, or an error. After some errors, such as `log_timeout`, the
 * message may be in the log nevertheless. `duplicate` is true if the log already had the message, because the publish
 * repeats an earlier one with the same idempotency key.
 */
export type PublishResult =
  | { readonly room: string; readonly id: string; readonly duplicate: boolean }
  | { readonly room: string; readonly error: ApiError };

/**
 * Receives the messages and gaps that a node reads from the log. The methods are called one at a time and in the log's
 * order, and must not throw.
 */
export interface LogReader {
  /**
   * Called once, before any other method. `recent` contains all messages that the log already has after the id `floor`.
   */
  started(recent: readonly Entry[], floor: string): void;
  /** Called with new messages, in the log's order. */
  entries(entries: readonly Entry[]): void;
  /**
   * Called if messages of any room may be missing: the log was emptied or lost its newest entries (`epoch`), or entries
   * were trimmed before this node had read them (`trimmed`). Reading continues after the id `id`; `since` is the
   * position up to which this node had read before.
   */
  gap(reason: "epoch" | "trimmed", id: string, since: string): void;
  /** Called if Redis may have lost saved sessions, so that the sessions of connected clients have to be saved again. */
  lineageChanged(): void;
  /**
   * Called if messages of Redis channels may be missing directly before the id `id`, in the rooms for which `concerns`
   * returns `true`. `since` is the position up to which this node had read before.
   */
  ingressGap(
    concerns: (room: string) => boolean,
    id: string,
    since: string,
  ): void;
}

/**
 * Number of characters of JSON at which a page of history ends. The page still contains the message that reaches this
 * number.
 */
export const PAGE_BYTES_MAX = 1 << 20;

/** A page of a room's history. */
export interface Page {
  readonly messages: readonly Entry[];
  /** Whether the requested range has more messages than fit into this page; `false` if the range has the limit 0. */
  readonly more: boolean;
  /**
   * The position up to which the page has read, in the order `asc`: a request with this position as `since` returns the
   * next page. In the order `desc`, and if the range has the limit 0, the position of the log's end.
   */
  readonly position: string;
  /** Whether the page has every message that was published into the room within the range that the page covers. */
  readonly complete: boolean;
  /**
   * An id after which the history has every message of the room; undefined if `since` of the range does not belong to
   * this log.
   */
  readonly completeSince: string | undefined;
}

/** A range of a room's history, and how to read it. */
export interface HistoryRange {
  /**
   * Reading starts with the first message after this id (`asc`) or before it (`desc`). Undefined to start with the
   * oldest kept message (`asc`) or the newest message (`desc`). `epoch` is undefined if the client named only an id.
   */
  readonly since: { epoch: string | undefined; id: string } | undefined;
  readonly order: "asc" | "desc";
  /**
   * Maximum number of messages in the page. With 0, the page has no messages. Its `complete` is then what it would be
   * if the page had all messages of the range.
   */
  readonly limit: number;
}

/**
 * The log, in memory or on Redis. It appends messages, and passes every message that this node reads to a {@linkcode
 * LogReader}.
 */
export interface Log {
  /** The state of the log on this node, with the id up to which the node has delivered messages. */
  readonly head: LogHead;
  /**
   * Appends every publish to each of its rooms, in order. Resolves within a time limit to one list for each publish,
   * which has one result for each of the publish's rooms, in the order of `rooms`. Never rejects: errors are among the
   * results.
   */
  append(publishes: readonly PublishRequest[]): Promise<PublishResult[][]>;
  /**
   * Tests that a publish would now reach the log and that this node would read its message. Rejects with the reason if
   * not.
   */
  probe(): Promise<void>;
  /** Returns whether this node has recently read an entry with this id. Does not access Redis. */
  knows(id: string): boolean;
  /**
   * Resolves to whether the log has an entry or a message with this id, or may have had one and trimmed it. Call this
   * for an id that a client sends without an epoch, because the id may belong to a log that Redis has lost.
   *
   * @throws {ApiError} With a code `log_…`, if the log cannot be read.
   */
  contains(id: string): Promise<boolean>;
  /**
   * Returns a sentence for each known configuration problem that can cause the loss of messages, without duplicates.
   */
  warnings(): readonly string[];
  /** Closes the log. Publishes in flight fail as `draining`. */
  close(): Promise<void>;
}

/** Reads and clears the histories of rooms. */
export interface History {
  /**
   * Reads a page of a room's history.
   *
   * @throws {ApiError} With a code `log_…`, if the log cannot be read.
   */
  read(room: string, range: HistoryRange): Promise<Page>;
  /**
   * Removes all messages from a room's history. Connected clients are not affected.
   *
   * @throws {ApiError} With a code `log_…`, if the log cannot be changed.
   */
  clear(room: string): Promise<void>;
}

/** Knows at which ids of the log messages of Redis channels may be missing. */
export interface Gaps {
  /**
   * Returns whether messages of Redis channels may be missing from a room between the ids `after` (exclusive) and
   * `upTo` (inclusive).
   */
  within(room: string, after: string, upTo: string): boolean;
}

/**
 * A log, its histories and its gaps as separate objects, so that each part of Roomcast gets only the objects that it
 * needs.
 */
export interface LogParts {
  readonly log: Log;
  readonly history: History;
  readonly gaps: Gaps;
}
