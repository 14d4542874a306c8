/**
 * Parses the requests by which clients join and leave rooms, and refresh their tokens.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { GapReason } from "../log/gaps.ts";
import { checkFields } from "../log/known_fields.ts";
import { parseRoom } from "../log/message.ts";
import { parsePosition } from "../log/position.ts";
import { isFields } from "../util/fields.ts";
import { jsonBytes } from "../util/json_bytes.ts";
import type { Names } from "../util/nearest.ts";

/** Maximum number of newest messages that a client can ask for with `last`. */
export const LAST_MAX = 1000;
/** Maximum size of what a client can send for a hook, in bytes of JSON. It is kept while the hook is asked. */
export const DATA_BYTES_MAX = 8192;
const JOIN_FIELDS: Names = {
  known: ["room", "since", "last", "token", "data"],
  instead: {
    channel: "room",
    name: "room",
    position: "since",
    limit: "last",
  },
};

/**
 * A place in the log after which a client wants messages. `epoch` is undefined if the client sent only an id instead of
 * a position.
 */
export interface Position {
  readonly epoch: string | undefined;
  readonly id: string;
}

/**
 * A client's request to join a room, and to get the messages after a position, the newest messages, or only future
 * messages.
 */
export interface JoinRequest {
  readonly room: string;
  /**
   * The position after which the client wants all messages; undefined if the client named none, and null if it sent a
   * value that is not a position.
   */
  readonly since?: Position | null | undefined;
  /** How many of the room's newest messages the client wants. Ignored if `since` is set. */
  readonly last?: number | undefined;
  /** The room token that the client has sent, whatever its type; undefined if it has sent none. */
  readonly token?: unknown;
  /** What the client has sent for the join hook; any JSON of at most 8 KiB, or undefined. */
  readonly data?: unknown;
  /**
   * Set if a gap has to be sent to the client again, because the client has not confirmed the gap: the gap's reason.
   */
  readonly gap?: GapReason | undefined;
}

/**
 * Reads a client's request to join a room: the room's name, or `{room, since?, last?, token?, data?}`.
 *
 * @throws {ApiError} `invalid_room`, `invalid_position`, `invalid_parameter` or `unknown_field`, if a part of the
 * request is not valid
 */
export function parseJoinRequest(request: unknown): JoinRequest {
  if (!isFields(request)) return { room: parseRoom(request) };
  checkFields(request, JOIN_FIELDS, "join");
  const { room, since, last, token, data } = request;
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
    ...token !== undefined && { token },
    ...data !== undefined && { data: checkData(data) },
  };
}

/**
 * Reads a client's request to leave a room: the room's name, or `{room}`. Returns the room's name.
 *
 * @throws {ApiError} `invalid_room` or `unknown_field`, if the request is not valid
 */
export function parseLeaveRequest(request: unknown): string {
  if (!isFields(request)) return parseRoom(request);
  checkFields(request, { known: ["room"] }, "leave");
  return parseRoom(request.room);
}

/**
 * Reads a client's request to refresh its token, `{token}`. Returns the token, which may be a value of any type.
 *
 * @throws {ApiError} `invalid_parameter`, `unknown_field`
 */
export function parseRefreshRequest(request: unknown): unknown {
  if (!isFields(request) || request.token === undefined) {
    throw new ApiError(
      "invalid_parameter",
      'Cannot refresh: the event has no "token"; send the new token as {"token":"…"}',
    );
  }
  checkFields(request, { known: ["token"] }, "refresh");
  return request.token;
}

/** Parses a position or an id that a client sent. Returns null if the value is neither of the two. */
export function parseSince(since: unknown): Position | null {
  try {
    return parsePosition(since);
  } catch {
    return null;
  }
}

/** Returns what a client has sent for the join hook, if it is not too large. @throws {ApiError} `invalid_parameter` */
function checkData(data: unknown): unknown {
  if (jsonBytes(data) <= DATA_BYTES_MAX) return data;
  throw new ApiError(
    "invalid_parameter",
    `Cannot join: "data" has more than ${DATA_BYTES_MAX} bytes; send less`,
  );
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
