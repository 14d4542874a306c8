/**
 * What things are called in Redis.
 *
 * @module
 */

/** The names of our Redis keys. */
export interface Keys {
  readonly log: string;
  readonly epoch: string;
  history(room: string): string;
  idempotency(key: string): string;
  session(digest: string): string;
  lease(name: string): string;
}

/** The names of our keys: all with the prefix, all on one slot of a cluster. */
export function keysOf(prefix: string): Keys {
  const base = `${prefix}:{${prefix}}:`;
  return {
    log: `${base}log`,
    epoch: `${base}epoch`,
    history: (room) => `${base}history:${room}`,
    idempotency: (key) => `${base}key:${key}`,
    session: (digest) => `${base}session:${digest}`,
    lease: (name) => `${base}lease:${name}`,
  };
}
