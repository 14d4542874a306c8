/**
 * Limits how many sessions vanished clients may leave behind.
 *
 * A session outlives its connection, so that its client can reconnect. A client that connects again and again as a new
 * one would otherwise fill Redis, because nothing limits how often it may connect while its sessions are kept.
 *
 * @module
 */
import type { SessionState } from "./session.ts";

/** What a session takes in Redis besides its rooms, and what a room takes besides its name, in bytes. Both are rough. */
const SESSION_BYTES = 300, ROOM_BYTES = 60;

/** A session whose client is not connected to this node any more. */
export interface LeftSession {
  readonly digest: string;
  readonly owner: string;
  readonly bytes: number;
  /** When the store deletes it by itself, in ms. */
  readonly expires: number;
}

/** The sessions that were left behind on this node and that may still be in the store. */
export class LeftSessions {
  readonly #bytesMax: number;
  readonly #lifetimeMs: number;
  /** By digest. The one that was left longest ago comes first. */
  readonly #left = new Map<string, LeftSession>();
  #bytes = 0;

  /** Allows sessions of `bytesMax` bytes, each for `lifetimeMs`. */
  constructor(bytesMax: number, lifetimeMs: number) {
    this.#bytesMax = bytesMax;
    this.#lifetimeMs = lifetimeMs;
  }

  /** Bytes of all sessions, as they are counted. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Adds the session of a client that has vanished.
   *
   * @returns The sessions that have to be deleted so that the limit is kept: those that were left longest ago.
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
