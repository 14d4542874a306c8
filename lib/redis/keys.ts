/**
 * What things are called in Redis.
 *
 * @module
 */

/** The names of our Redis keys. */
export interface Keys {
  readonly log: string;
  readonly epoch: string;
  /** Which rooms have had messages, see `known_rooms.ts`. */
  readonly rooms: string;
  /** For which server, and which replication history of it, the epoch is confirmed. */
  readonly server: string;
  /** The nodes that take part, and how many times each has saved sessions. */
  readonly nodes: string;
  readonly saves: string;
  /** Written so that there is something for replicas to confirm. */
  readonly touched: string;
  history(room: string): string;
  idempotency(key: string): string;
  session(digest: string): string;
  /** The gaps of Redis channels. */
  readonly gaps: string;
  /** How far the bridge is, who may listen, and who is in step. */
  readonly bridge: string;
  readonly bridgeSeats: string;
  readonly bridgeInStep: string;
}

/** The names of our keys: all with the prefix, all on one slot of a cluster. */
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
    bridgeSeats: `${base}bridge:seats`,
    bridgeInStep: `${base}bridge:in-step`,
  };
}
