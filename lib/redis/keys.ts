/**
 * The names of Roomcast's keys in Redis.
 *
 * @module
 */

/** The names of all keys of one installation. */
export interface Keys {
  /** The log: the stream that every node reads. */
  readonly log: string;
  /** The name of the current epoch, and the id of the entry with which the epoch began. */
  readonly epoch: string;
  /** The rooms that have had messages recently (`lib/redis_log/known_rooms.ts`). */
  readonly rooms: string;
  /** The Redis server for which the epoch is confirmed, with that server's replication history. */
  readonly server: string;
  /** The nodes that use this log, each with the time of its last check. */
  readonly nodes: string;
  /** For each node, how many times the node has saved sessions. */
  readonly saves: string;
  /** A key whose value means nothing. It is written only so that replicas have a new write to confirm. */
  readonly touched: string;
  /** Returns the key of a room's history. */
  history(room: string): string;
  /** Returns the key that holds the ids of the messages published with an idempotency key. */
  idempotency(key: string): string;
  /** Returns the key of a client's session; `digest` is the hash of the session's secret. */
  session(digest: string): string;
  /** The revoked users and tokens. */
  readonly revocations: string;
  /** The newest of the revocations, in the order in which they were stored. */
  readonly revocationChanges: string;
  /** What backends want to be done with clients (`lib/directives/`). */
  readonly directives: string;
  /** The nodes that report which rooms they serve, each with the time of its last heartbeat (`lib/occupancy/`). */
  readonly occupancy: string;
  /** For each of these nodes, its state as JSON. */
  readonly occupancyStates: string;
  /** For each of these nodes, how many times it has written. */
  readonly occupancyVersions: string;
  /** The nodes that no longer run and whose entries have to be deleted. */
  readonly occupancyGone: string;
  /** Exists for some seconds after Redis was not reachable. No node counts as stopped meanwhile. */
  readonly occupancyGrace: string;
  /** The names of the rooms that have clients. */
  readonly occupancyRooms: string;
  /** Returns the key of the rooms that a node has reported; `tag` is the name under which the node writes. */
  occupancyReported(tag: string): string;
  /** Returns the key that holds, for each node, how many clients it has in a room. */
  occupancyClients(room: string): string;
  /** Returns the key that holds the users in a room, each with the nodes that serve it. */
  occupancyUsers(room: string): string;
  /** The gaps of the bridge: each is the id of a log entry before which messages of Redis channels may be missing. */
  readonly gaps: string;
  /**
   * The bridge's state: the last message of the Redis channels up to which the log is complete, and the node that
   * appended last.
   */
  readonly bridge: string;
  /** The nodes that may subscribe to the Redis channels. */
  readonly bridgeListeners: string;
  /** The nodes that can append the messages that they receive from Redis channels. */
  readonly bridgeSynchronized: string;
}

/**
 * Returns the names of all keys of the installation with this prefix (`KEY_PREFIX`). The names share a hash tag, so
 * that all keys are in one slot of a Redis Cluster.
 */
export function keysOf(prefix: string): Keys {
  const base = `${prefix}:{${prefix}}:`;
  return {
    log: `${base}log`,
    epoch: `${base}epoch`,
    rooms: `${base}rooms`,
    server: `${base}server`,
    nodes: `${base}nodes`,
    saves: `${base}saves`,
    touched: `${base}touched`,
    history: (room) => `${base}history:${room}`,
    idempotency: (key) => `${base}key:${key}`,
    session: (digest) => `${base}session:${digest}`,
    revocations: `${base}revocations`,
    revocationChanges: `${base}revocations:changes`,
    directives: `${base}directives`,
    occupancy: `${base}occupancy`,
    occupancyStates: `${base}occupancy:states`,
    occupancyVersions: `${base}occupancy:versions`,
    occupancyGone: `${base}occupancy:gone`,
    occupancyGrace: `${base}occupancy:grace`,
    occupancyRooms: `${base}occupancy:rooms`,
    occupancyReported: (tag) => `${base}occupancy:reported:${tag}`,
    occupancyClients: (room) => `${base}occupancy:clients:${room}`,
    occupancyUsers: (room) => `${base}occupancy:users:${room}`,
    gaps: `${base}gaps`,
    bridge: `${base}bridge`,
    bridgeListeners: `${base}bridge:seats`,
    bridgeSynchronized: `${base}bridge:in-step`,
  };
}
