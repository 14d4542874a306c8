/**
 * Limits the memory that stored sessions of disconnected clients need.
 *
 * A session stays stored for some time after its client has disconnected, so that the client can reconnect. Without a
 * limit, a program that connects again and again as a new client would fill Redis with sessions.
 *
 * @module
 */
import type { SessionState } from "./session.ts";

/** Estimated bytes of a stored session without its rooms, its user, its grants, its verdict, its seal and its id. */
const SESSION_BYTES = 300;
/** Estimated bytes of one room in a stored session, without the room's name. */
const ROOM_BYTES = 60;
/** Estimated bytes of a grant in a stored session, without the room's name, the token's id and `info`. */
const GRANT_BYTES = 150;

/** The stored session of a client that has disconnected from this node and may reconnect. */
export interface LeftSession {
  readonly digest: string;
  readonly owner: string;
  readonly bytes: number;
  /** Time of `performance.now()` at which the session expires in the store. */
  readonly expires: number;
}

/** Counts the bytes of the sessions that are stored for clients that have disconnected from this node. */
export class LeftSessions {
  readonly #bytesMax: number;
  readonly #lifetimeMs: number;
  /** The sessions by the hash of their secret, in the order in which their clients disconnected. */
  readonly #left = new Map<string, LeftSession>();
  #bytes = 0;

  /**
   * Starts without sessions. Together, the sessions may have `bytesMax` bytes in the store, where each expires after
   * `lifetimeMs`.
   */
  constructor(bytesMax: number, lifetimeMs: number) {
    this.#bytesMax = bytesMax;
    this.#lifetimeMs = lifetimeMs;
  }

  /** Estimated bytes that all sessions of disconnected clients take in the store. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Adds the session of a client that has just disconnected from this node.
   *
   * @returns The sessions whose clients disconnected first, as many as exceed the limit. The caller has to delete them
   * from the store.
   */
  add(client: SessionState): LeftSession[] {
    const { digest, owner } = client;
    this.delete(digest);
    const bytes = sizeOf(client);
    const now = performance.now();
    const expires = now + this.#lifetimeMs;
    this.#left.set(digest, { digest, owner, bytes, expires });
    this.#bytes += bytes;
    const evicted: LeftSession[] = [];
    for (const oldest of this.#left.values()) {
      const isExpired = oldest.expires <= now;
      if (!isExpired && this.#bytes <= this.#bytesMax) break;
      this.delete(oldest.digest);
      if (!isExpired) evicted.push(oldest);
    }
    return evicted;
  }

  /** Stops counting a session, because a client has resumed the session or it was deleted from the store. */
  delete(digest: string): void {
    const left = this.#left.get(digest);
    if (left === undefined) return;
    this.#left.delete(digest);
    this.#bytes -= left.bytes;
  }
}

/** Returns the estimated bytes that the session of a client takes in the store. */
function sizeOf(
  { rooms, left, user = "", grants, verdict, seal = "", inheritedId = "" }:
    SessionState,
): number {
  let bytes = SESSION_BYTES +
    2 * (user.length + seal.length + inheritedId.length);
  if (verdict !== undefined) bytes += 2 * JSON.stringify(verdict).length;
  for (const room of [...rooms.keys(), ...left ?? []]) {
    bytes += ROOM_BYTES + 2 * room.length;
  }
  for (const [room, { tokenId = "", info = "" }] of grants ?? []) {
    const texts = room.length + tokenId.length + JSON.stringify(info).length;
    bytes += GRANT_BYTES + 2 * texts;
  }
  return bytes;
}
