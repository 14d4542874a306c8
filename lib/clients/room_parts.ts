/**
 * Creates the parts that let connected clients into rooms and take them out.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { FanOut } from "../delivery/fanout.ts";
import type { Directives } from "../directives/directives.ts";
import type { Log } from "../log/log.ts";
import type { Observe } from "../observer.ts";
import type { Recovery } from "../recovery/recovery.ts";
import type { SessionWriter } from "../sessions/writer.ts";
import { Assignments } from "./assignments.ts";
import type { Client } from "./client.ts";
import { Directed } from "./directed.ts";
import { RoomRights } from "./room_rights.ts";
import { RoomTurns } from "./room_turns.ts";
import type { Roster } from "./roster.ts";
import { Subscriptions } from "./subscriptions.ts";

/** Options of {@linkcode createRoomParts}. */
export interface RoomPartsOptions {
  readonly log: Pick<Log, "head">;
  readonly access: Access;
  readonly fanOut: FanOut;
  readonly directives: Directives;
  readonly roomsPerClientMax: number;
  readonly observe: Observe;
}

/** The existing parts that {@linkcode createRoomParts} passes to the new ones. */
export interface UsedParts {
  readonly recovery: Recovery;
  readonly writer: SessionWriter;
  readonly roster: Roster;
  /** Disconnects a client, so that it may connect again by itself. */
  readonly disconnect: (client: Client) => void;
  /** Ends the connection and the session of a client. `mayReturn`: the client may connect again by itself. */
  readonly end: (client: Client, mayReturn: boolean) => void;
}

/** The parts that let clients into rooms and take them out. */
export interface RoomParts {
  /** Joins and leaves rooms because the client wants it. */
  readonly subscriptions: Subscriptions;
  /** Joins and leaves rooms because a backend wants it. */
  readonly directed: Directed;
  /** Takes clients out of rooms for which their right has ended. */
  readonly rights: RoomRights;
}

/** Creates the parts, which all use the same turns of clients and rooms. */
export function createRoomParts(
  { log, access, fanOut, directives, roomsPerClientMax, observe }:
    RoomPartsOptions,
  { recovery, writer, roster, disconnect, end }: UsedParts,
): RoomParts {
  const turns = new RoomTurns();
  const subscriptions = new Subscriptions({
    log,
    fanOut,
    roster,
    recovery,
    writer,
    access,
    turns,
    roomsPerClientMax,
  });
  const rights = new RoomRights({ access, fanOut, roster, writer, disconnect });
  const assignments = new Assignments({ fanOut, subscriptions, rights, turns });
  return {
    subscriptions,
    directed: new Directed({
      directives,
      roster,
      assignments,
      writer,
      end,
      observe,
    }),
    rights,
  };
}
