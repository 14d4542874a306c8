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
  /** A key without meaning, which is written so that replicas have a write to confirm. */
  readonly touched: string;
  /** Returns the key of a room's history. */
  history(room: string): string;
  /** Returns the key that holds the ids of the messages published with an idempotency key. */
  idempotency(key: string): string;
  /** Returns the key of a client's session; `digest` is the hash of the session's secret. */
  session(digest: string): string;
  /**
   * The gaps in the messages of Redis channels: the ids before which some of these messages may be missing from the
   * log.
   */
  readonly gaps: string;
  /** The bridge's state. The next two keys hold the nodes with a listener slot, and the synchronized nodes. */
  readonly bridge: string;
  readonly bridgeListeners: string;
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
    gaps: `${base}gaps`,
    bridge: `${base}bridge`,
    bridgeListeners: `${base}bridge:seats`,
    bridgeSynchronized: `${base}bridge:in-step`,
  };
}
