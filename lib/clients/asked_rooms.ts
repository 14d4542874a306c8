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

/** The client that connects. */
export interface Asking {
  readonly principal: Principal;
  readonly asker: Asker;
  /** The rooms that the client asks for, each a value for `parseJoinRequest()`; undefined for the default rooms. */
  readonly rooms: readonly unknown[] | undefined;
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
}

/**
 * Reads the requests of a client: for the rooms that it names, or for the default rooms, and for the rooms of its
 * token. If the client names a room several times, only its last request for that room is used.
 *
 * A client with a token gets only those default rooms that it may join, because it has not asked for them.
 *
 * @throws {ApiError} `invalid_room`, `invalid_parameter`, `too_many_rooms`; any error of `Access`. If the token names a
 * room that it does not allow, that is an error too: a client that silently lacked the room would never find out.
 */
export async function askedRooms(
  { principal, asker, rooms }: Asking,
  { access, rooms: defaults, roomsPerClientMax }: Limits,
): Promise<Asked> {
  if (rooms !== undefined && rooms.length > roomsPerClientMax) {
    throw tooManyRooms(roomsPerClientMax);
  }
  const named = [...principal.rooms, ...rooms ?? defaults].map(
    parseJoinRequest,
  );
  const byRoom = new Map(named.map((request) => [request.room, request]));
  const granted = await grantAll(
    access,
    principal,
    [...byRoom.values()],
    asker,
  );
  const mayLack = rooms === undefined && principal.kind === "client";
  for (const room of [...byRoom.keys()]) {
    const refusal = granted.refusals.get(room);
    if (refusal === undefined) continue;
    if (!mayLack || principal.rooms.includes(room)) throw refusal;
    byRoom.delete(room);
  }
  if (byRoom.size > roomsPerClientMax) throw tooManyRooms(roomsPerClientMax);
  return { requests: [...byRoom.values()], principal: granted.principal };
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
