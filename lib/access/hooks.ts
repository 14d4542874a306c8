/**
 * What the access rules ask hooks, with which a backend decides about clients.
 *
 * @module
 */
import type { RoomGrant } from "./principal.ts";
import type { Verdict } from "./verdict.ts";

/** For which client a hook is asked. */
export interface Asker {
  /** The id of the client. It stays the same if the client resumes its session, and is no secret. */
  readonly client: string;
  /** The headers of the client's handshake that are passed on. */
  readonly headers: Readonly<Record<string, string>>;
  /** Returns whether the client still waits for the answer. */
  readonly isWanted: () => boolean;
}

/** What a client's handshake says about the client. */
export interface Introduction {
  readonly transport: string;
  /** The origin of the page from which the client connects; undefined if it is not a browser. */
  readonly origin: string | undefined;
  readonly address: string;
  /** What the client has sent in `auth` besides what Roomcast uses itself. */
  readonly data: Readonly<Record<string, unknown>>;
  /** The client's token, whatever its type; undefined if it has sent none. */
  readonly token?: unknown;
  /** The headers of the handshake that are passed on. */
  readonly headers: Readonly<Record<string, string>>;
}

/** What the connect hook is told about a client that connects. */
export interface ConnectQuestion extends Asker, Introduction {
  /** The names of the rooms that the client asks for. */
  readonly rooms: readonly string[];
}

/** What the join hook is told about a client that wants to join a room. */
export interface JoinQuestion extends Asker {
  /** The user; undefined if the client has none. */
  readonly user: string | undefined;
  readonly room: string;
  /** What the client has sent in the field `data` of its request; any JSON, or undefined. */
  readonly data?: unknown;
  /** The room token of the client, whatever its type; undefined if it has sent none. */
  readonly token?: unknown;
}

/** The hook that decides who may connect (`CONNECT_HOOK_URL`). */
export interface ConnectHook {
  /**
   * Resolves to what the hook has decided about a client that may connect.
   *
   * @throws {ApiError} `unauthorized` or `forbidden` if the client may not; `hook_unavailable`, which is retryable, if
   * the hook gives no usable answer
   */
  ask(question: ConnectQuestion): Promise<Verdict>;
}

/** The hook that decides who may join rooms (`JOIN_HOOK_URL`). */
export interface JoinHook {
  /** Returns whether the hook is asked about a room (`HOOK_ROOMS`). */
  concerns(room: string): boolean;
  /** Resolves to what a client may do in a room that it may join. Rejects like {@linkcode ConnectHook.ask}. */
  ask(question: JoinQuestion): Promise<RoomGrant>;
}
