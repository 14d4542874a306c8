/**
 * What a client gets when it joins a room: the messages that it missed, or the reason why they are missing.
 *
 * @module
 */
import type { GapReason } from "../log/gaps.ts";
import type { Entry } from "../log/log.ts";
import type { JoinRequest } from "./join_request.ts";

/** A client's request to join a room, together with the messages that were read for the request. */
export interface PreparedJoin {
  readonly request: JoinRequest;
  /**
   * The reason why messages are missing; undefined if none are missing. The reason `ingress` means that messages of a
   * Redis channel may never have reached the log; all other missed messages are replayed.
   */
  readonly reason?: GapReason;
  /** The messages up to the id `from`, which were read from the room's history. */
  readonly prefix: readonly Entry[];
  /** The id after which messages are taken from the ring; undefined if no message is replayed. */
  readonly from?: string;
  /** The log's epoch when the request was prepared. */
  readonly epoch: string;
}

/** The messages that a client gets when it joins a room, and the reason if some messages are missing. */
export interface JoinResult {
  readonly room: string;
  /** Whether the client named a position and gets every message after it. */
  readonly recovered: boolean;
  /** The reason why messages are missing; undefined if none are missing. */
  readonly reason?: GapReason;
  /** The messages to replay, oldest first. */
  readonly messages: readonly Entry[];
  /**
   * The id that the client named; without one, the id just before the first of `messages`. Undefined if no messages are
   * replayed.
   */
  readonly from?: string | undefined;
}

/**
 * Returns whether a client gets a gap and no messages. Returns `false` for the reason `ingress`: all messages that
 * reached the log are replayed, and the gap is found in the log again whenever the client reconnects.
 */
export function isGap(
  result: JoinResult,
): result is JoinResult & { readonly reason: GapReason } {
  return result.reason !== undefined && result.from === undefined;
}

/** Returns a prepared request whose client gets a gap. */
export function refuse(
  request: JoinRequest,
  reason: GapReason,
  epoch: string,
): PreparedJoin {
  return { request, reason, prefix: [], epoch };
}

/** Returns a result without messages, which contains `reason` if it is given. */
export function nothing(
  room: string,
  reason: GapReason | undefined,
): JoinResult {
  return { room, recovered: false, ...(reason && { reason }), messages: [] };
}
