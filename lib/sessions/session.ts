/**
 * A client's session: what Roomcast stores of a client so that the client can reconnect to any node.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { RoomGrants } from "../access/principal.ts";
import type { Verdict } from "../access/verdict.ts";
import type { GapReason } from "../log/gaps.ts";
import { randomText } from "../util/random.ts";

/**
 * A gap, an answer to `join` that contained messages, or the replay of messages from before the client's offset, which
 * the client had not received. Every event that Roomcast sends ends with an offset, and a stock client sends the last
 * offset that it received when it reconnects. If the client's offset does not confirm that the notice arrived, Roomcast
 * sends the notice again.
 */
export interface Notice {
  /**
   * The id up to which messages had been delivered when the notice was sent. A later id in the client's offset confirms
   * the notice. If the notice is a replay: the id in the client's offset before the replay. Any other id confirms it.
   */
  readonly at: string;
  /**
   * The number of the notice, counted since the client last connected. The same or a higher number in the client's
   * offset confirms the notice.
   */
  readonly number: number;
  /** The reason of the gap; undefined if the notice is not a gap. */
  readonly gap?: GapReason;
}

/** The client's state in one of its rooms, as the session stores it. */
export interface RoomPosition {
  /**
   * The id after which the client gets the room's messages. If `notice` is not a gap, it begins with the room's first
   * message after this id.
   */
  readonly since: string;
  /** The last notice that was sent to the client about this room; undefined if the client has no notice to confirm. */
  readonly notice?: Notice;
}

/**
 * The stored session of a client. The session does not contain the id up to which the client has received messages,
 * because the client sends that id when it reconnects.
 */
export interface Session {
  /** The client's rooms, in the order in which it joined them. */
  readonly rooms: readonly (readonly [room: string, position: RoomPosition])[];
  /** The log's epoch when the session was saved last. */
  readonly epoch: string;
  /** The log's lineage when the session was saved last. */
  readonly lineage: string;
  /**
   * Rises each time a client reconnects with the session. If two connections use the same session, the one with the
   * higher generation is current.
   */
  readonly generation: number;
  /**
   * A random name of the connection that uses the session. Empty if a version of Roomcast from before 2026-11-29 has
   * saved the session.
   */
  readonly owner: string;
  /** Whether Roomcast disconnected the client because the client did not read its messages. */
  readonly overloaded?: boolean;
  /**
   * The user to whom the session belongs, as `userOf()` in `lib/access/principal.ts` returns it. Only the same user can
   * resume the session.
   */
  readonly user?: string;
  /** What the client may do in single rooms of the session, beside the rights of its token; undefined if nothing. */
  readonly grants?: RoomGrants;
  /** What the connect hook has decided about the client; undefined if it was not asked. */
  readonly verdict?: Verdict;
  /**
   * The seal of the client's token, as in `lib/access/seals.ts`, so that other nodes need not verify the token;
   * undefined if it has none. Whatever the session says, only a seal that a node has made counts.
   */
  readonly seal?: string;
  /**
   * The id of the last directive of a backend (`lib/directives/`) that was applied to the client or came before the
   * session; undefined if there was none.
   */
  readonly directed?: string;
  /**
   * Rooms of the client's token that the client has left, or out of which a backend has taken it. They are not joined
   * again when the session is resumed; undefined if there are none.
   */
  readonly left?: ReadonlySet<string>;
  /**
   * The id of the client, if the client has kept it from an earlier session that this one continues; undefined if the
   * client has the id of this session. {@linkcode clientIdOf} returns the id in both cases.
   */
  readonly inheritedId?: string;
}

/** The state of a connected client, from which its session is saved. */
export interface SessionState {
  /** Whether the client has no session, so that its state is never saved; `false` if not given. */
  readonly isTransient?: boolean;
  /** The hash of the session's secret. */
  readonly digest: string;
  readonly generation: number;
  readonly owner: string;
  /**
   * The version of the stored session with which the client has reconnected; undefined for a new client, and after the
   * first save.
   */
  resumedVersion: string | undefined;
  /** The client's rooms, in the order in which it joined them. */
  readonly rooms: ReadonlyMap<string, RoomPosition>;
  /** Whether Roomcast disconnected the client because the client did not read its messages. */
  readonly overloaded: boolean;
  /** The user to whom the session belongs, as in {@linkcode Session.user}. */
  readonly user?: string | undefined;
  /** Grants for rooms. Those for rooms that are not in `rooms` are not saved. */
  readonly grants?: RoomGrants;
  /** What the connect hook has decided about the client, as in {@linkcode Session.verdict}. */
  readonly verdict?: Verdict | undefined;
  /** The seal of the client's token, as in {@linkcode Session.seal}. */
  readonly seal?: string | undefined;
  /** The last directive that was applied to the client, as in {@linkcode Session.directed}. */
  readonly directed?: string | undefined;
  /** Rooms of the client's token that the client has left, as in {@linkcode Session.left}. */
  readonly left?: ReadonlySet<string> | undefined;
  /** The id that the client has kept from an earlier session, as in {@linkcode Session.inheritedId}. */
  readonly inheritedId?: string | undefined;
}

/** Number of characters in the id of a client. */
const ID_LENGTH = 16;

/** Returns whether a text has the form of a client's id. */
export function isClientId(text: string): boolean {
  return text.length === ID_LENGTH && /^[\w-]+$/.test(text);
}

/**
 * Returns the id of the client of a session: the id that the session has from an earlier one, otherwise the first 96
 * bits of the hash of its own secret. An id is not secret: neither the secret nor the hash can be computed from it.
 *
 * @param digest The hash of the session's secret.
 * @param inheritedId As in {@linkcode Session.inheritedId}.
 */
export function clientIdOf(digest: string, inheritedId?: string): string {
  return inheritedId ?? digest.slice(0, ID_LENGTH);
}

/** Returns a random name for a connection that uses a session, for {@linkcode Session.owner}. */
export function newOwner(): string {
  return randomText(9);
}

/** Returns the secret of a new session: 144 random bits. A client that sends the secret resumes the session. */
export function newSessionSecret(): string {
  return randomText(18);
}

/**
 * Returns the hash of a session's secret, under which the session is stored. Because the secret itself is not stored,
 * read access to Redis is not enough to resume a session.
 */
export function hashSessionSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("base64url");
}
