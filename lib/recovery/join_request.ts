/**
 * Reads the requests of clients to join and to leave rooms.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { GapReason } from "../log/gaps.ts";
import { parseRoom } from "../log/message.ts";
import { parsePosition } from "../log/position.ts";
import { adviceFor, quoted } from "../util/nearest.ts";

/** Maximum value of `last`. */
export const LAST_MAX = 1000;

/**
 * The id after which a client wants messages. `epoch` is undefined if the client sent only an id, and not a whole
 * position.
 */
export interface Position {
  readonly epoch: string | undefined;
  readonly id: string;
}

/**
 * A client's request to join a room and to get messages after a position, the newest messages, or only future messages.
 */
export interface JoinRequest {
  readonly room: string;
  /** The position after which the client wants all messages; null if it sent something that is not a position. */
  readonly since?: Position | null | undefined;
  /** The number of newest messages that the client wants. Ignored if the client also named a position. */
  readonly last?: number | undefined;
  /** The reason of a gap that has to be sent to the client again, because the client has not confirmed that gap. */
  readonly gap?: GapReason | undefined;
}

/**
 * Reads a client's request to join a room: the room's name, or `{room, since?, last?}`.
 *
 * @throws {ApiError} `invalid_room`, `invalid_position`, `invalid_parameter`, `unknown_field`
 */
export function parseJoinRequest(request: unknown): JoinRequest {
  if (!isFields(request)) return { room: parseRoom(request) };
  checkFields("join", request, ["room", "since", "last"]);
  const { room, since, last } = request;
  if (since === null) {
    throw new ApiError(
      "invalid_position",
      'Cannot join: "since" is null; send a position, or leave it out to receive only later messages',
    );
  }
  return {
    room: parseRoom(room),
    since: since === undefined ? undefined : parseSince(since),
    last: parseLast(last),
  };
}

/**
 * Reads a client's request to leave a room: the room's name, or `{room}`. Returns the room's name.
 *
 * @throws {ApiError} `invalid_room`, `unknown_field`
 */
export function parseLeaveRequest(request: unknown): string {
  if (!isFields(request)) return parseRoom(request);
  checkFields("leave", request, ["room"]);
  return parseRoom(request.room);
}

/**
 * Checks that a request has no other fields than those in `known`.
 *
 * @throws {ApiError} `unknown_field`
 */
function checkFields(
  verb: string,
  request: Readonly<Record<string, unknown>>,
  known: readonly string[],
): void {
  const field = Object.keys(request).find((name) => !known.includes(name));
  if (field === undefined) return;
  throw new ApiError(
    "unknown_field",
    `Cannot ${verb}: the field ${quoted(field)} is unknown; ${
      adviceFor(field, { known })
    }`,
  );
}

function isFields(
  request: unknown,
): request is Readonly<Record<string, unknown>> {
  return typeof request === "object" && request !== null &&
    !Array.isArray(request);
}

/** Reads a position or an id that a client sent. Returns null if the value is neither a position nor an id. */
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
