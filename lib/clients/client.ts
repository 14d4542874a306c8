/**
 * A client: its identity, its rooms, and the subscriber that writes to it, independent of the protocol.
 *
 * @module
 */
import type { Principal } from "../access/principal.ts";
import type { Subscriber } from "../delivery/subscriber.ts";
import { ApiError } from "../errors.ts";
import { ID_MAX } from "../log/position.ts";
import type { JoinRequest } from "../recovery/join_request.ts";
import { isGap, type JoinResult } from "../recovery/recovery.ts";
import {
  newOwner,
  type RoomPosition,
  type SessionState,
} from "../sessions/session.ts";
import type { NoticeNumber } from "./missed.ts";

/** Stands for the id of a notice that has not been sent yet. No offset has a later id. */
const NOT_SENT = ID_MAX;

/** Options of {@linkcode Client}. */
export interface ClientOptions {
  readonly principal: Principal;
  /** The hash of the session's secret. */
  readonly digest: string;
  readonly generation: number;
  /** The version of the stored session that the client resumes; undefined for a new session. */
  readonly takesUp: string | undefined;
  readonly rooms: Map<string, RoomPosition>;
}

/** One connection of a client. A client that reconnects is a new object, with the next generation of its session. */
export class Client implements SessionState {
  readonly principal: Principal;
  readonly digest: string;
  readonly generation: number;
  readonly owner = newOwner();
  takesUp: string | undefined;
  readonly rooms: Map<string, RoomPosition>;
  /** Writes to the client; undefined while it is not connected. */
  subscriber: Subscriber | undefined;
  /** Number of the client's requests in flight. */
  requests = 0;
  /** Number of the client's latest join. Connecting is number 1. */
  joinNumber = 1;
  /** The highest number of a join whose answer had messages or a gap, so that the client has to confirm it. */
  toldNumber = 1;
  overloaded = false;

  /** Creates a client that is not connected yet. */
  constructor(
    { principal, digest, generation, takesUp, rooms }: ClientOptions,
  ) {
    this.principal = principal;
    this.digest = digest;
    this.generation = generation;
    this.takesUp = takesUp;
    this.rooms = rooms;
  }
}

/** The data that is sent to a client in the synchronous step in which it joins rooms. */
export interface Joined {
  /** The log's position at this moment: messages that are delivered later come after it. */
  readonly position: string;
  /** The id in `position`. */
  readonly id: string;
  /** One result for each room. Gaps have been sent already; messages have been sent only at connect. */
  readonly rooms: readonly JoinResult[];
  /**
   * The last notice that the client has to confirm. The server of the protocol sends its number in the offset of the
   * last event of this step.
   */
  readonly notice?: NoticeNumber & { readonly room: string };
}

/** Writes {@linkcode Joined} to a client, in the same step and before any later message. */
export type Tell = (joined: Joined) => void;

/**
 * Returns a client's position in a room that it joins by connecting. The replayed messages may be lost with the
 * connection. The position is therefore the id before them until the client's offset shows that they arrived. The same
 * holds for a gap, which is sent at the id `at`.
 */
export function positionAtConnect(
  result: JoinResult,
  id: string,
  at: string = NOT_SENT,
): RoomPosition {
  return isGap(result)
    ? { since: id, told: { at, number: 1, gap: result.reason } }
    : { since: result.from ?? id };
}

/** Returns a client's position in a room that it joins at the id `id`, by its join number `number`. */
export function positionAtJoin(
  result: JoinResult,
  id: string,
  number: number,
): RoomPosition {
  if (isGap(result)) {
    return { since: id, told: { at: id, number, gap: result.reason } };
  }
  return result.from !== undefined && result.messages.length > 0
    ? { since: result.from, told: { at: id, number } }
    : { since: id };
}

/**
 * Returns the position to save before a join is answered. If the client asked for messages, it assumes that the answer
 * has some, because they may arrive before it is sent.
 *
 * @param result The result as it is now; undefined if it is not known.
 */
export function positionBeforeJoin(
  { since, last = 0 }: JoinRequest,
  result: JoinResult | undefined,
  id: string,
  number: number,
): RoomPosition {
  if (result !== undefined && isGap(result)) {
    return { since: id, told: { at: NOT_SENT, number, gap: result.reason } };
  }
  if (since === undefined && last === 0) return { since: id };
  return { since: result?.from ?? id, told: { at: NOT_SENT, number } };
}

/** Makes the error for a client that asks for more rooms than `roomsMax`. */
export function tooManyRooms(roomsMax: number): ApiError {
  return new ApiError(
    "too_many_rooms",
    `Cannot join: a client may be in at most ${roomsMax} rooms; name fewer rooms or leave some`,
  );
}

/** Makes the error for a client whose missed messages leave the memory faster than they can be read. */
export function tooFast(verb: "connect" | "join"): ApiError {
  return new ApiError(
    "overloaded",
    `Cannot ${verb}: messages arrive faster than they can be read; ${verb} again later`,
  );
}
