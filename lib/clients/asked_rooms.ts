/**
 * Determines the rooms that a client without a session joins when it connects.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { Asker } from "../access/hooks.ts";
import type { Principal } from "../access/principal.ts";
import { ApiError } from "../errors.ts";
import {
  type JoinRequest,
  parseJoinRequest,
} from "../recovery/join_request.ts";
import { tooManyRooms } from "./client.ts";
import { grantAll } from "./granted.ts";
import type { StreamHello } from "./hello.ts";

/** The client that connects. */
export interface Asking {
  readonly principal: Principal;
  readonly asker: Asker;
  /** The rooms that the client asks for, each a value for `parseJoinRequest()`; undefined for the default rooms. */
  readonly rooms: readonly unknown[] | undefined;
  readonly stream?: StreamHello | undefined;
}

/** What the server allows. */
export interface Limits {
  readonly access: Pick<Access, "grant" | "refusal">;
  /** The default rooms (`ROOMS`). */
  readonly rooms: readonly string[];
  readonly roomsPerClientMax: number;
}

/** The rooms that a client joins. */
export interface Asked {
  readonly requests: readonly JoinRequest[];
  /** The principal of the client, with its grants for these rooms. */
  readonly principal: Principal;
  /** The rooms that a stream names again and may no longer be in. */
  readonly lost: readonly LostRoom[];
}

/** A room that the client may no longer be in, with the reason that the client is sent. */
export interface LostRoom {
  readonly room: string;
  /**
   * `expired`: the room's grant has expired. `revoked`: the right to be in the room has ended otherwise. `removed`: a
   * backend has taken the client out of the room, or the client would be in too many rooms.
   */
  readonly reason: "expired" | "revoked" | "removed";
}

/**
 * Reads the requests of a client: for the rooms that it names, or for the default rooms, and for the rooms of its
 * token. If the client names a room several times, only its last request for that room is used.
 *
 * A client with a token gets only those default rooms that it may join, because it has not asked for them. A stream
 * that names rooms does not get those of its token, and has to get at least one room.
 *
 * @throws {ApiError} `invalid_room`, `invalid_parameter`, `too_many_rooms`; any error of `Access`. If the token names a
 * room that it does not allow, that is an error too: a client that silently lacked the room would never find out.
 */
export async function askedRooms(
  { principal, asker, rooms, stream }: Asking,
  { access, rooms: defaults, roomsPerClientMax }: Limits,
): Promise<Asked> {
  if (rooms !== undefined && rooms.length > roomsPerClientMax) {
    throw tooManyRooms(roomsPerClientMax);
  }
  const isExact = stream !== undefined && rooms !== undefined;
  const own = isExact ? [] : principal.rooms;
  const named = [...own, ...rooms ?? defaults].map(parseJoinRequest)
    .map((request) =>
      stream === undefined
        ? request
        : { ...request, since: stream.since, last: stream.last }
    );
  const byRoom = new Map(named.map((request) => [request.room, request]));
  const granted = await grantAll(
    access,
    principal,
    [...byRoom.values()],
    asker,
  );
  const mayLack = rooms === undefined && principal.kind === "client";
  const lost: LostRoom[] = [];
  for (const room of [...byRoom.keys()]) {
    const refusal = granted.refusals.get(room);
    if (refusal === undefined) continue;
    const isLost = stream?.resumes && !own.includes(room);
    if (!isLost && (!mayLack || own.includes(room))) throw refusal.inFull();
    if (isLost && !mayLack) lost.push({ room, reason: "revoked" });
    byRoom.delete(room);
  }
  if (byRoom.size > roomsPerClientMax) {
    throw own.length === 0
      ? tooManyRooms(roomsPerClientMax)
      : tooManyWithOwn(byRoom.size, roomsPerClientMax);
  }
  if (stream !== undefined && byRoom.size === 0) {
    throw [...granted.refusals.values()][0] ?? noRooms();
  }
  return {
    requests: [...byRoom.values()],
    principal: granted.principal,
    lost,
  };
}

function tooManyWithOwn(count: number, roomsMax: number): ApiError {
  return new ApiError(
    "too_many_rooms",
    `Cannot connect: a client may be in at most ${roomsMax} rooms, and with those of its token or of the connect hook it would be in ${count}; let the client, its token or the connect hook name fewer rooms`,
  );
}

function noRooms(): ApiError {
  return new ApiError(
    "invalid_room",
    "Cannot connect: the stream names no room, and there are no default rooms; name a room",
  );
}

/** Returns the names of the rooms that a new client asks for. @throws {ApiError} `invalid_room`, `too_many_rooms` */
export function namesOf(
  rooms: readonly unknown[],
  roomsMax: number,
): string[] {
  if (rooms.length > roomsMax) throw tooManyRooms(roomsMax);
  return rooms.map((room) => parseJoinRequest(room).room);
}

/**
 * Returns the requests that a client sends at connect, by their rooms. Leaves out requests that are not valid, because
 * they are no reason to refuse a client that resumes its session.
 */
export function requestsNamed(
  rooms: readonly unknown[] = [],
): ReadonlyMap<string, JoinRequest> {
  const requests = new Map<string, JoinRequest>();
  for (const item of rooms) {
    try {
      const request = parseJoinRequest(item);
      requests.set(request.room, request);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }
  return requests;
}
