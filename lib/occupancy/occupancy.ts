/**
 * The interface for questions about all nodes: which rooms have clients, how many, and which nodes there are.
 *
 * @module
 */

/** How many clients and users are in a room, on all nodes together. */
export interface RoomOccupancy {
  readonly room: string;
  readonly clients: number;
  /** Number of different users among the clients. Clients without a user do not count. */
  readonly users: number;
}

/** Which names of rooms are wanted. */
export interface NameRange {
  /** What the names begin with; empty for all names. */
  readonly prefix: string;
  /** The name after which the list continues; undefined to begin with the first. */
  readonly after: string | undefined;
  readonly limit: number;
}

/** The state of a node, as the node itself reports it. */
export interface NodeState {
  /** The name of the node. A process that starts again has another name. */
  readonly id: string;
  /** Time at which the node was started, in ms since 1970, by the clock of its machine. */
  readonly started: number;
  /** Number of connected clients. */
  readonly clients: number;
  /** Number of rooms with clients of this node. */
  readonly rooms: number;
  /** Resident memory of the process, in bytes. */
  readonly memoryBytes: number;
  /** Whether the node is disconnecting its clients because it stops. */
  readonly draining: boolean;
}

/** A node, with the time since it has reported its state. */
export interface NodeReport extends NodeState {
  /** How long ago the node reported this state, in ms. */
  readonly ageMs: number;
}

/** Answers questions about the rooms and nodes of the cluster. */
export interface Occupancy {
  /**
   * Resolves to the names of rooms that have clients, in the order of their UTF-8 bytes. A room that was left just now
   * may be among them.
   */
  names(range: NameRange): Promise<readonly string[]>;
  /** Resolves to the numbers of clients and users in each of the rooms, in the given order. */
  count(rooms: readonly string[]): Promise<readonly RoomOccupancy[]>;
  /** Resolves to the running nodes, the longest running first. */
  nodes(): Promise<readonly NodeReport[]>;
}

/** What this node knows about its own clients. */
export interface LocalRooms {
  /** Returns how many clients of this node are in a room. */
  clientsIn(room: string): number;
  /** Returns whether a client of this user is in a room on this node. */
  isIn(user: string, room: string): boolean;
  /** Iterates over the names of the rooms that have clients on this node. */
  roomNames(): Iterable<string>;
  /** Iterates over the connected clients, each with its user, if it has one, and the names of its rooms. */
  memberships(): Iterable<
    readonly [user: string | undefined, rooms: Iterable<string>]
  >;
}

/** Sorts nodes: the longest running first. */
export function byStart(a: NodeState, b: NodeState): number {
  return a.started - b.started || (a.id < b.id ? -1 : 1);
}
