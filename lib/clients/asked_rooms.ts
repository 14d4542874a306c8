/**
 * Determines the rooms that a client without a session joins when it connects.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { Principal } from "../access/principal.ts";
import {
  type JoinRequest,
  parseJoinRequest,
} from "../recovery/join_request.ts";
import { tooManyRooms } from "./client.ts";

/** The client that connects. */
export interface Asking {
  readonly principal: Principal;
  /** The rooms that the client asks for, each a value for `parseJoinRequest()`; undefined for the default rooms. */
  readonly rooms: readonly unknown[] | undefined;
}

/** What the server allows. */
export interface Limits {
  readonly access: Pick<Access, "refusal">;
  /** The default rooms (`ROOMS`). */
  readonly rooms: readonly string[];
  readonly roomsPerClientMax: number;
}

/**
 * Reads the requests of a client: for the rooms that it names, or for the default rooms, and for the rooms of its
 * token. If the client names a room several times, only its last request for that room is used.
 *
 * A client with a token gets only those default rooms that it may join, because it has not asked for them.
 *
 * @throws {ApiError} `invalid_room`, `invalid_parameter`, `too_many_rooms`; any error of `Access`
 */
export function askedRooms(
  { principal, rooms }: Asking,
  { access, rooms: defaults, roomsPerClientMax }: Limits,
): JoinRequest[] {
  if (rooms !== undefined && rooms.length > roomsPerClientMax) {
    throw tooManyRooms(roomsPerClientMax);
  }
  const byRoom = new Map(
    roomsOfToken(principal, access).map((request) => [request.room, request]),
  );
  for (const request of (rooms ?? defaults).map(parseJoinRequest)) {
    const refusal = access.refusal(principal, "subscribe", request.room);
    if (refusal === undefined) byRoom.set(request.room, request);
    else if (rooms !== undefined || principal.kind !== "client") throw refusal;
  }
  if (byRoom.size > roomsPerClientMax) throw tooManyRooms(roomsPerClientMax);
  return [...byRoom.values()];
}

/**
 * Returns requests for the rooms that a client's token names.
 *
 * @throws {ApiError} if a room is not valid, or if the token names a room and does not allow it. The token is then
 * wrong, and a client that silently lacked the room would never find out.
 */
export function roomsOfToken(
  principal: Principal,
  access: Limits["access"],
): JoinRequest[] {
  return principal.rooms.map((name) => {
    const request = parseJoinRequest(name);
    const refusal = access.refusal(principal, "subscribe", request.room);
    if (refusal !== undefined) throw refusal;
    return request;
  });
}
