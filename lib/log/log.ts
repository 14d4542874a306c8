/**
 * The log: everything enters by one append, everything leaves by reading it in order.
 *
 * @module
 */
import type { ApiError } from "../errors.ts";
import type { Gaps } from "./gaps.ts";
import type { PublishRequest } from "./message.ts";
import type { SessionStore } from "../sessions/sessions.ts";

/** A message in the log. */
export interface Entry {
  /** `<milliseconds>-<sequence>`, rising along the log. */
  readonly id: string;
  readonly room: string;
  /** The message as JSON text. */
  readonly json: string;
}

/** What became of a publish in one room: its id, or why it is not in the log. */
export type PublishResult =
  | { readonly room: string; readonly id: string; readonly duplicate: boolean }
  | { readonly room: string; readonly error: ApiError };

/** A place in the log: of what epoch, after which id. */
export interface LogHead {
  readonly epoch: string;
  readonly id: string;
  /** The id after which the epoch began: what is older belongs to another. */
  readonly began: string;
  /** Whether it is proven, as of a second ago at most, that this is the log that clients know. */
  readonly confirmed: boolean;
  /** Names what sessions are kept beside: one that was saved under another lineage may lack its newest rooms. */
  readonly lineage: string;
}

/** One who reads the log. Calls come one at a time, in the log's order, and never throw. */
export interface LogReader {
  /** Reading begins: `recent` are messages that were there before, all of those after `floor`. Called once, first. */
  started(recent: readonly Entry[], floor: string): void;
  /** Some messages, in order. */
  entries(entries: readonly Entry[]): void;
  /**
   * Continuity ended here, in every room: the log was emptied or went back in time (`epoch`), or was trimmed
   * before this node had read it (`trimmed`). `id` is where it goes on; `since` the position of the last message
   * before.
   */
  gap(reason: "epoch" | "trimmed", id: string, since: string): void;
  /** What was kept beside the log may have gone back in time: sessions have to be saved again. */
  lineageChanged(): void;
  /** Messages of Redis channels may be missing just before `id`, in the rooms that `concerns` says. */
  ingressGap(
    concerns: (room: string) => boolean,
    id: string,
    since: string,
  ): void;
}

/** A page ends with the message that reaches this many bytes, however many were asked for. */
export const PAGE_BYTES_MAX = 1 << 20;

/** A page of a room's history. */
export interface Page {
  readonly messages: readonly Entry[];
  /** Whether the room keeps more of the range than the page holds. */
  readonly more: boolean;
  /** From where to go on towards newer messages. */
  readonly position: string;
  /** Whether the page holds every message of the room in the range it covers. */
  readonly complete: boolean;
  /** Every message of the room after this id is kept. Undefined: the range begins where this log never was. */
  readonly completeSince: string | undefined;
}

/** What part of a room's history to read. */
export interface HistoryRange {
  /** Exclusive end to start from; undefined: the oldest that is kept (`asc`) or the newest (`desc`). */
  readonly since: { epoch: string | undefined; id: string } | undefined;
  readonly order: "asc" | "desc";
  readonly limit: number;
}

/** The log, embedded or on Redis: the same promises, shown by the same tests. */
export interface Log {
  /** Up to where the reader has been told; the epoch is empty until reading has begun. */
  readonly head: LogHead;
  /** Where messages of Redis channels may be missing. */
  readonly gaps: Gaps;
  /** Sessions of clients, kept beside the log. */
  readonly sessions: SessionStore;
  /**
   * Appends to each room of each of `publishes`, in order, and answers once all that is done, in bounded time. The
   * answer has a list a publish with one outcome a room, in the order named. Never rejects: what went wrong is an
   * outcome.
   */
  append(publishes: readonly PublishRequest[]): Promise<PublishResult[][]>;
  /** Whether a publish would now reach the log and come back to this node's reader. Rejects with why not. */
  probe(): Promise<void>;
  /** Whether an entry or a message with this id is known without asking: it was read lately. */
  knows(id: string): boolean;
  /**
   * Whether there is, or may have been, an entry or a message with this id. An id that a client names without an epoch
   * may be of a log that a failed-over Redis has lost.
   *
   * @throws {ApiError} `log_…`
   */
  contains(id: string): Promise<boolean>;
  /** Reads a room's history. @throws {ApiError} `log_…` */
  history(room: string, range: HistoryRange): Promise<Page>;
  /** Forgets a room's history; connected clients are not concerned. @throws {ApiError} `log_…` */
  clearHistory(room: string): Promise<void>;
  /** Why messages may be lost with the log, each once; empty where nothing is known. */
  warnings(): readonly string[];
  /** Ends it; publishes under way are answered first, or refused. */
  close(): Promise<void>;
}
