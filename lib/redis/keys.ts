/**
 * The names of Roomcast's keys in Redis.
 *
 * @module
 */

/** The names of all keys of one installation. */
export interface Keys {
  /** The log: the stream that every node reads. */
  readonly log: string;
  /** The name of the current epoch, and the id of the entry with which it began. */
  readonly epoch: string;
  /** The rooms that have had messages, see `lib/redis_log/known_rooms.ts`. */
  readonly rooms: string;
  /** The server for which the epoch is confirmed, with its replication history. */
  readonly server: string;
  /** The registered nodes. */
  readonly nodes: string;
  /** The number of times that each node has saved sessions. */
  readonly saves: string;
  /** A key that is written only so that replicas have a write to confirm. */
  readonly touched: string;
  /** The history of a room. */
  history(room: string): string;
  /** The ids of the messages that were published with an idempotency key. */
  idempotency(key: string): string;
  /** A client's session, by the digest of its secret. */
  session(digest: string): string;
  /** The gaps of Redis channels: where their messages may be missing. */
  readonly gaps: string;
  /** The bridge's position, the listeners, and the synchronized nodes. */
  readonly bridge: string;
  readonly bridgeListeners: string;
  readonly bridgeSynchronized: string;
}

/**
 * Returns the names of the keys with a prefix. They share a hash tag, so that all of them are in one slot of a Redis
 * Cluster.
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
