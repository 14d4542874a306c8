/**
 * Limits the memory of sessions whose clients have disconnected without leaving.
 *
 * A session is kept after its connection has closed, so that its client can reconnect. A client that repeatedly
 * connects as a new client would otherwise fill Redis, because nothing limits how often it may connect while its
 * sessions are kept.
 *
 * @module
 */
import type { SessionState } from "./session.ts";

/** Estimated bytes of a session in Redis without its rooms, and of a room without its name. */
const SESSION_BYTES = 300, ROOM_BYTES = 60;

/** The session of a client that has disconnected from this node. */
export interface LeftSession {
  readonly digest: string;
  readonly owner: string;
  readonly bytes: number;
  /** Time at which the store deletes the session, in ms of `performance.now()`. */
  readonly expires: number;
}

/** The sessions of this node's former clients that may still be in the store. */
export class LeftSessions {
  readonly #bytesMax: number;
  readonly #lifetimeMs: number;
  /** The sessions by digest, in the order in which their clients disconnected. */
  readonly #left = new Map<string, LeftSession>();
  #bytes = 0;

  /**
   * Creates an empty collection. The sessions may take `bytesMax` bytes together, and each expires after `lifetimeMs`.
   */
  constructor(bytesMax: number, lifetimeMs: number) {
    this.#bytesMax = bytesMax;
    this.#lifetimeMs = lifetimeMs;
  }

  /** Estimated bytes of all sessions. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Adds the session of a client that has disconnected without leaving.
   *
   * @returns The sessions that the caller has to delete to keep the limit. They are those whose clients disconnected
   * first.
   */
  add({ digest, owner, rooms }: SessionState): LeftSession[] {
    this.delete(digest);
    let bytes = SESSION_BYTES;
    for (const room of rooms.keys()) bytes += ROOM_BYTES + 2 * room.length;
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

  /** Removes a session that was resumed or deleted. */
  delete(digest: string): void {
    const left = this.#left.get(digest);
    if (left === undefined) return;
    this.#left.delete(digest);
    this.#bytes -= left.bytes;
  }
}
