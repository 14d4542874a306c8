/**
 * The interfaces of the log. All messages enter the log by `append()` and are read from it in order.
 *
 * @module
 */
import type { ApiError } from "../errors.ts";
import type { LogHead } from "./head.ts";
import type { EntryMeta, PublishRequest } from "./message.ts";

/** A message in the log. */
export interface Entry {
  /** `<milliseconds>-<sequence>`. Each id is greater than those of earlier entries. */
  readonly id: string;
  readonly room: string;
  /** The message as JSON text. */
  readonly json: string;
  /** Absent, and not undefined, if the message has no meta. */
  readonly meta?: EntryMeta;
}

/** The result of a publish in one room: the message's id, or the error if the message is not in the log. */
export type PublishResult =
  | { readonly room: string; readonly id: string; readonly duplicate: boolean }
  | { readonly room: string; readonly error: ApiError };

/**
 * Receives the messages that are read from the log. Methods are called one at a time, in the log's order, and must not
 * throw.
 */
export interface LogReader {
  /** Called once, before all others. `recent` are all messages that are already in the log after the id `floor`. */
  started(recent: readonly Entry[], floor: string): void;
  /** Called with new messages, in order. */
  entries(entries: readonly Entry[]): void;
  /**
   * Called if messages of any room may be missing: the log was emptied or lost its newest entries (`epoch`), or was
   * trimmed before this node had read it (`trimmed`). `id` is where reading continues; `since` is the position of the
   * last message before the gap.
   */
  gap(reason: "epoch" | "trimmed", id: string, since: string): void;
  /**
   * Called if sessions that are stored with the log may have been replaced by older ones, so that they have to be saved
   * again.
   */
  lineageChanged(): void;
  /** Called if messages of Redis channels may be missing just before `id`, in rooms for which `concerns` is true. */
  ingressGap(
    concerns: (room: string) => boolean,
    id: string,
    since: string,
  ): void;
}

/**
 * Limit of a page in characters of JSON. A page ends with the message that reaches this limit, even if the page has
 * fewer messages than requested.
 */
export const PAGE_BYTES_MAX = 1 << 20;

/** A page of a room's history. */
export interface Page {
  readonly messages: readonly Entry[];
  /** Whether the room has more messages in the range than the page holds. */
  readonly more: boolean;
  /** The position from which to continue towards newer messages. */
  readonly position: string;
  /** Whether the page holds every message that the room has had in the page's range. */
  readonly complete: boolean;
  /** The id after which every message of the room is kept. Undefined if the range begins outside of this log. */
  readonly completeSince: string | undefined;
}

/** A range of a room's history, and how to read it. */
export interface HistoryRange {
  /** The exclusive start; undefined for the oldest message that is kept (`asc`) or the newest (`desc`). */
  readonly since: { epoch: string | undefined; id: string } | undefined;
  readonly order: "asc" | "desc";
  readonly limit: number;
}

/** Appends messages to the log. The embedded log and the log on Redis pass the same tests. */
export interface Log {
  /** The id up to which this node has delivered, and the log's state. */
  readonly head: LogHead;
  /**
   * Appends every publish to each of its rooms, in order. Resolves in bounded time to one list per publish, with one
   * result per room in the order in which the rooms are named. Never rejects: a failure is a result.
   */
  append(publishes: readonly PublishRequest[]): Promise<PublishResult[][]>;
  /** Resolves if a publish would now reach the log and be read by this node. Rejects with the reason if not. */
  probe(): Promise<void>;
  /** Returns whether this node has recently read an entry or a message with this id. Does not access Redis. */
  knows(id: string): boolean;
  /**
   * Resolves to whether the log has an entry or a message with this id, or may have had one that was trimmed. Use it
   * for an id that a client names without an epoch: Redis may have lost the log of that id in a failover.
   *
   * @throws {ApiError} `log_…`
   */
  contains(id: string): Promise<boolean>;
  /** Configuration problems that can lose messages, as sentences without duplicates; empty if none are known. */
  warnings(): readonly string[];
  /** Closes the log. Publishes in flight are settled first. */
  close(): Promise<void>;
}

/** Reads and clears the histories of rooms. */
export interface History {
  /** Reads a page of a room's history. @throws {ApiError} `log_…` */
  read(room: string, range: HistoryRange): Promise<Page>;
  /** Deletes a room's history. Connected clients are not affected. @throws {ApiError} `log_…` */
  clear(room: string): Promise<void>;
}

/** Finds gaps of Redis channels. Only the log's reader adds gaps. */
export interface Gaps {
  /** Returns whether messages of a room may be missing after the id `after`, up to the id `upTo`. */
  within(room: string, after: string, upTo: string): boolean;
}

/** A log with its histories and gaps. Each part of Roomcast gets only those that it needs. */
export interface LogParts {
  readonly log: Log;
  readonly history: History;
  readonly gaps: Gaps;
}
