/**
 * A client's session: what Roomcast remembers of it, so that it can reconnect to any node.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { GapReason } from "../log/gaps.ts";
import { randomText } from "../util/random.ts";

/**
 * Something that was sent to a client without knowing whether it arrived: a reply to a join that held messages, or a
 * gap. Every event of Roomcast ends with an offset, and a stock client sends the last one back when it reconnects. If
 * that offset does not confirm the notice, it is sent again.
 */
export interface Notice {
  /** The id at which it was sent. A later id in the client's offset confirms it. */
  readonly at: string;
  /** Its number in this generation of the session. The same or a higher number in the offset confirms it. */
  readonly number: number;
  /** The reason, if it was a gap. */
  readonly gap?: GapReason;
}

/** A client's position in one of its rooms. */
export interface RoomPosition {
  /** The client gets what comes after this id. If `told` is a reply, this is the id before its first message. */
  readonly since: string;
  /** The last notice about this room. */
  readonly told?: Notice;
}

/** What is remembered of a client. The client itself sends up to where it has received messages. */
export interface Session {
  /** Its rooms, in the order in which it joined them. */
  readonly rooms: readonly (readonly [room: string, position: RoomPosition])[];
  /** The log's epoch when the session was saved last. */
  readonly epoch: string;
  /** The log's lineage when the session was saved last. */
  readonly lineage: string;
  /** Incremented at each recovery. If two connections hold one session, the higher generation is current. */
  readonly generation: number;
  /**
   * A random name of the connection that has resumed the session. Empty in a session that was saved by a node from
   * before 2026-11-29.
   */
  readonly owner: string;
  /** Whether the client was disconnected because it did not read. */
  readonly overloaded?: boolean;
}

/** What a session stores of a client. */
export interface SessionState {
  readonly digest: string;
  readonly generation: number;
  readonly owner: string;
  /** The version of the stored session that it resumes; undefined once that is saved. */
  takesUp: string | undefined;
  /** Its rooms, in the order in which it joined them. */
  readonly rooms: ReadonlyMap<string, RoomPosition>;
  /** Whether it was disconnected because it did not read. */
  readonly overloaded: boolean;
}

/** Returns a random name for a new connection of a session. */
export function newOwner(): string {
  return randomText(9);
}

/** Returns the secret of a new session: 144 random bits. Whoever sends it gets the session's rooms. */
export function newSessionSecret(): string {
  return randomText(18);
}

/** Returns what a session is stored under. It is a hash, so that nobody can resume sessions by reading Redis. */
export function hashSessionSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("base64url");
}
