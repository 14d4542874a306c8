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
  /**
   * The properties of the message besides its text. The member is missing, and never `undefined`, if there are none.
   */
  readonly meta?: EntryMeta;
}

/**
 * The result of a publish in one room: the message's id, or the error. With some errors, such as `log_timeout`, the
 * message may be in the log nevertheless. `duplicate`: the message was already in the log under the same idempotency
 * key.
 */
export type PublishResult =
  | { readonly room: string; readonly id: string; readonly duplicate: boolean }
  | { readonly room: string; readonly error: ApiError };

/**
 * Receives what is read from the log. The log calls these methods one at a time and in the log's order; they must not
 * throw.
 */
export interface LogReader {
  /** Called once, before the other methods. `recent` are all messages that the log already has after the id `floor`. */
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
 * Limit of a page of history, in characters of JSON. A page ends with the message that reaches this limit, even if more
 * messages were requested.
 */
export const PAGE_BYTES_MAX = 1 << 20;

/** A page of a room's history. */
export interface Page {
  readonly messages: readonly Entry[];
  /** Whether the requested range has more messages than fit into this page. */
  readonly more: boolean;
  /** The position after which the next newer messages can be read. In the order `desc`, it is the end of the log. */
  readonly position: string;
  /**
   * Whether no message is missing from the page: it has every message that was published into the room in the page's
   * range.
   */
  readonly complete: boolean;
  /**
   * An id after which the history has every message of the room. Undefined if the start of the range is not a place in
   * this log.
   */
  readonly completeSince: string | undefined;
}

/** A range of a room's history, and how to read it. */
export interface HistoryRange {
  /**
   * The id, which is not part of the range, at which reading starts. Undefined to start with the oldest kept message
   * (`asc`) or the newest (`desc`). `epoch` is undefined if the client named only an id.
   */
  readonly since: { epoch: string | undefined; id: string } | undefined;
  readonly order: "asc" | "desc";
  readonly limit: number;
}

/**
 * The log, in memory or on Redis: appends messages, and passes all messages to the {@linkcode LogReader} that its
 * constructor was given.
 */
export interface Log {
  /** The id up to which this node has delivered messages, and the log's state. */
  readonly head: LogHead;
  /**
   * Appends every publish to each of its rooms, in order. Resolves within a time limit to one list for each publish,
   * with one result for each of its rooms, in the order of `rooms`. Never rejects: an error is part of the result.
   */
  append(publishes: readonly PublishRequest[]): Promise<PublishResult[][]>;
  /**
   * Resolves if a publish would now reach the log and this node would read the message; rejects with the reason if not.
   */
  probe(): Promise<void>;
  /** Returns whether this node has recently read an entry with this id. Does not access Redis. */
  knows(id: string): boolean;
  /**
   * Resolves to whether the log has an entry or a message with this id, or had one that was trimmed. Call this for an
   * id that a client sends without an epoch, because Redis may have lost the log of that id.
   *
   * @throws {ApiError} `log_…`
   */
  contains(id: string): Promise<boolean>;
  /** Configuration problems that can lose messages, as sentences without duplicates; empty if none are known. */
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

/** Shows where messages of Redis channels may be missing from the log. */
export interface Gaps {
  /**
   * Returns whether messages of Redis channels may be missing from a room after the id `after`, up to the id `upTo`.
   */
  within(room: string, after: string, upTo: string): boolean;
}

/**
 * A log with its histories and its gaps, as separate objects, so that each part of Roomcast gets only what it needs.
 */
export interface LogParts {
  readonly log: Log;
  readonly history: History;
  readonly gaps: Gaps;
}
