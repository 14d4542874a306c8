/**
 * Answers questions about rooms for a node without Redis, from what the node itself knows.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type {
  LocalRooms,
  NameRange,
  NodeReport,
  NodeState,
  Occupancy,
  RoomOccupancy,
} from "./occupancy.ts";

/** Options of {@linkcode LocalOccupancy}. */
export interface LocalOccupancyOptions {
  readonly local: LocalRooms;
  /** Returns the state of this node. */
  readonly state: () => NodeState;
}

/** The occupancy of a cluster with one node. */
export class LocalOccupancy implements Occupancy {
  readonly #options: LocalOccupancyOptions;

  /** Stores the options. */
  constructor(options: LocalOccupancyOptions) {
    this.#options = options;
  }

  names({ prefix, after, limit }: NameRange): Promise<readonly string[]> {
    const names = [...this.#options.local.roomNames()].filter((name) =>
      name.startsWith(prefix) &&
      (after === undefined || compareBytes(name, after) > 0)
    );
    return Promise.resolve(names.sort(compareBytes).slice(0, limit));
  }

  count(rooms: readonly string[]): Promise<readonly RoomOccupancy[]> {
    const { local } = this.#options;
    const users = new Map(rooms.map((room) => [room, new Set<string>()]));
    for (const [user, joined] of local.memberships()) {
      if (user === undefined) continue;
      for (const room of joined) users.get(room)?.add(user);
    }
    return Promise.resolve(rooms.map((room) => ({
      room,
      clients: local.clientsIn(room),
      users: users.get(room)?.size ?? 0,
    })));
  }

  nodes(): Promise<readonly NodeReport[]> {
    return Promise.resolve([{ ...this.#options.state(), ageMs: 0 }]);
  }
}

/** Compares two texts by their UTF-8 bytes, as Redis does. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
