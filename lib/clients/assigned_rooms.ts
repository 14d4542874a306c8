/**
 * Determines into which rooms backends have put a client, and out of which they have taken it, while the client was
 * disconnected.
 *
 * @module
 */
import {
  grantOfServer,
  type RoomGrant,
  type RoomGrants,
} from "../access/principal.ts";
import type { Directive } from "../directives/directives.ts";
import { timestampOf } from "../log/position.ts";
import type { Session } from "../sessions/session.ts";

/** What has changed for a client while it was disconnected. */
export interface AssignedRooms {
  /** The rooms of the session that the client was taken out of. */
  readonly removed: ReadonlySet<string>;
  /** The rooms that are not in the session and that the client was put into. */
  readonly added: ReadonlySet<string>;
  /** The grants that the client has now. */
  readonly grants: RoomGrants;
}

/** Returns what the directives, which are given in their order, have changed for the client of a session. */
export function assignedRooms(
  { rooms, grants: before = new Map() }: Session,
  directives: readonly Directive[],
): AssignedRooms {
  const joined = new Set(rooms.map(([room]) => room));
  const removed = new Set<string>(), added = new Set<string>();
  const grants = new Map<string, RoomGrant>(before);
  for (const { kind, room, id } of directives) {
    if (kind === "join") {
      removed.delete(room);
      if (!joined.has(room)) added.add(room);
      grants.set(room, grantOfServer(timestampOf(id), grants.get(room)));
    } else if (kind === "leave") {
      added.delete(room);
      if (joined.has(room)) removed.add(room);
      grants.delete(room);
    }
  }
  return { removed, added, grants };
}
