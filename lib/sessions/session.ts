/**
 * A client's session: the state that Roomcast stores so that the client can reconnect to any node.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { GapReason } from "../log/gaps.ts";
import { randomText } from "../util/random.ts";

/**
 * An answer to a join that contained messages, or a gap. Roomcast cannot see whether it arrived until the client
 * confirms it. Every event of Roomcast ends with an offset, and a stock client sends its last offset when it
 * reconnects. If that offset does not confirm the notice, the notice is sent again.
 */
export interface Notice {
  /** The id at which the notice was sent. A later id in the client's offset confirms it. */
  readonly at: string;
  /**
   * The number of the notice in this generation of the session. The same or a higher number in the offset confirms it.
   */
  readonly number: number;
  /** The reason of a gap; undefined for an answer. */
  readonly gap?: GapReason;
}

/** A client's position in one of its rooms. */
export interface RoomPosition {
  /** The id after which the client gets messages. If `told` is an answer, this is the id before its first message. */
  readonly since: string;
  /** The last notice about this room. */
  readonly told?: Notice;
}

/**
 * The stored state of a client. The id up to which the client has received messages is not stored, because the client
 * sends it.
 */
export interface Session {
  /** The client's rooms, in the order in which it joined them. */
  readonly rooms: readonly (readonly [room: string, position: RoomPosition])[];
  /** The log's epoch when the session was saved last. */
  readonly epoch: string;
  /** The log's lineage when the session was saved last. */
  readonly lineage: string;
  /** Incremented at each recovery. If two connections hold one session, the higher generation is current. */
  readonly generation: number;
  /**
   * A random name of the connection that has resumed the session. Empty if the session was saved by a version from
   * before 2026-11-29.
   */
  readonly owner: string;
  /** Whether the client was disconnected because it did not read. */
  readonly overloaded?: boolean;
}

/** The state of a client that its session stores. */
export interface SessionState {
  readonly digest: string;
  readonly generation: number;
  readonly owner: string;
  /** The version of the stored session that the client resumes; undefined once the new version is saved. */
  takesUp: string | undefined;
  /** The client's rooms, in the order in which it joined them. */
  readonly rooms: ReadonlyMap<string, RoomPosition>;
  /** Whether the client was disconnected because it did not read. */
  readonly overloaded: boolean;
}

/** Returns a random name for a new connection of a session; see {@linkcode Session.owner}. */
export function newOwner(): string {
  return randomText(9);
}

/** Returns the secret of a new session: 144 random bits. A client with the secret gets the rooms of the session. */
export function newSessionSecret(): string {
  return randomText(18);
}

/**
 * Returns the hash under which a session is stored. It replaces the secret, so that a reader of Redis cannot resume
 * sessions.
 */
export function hashSessionSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("base64url");
}
