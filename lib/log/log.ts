/**
 * The interfaces of the log: all messages enter it by one append, and leave it by being read in order.
 *
 * @module
 */
import type { ApiError } from "../errors.ts";
import type { LogHead } from "./head.ts";
import type { EntryMeta, PublishRequest } from "./message.ts";

/** A message in the log. */
export interface Entry {
  /** `<milliseconds>-<sequence>`. Ids rise along the log. */
  readonly id: string;
  readonly room: string;
  /** The message as JSON text. */
  readonly json: string;
  /** Absent from a message without any, not undefined. */
  readonly meta?: EntryMeta;
}

/** The result of a publish in one room: the message's id, or why it is not in the log. */
export type PublishResult =
  | { readonly room: string; readonly id: string; readonly duplicate: boolean }
  | { readonly room: string; readonly error: ApiError };

/** Receives what is read from the log. Methods are called one at a time, in the log's order, and must not throw. */
export interface LogReader {
  /** Called once, before all others. `recent` are all messages that are already in the log after the id `floor`. */
  started(recent: readonly Entry[], floor: string): void;
  /** Called with new messages, in order. */
  entries(entries: readonly Entry[]): void;
  /**
   * Called if messages of any room may be missing: the log was emptied or went back in time (`epoch`), or was trimmed
   * before this node had read it (`trimmed`). `id` is where reading continues; `since` is the position of the last
   * message before.
   */
  gap(reason: "epoch" | "trimmed", id: string, since: string): void;
  /** Called if data beside the log may have gone back in time, so that sessions have to be saved again. */
  lineageChanged(): void;
  /** Called if messages of Redis channels may be missing just before `id`, in rooms for which `concerns` is true. */
  ingressGap(
    concerns: (room: string) => boolean,
    id: string,
    since: string,
  ): void;
}

/** A page ends with the message that reaches this many characters of JSON, whatever its limit of messages. */
export const PAGE_BYTES_MAX = 1 << 20;

/** A page of a room's history. */
export interface Page {
  readonly messages: readonly Entry[];
  /** Whether the room has more messages in the range than the page holds. */
  readonly more: boolean;
  /** The position from which to continue towards newer messages. */
  readonly position: string;
  /** Whether the page holds every message of the room in the range it covers. */
  readonly complete: boolean;
  /** Every message of the room after this id is kept. Undefined if the range begins outside of this log. */
  readonly completeSince: string | undefined;
}

/** Which part of a room's history to read. */
export interface HistoryRange {
  /** The exclusive start; undefined for the oldest message that is kept (`asc`) or the newest (`desc`). */
  readonly since: { epoch: string | undefined; id: string } | undefined;
  readonly order: "asc" | "desc";
  readonly limit: number;
}

/** Appends messages to the log. The embedded log and the log on Redis pass the same tests. */
export interface Log {
  /** Up to where this node has delivered. */
  readonly head: LogHead;
  /**
   * Appends every publish to each of its rooms, in order. Resolves in bounded time to one list per publish, with one
   * result per room in the order in which the rooms are named. Never rejects: a failure is a result.
   */
  append(publishes: readonly PublishRequest[]): Promise<PublishResult[][]>;
  /**
   * Resolves if a publish would now reach the log and come back to this node's reader. Rejects with the reason if not.
   */
  probe(): Promise<void>;
  /** Returns whether this node has read an entry or a message with this id lately. Does not ask Redis. */
  knows(id: string): boolean;
  /**
   * Resolves to whether there is, or may have been, an entry or a message with this id. An id that a client names
   * without an epoch may be of a log that Redis has lost in a fail-over.
   *
   * @throws {ApiError} `log_…`
   */
  contains(id: string): Promise<boolean>;
  /** Configuration problems that can lose messages, as sentences without duplicates; empty if none are known. */
  warnings(): readonly string[];
  /** Closes the log. Publishes in flight are settled first. */
  close(): Promise<void>;
}

/** Reads and clears what the log keeps of each room. */
export interface History {
  /** Reads a page of a room's history. @throws {ApiError} `log_…` */
  read(room: string, range: HistoryRange): Promise<Page>;
  /** Deletes a room's history. Connected clients are not affected. @throws {ApiError} `log_…` */
  clear(room: string): Promise<void>;
}

/** Where messages of Redis channels may be missing. Only the log's reader adds to it. */
export interface Gaps {
  /** Returns whether messages of a room may be missing after the id `after`, up to the id `upTo`. */
  within(room: string, after: string, upTo: string): boolean;
}

/** A log and what belongs to it. Each part of Roomcast gets only what it needs. */
export interface LogParts {
  readonly log: Log;
  readonly history: History;
  readonly gaps: Gaps;
}
