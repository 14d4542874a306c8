/**
 * The request of a client to join a room.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { GapReason } from "../log/gaps.ts";
import { parseRoom } from "../log/message.ts";
import { parsePosition } from "../log/position.ts";

/** Maximum value of `last`. */
export const LAST_MAX = 1000;

/** An id, with its epoch if the client named one. */
export interface Position {
  readonly epoch: string | undefined;
  readonly id: string;
}

/** A client's request for messages of a room: those after a position, the newest ones, or only future ones. */
export interface JoinRequest {
  readonly room: string;
  /** The position after which the client wants all messages; null if it sent something that is not a position. */
  readonly since?: Position | null | undefined;
  /** How many of the newest messages the client wants. */
  readonly last?: number | undefined;
  /** A gap that has to be sent again, because the client has not confirmed it. */
  readonly gap?: GapReason | undefined;
}

/**
 * Reads a request for a room: the room's name, or `{room, since?, last?}`.
 *
 * @throws {ApiError} `invalid_room`, `invalid_parameter`
 */
export function parseJoinRequest(request: unknown): JoinRequest {
  if (typeof request !== "object" || request === null) {
    return { room: parseRoom(request) };
  }
  const { room, since, last } = request as Record<string, unknown>;
  return {
    room: parseRoom(room),
    since: since === undefined || since === null
      ? undefined
      : parseSince(since),
    last: parseLast(last),
  };
}

/** Reads a position or an id. Returns null if it is neither. */
export function parseSince(since: unknown): Position | null {
  try {
    return parsePosition(since);
  } catch {
    return null;
  }
}

function parseLast(last: unknown): number | undefined {
  if (last === undefined) return undefined;
  if (
    typeof last === "number" && Number.isInteger(last) && last >= 0 &&
    last <= LAST_MAX
  ) return last;
  throw new ApiError(
    "invalid_parameter",
    `Cannot join: "last" is not an integer from 0 to ${LAST_MAX}; send such a number`,
  );
}
