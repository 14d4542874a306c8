/**
 * One client of this node, independent of the client's protocol: its principal, its rooms, and the subscriber that
 * writes to it.
 *
 * @module
 */
import {
  keepGrants,
  type Principal,
  type RoomGrant,
  type RoomGrants,
  userOf,
  withGrant,
} from "../access/principal.ts";
import type { Verdict } from "../access/verdict.ts";
import type { Subscriber } from "../delivery/subscriber.ts";
import { ApiError } from "../errors.ts";
import type { Usage } from "../limits/rate_limit.ts";
import type { JoinResult } from "../recovery/join_result.ts";
import {
  clientIdOf,
  newOwner,
  type RoomPosition,
  type SessionState,
} from "../sessions/session.ts";
import { CONNECT_NUMBER, type NoticeNumber } from "./missed.ts";

/** Options of {@linkcode Client}. */
export interface ClientOptions {
  readonly principal: Principal;
  /** The hash of the session's secret. */
  readonly digest: string;
  /** The id of the client. If it is not given, the client gets the id of its session. */
  readonly id?: string | undefined;
  readonly generation: number;
  /** The version of the stored session that the client resumes; undefined if its session is new. */
  readonly resumedVersion: string | undefined;
  readonly rooms: Map<string, RoomPosition>;
  /** The last directive that was applied to the client, as in `Session.directed`; undefined if there was none. */
  readonly directed?: string | undefined;
  /** Rooms of the token that the client has left, as in `Session.left`; none if not given. */
  readonly left?: ReadonlySet<string> | undefined;
  /** The headers of the client's handshake that are passed on to hooks; none if not given. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Whether the client has no session; `false` if not given. */
  readonly isTransient?: boolean;
}

const NO_HEADERS = Object.freeze({});

/**
 * One connection of a client. If the client reconnects, a new object is created, with the next generation of the
 * session.
 */
export class Client implements SessionState {
  /** Who the client is and what it may do. Replaced when the client refreshes its token. */
  principal: Principal;
  readonly digest: string;
  readonly generation: number;
  readonly owner = newOwner();
  /** The id that the client has kept from an earlier session, as in `Session.inheritedId`; undefined if it has none. */
  readonly inheritedId: string | undefined;
  resumedVersion: string | undefined;
  readonly rooms: Map<string, RoomPosition>;
  /**
   * Whether the client has no session. It then names its rooms and its position itself when it comes back, so that it
   * needs nothing that is stored.
   */
  readonly isTransient: boolean;
  directed: string | undefined;
  /** Rooms of the token that the client has left, as in `Session.left`. */
  left: ReadonlySet<string> | undefined;
  /** The headers of the client's handshake that are passed on to hooks. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * The rooms that the client is leaving. They are no longer in `rooms`, but the client receives their messages until
   * its session is saved. Undefined until the client first leaves a room.
   */
  leaving: Set<string> | undefined;
  /** Writes to the client; undefined while the client is not connected. */
  subscriber: Subscriber | undefined;
  /** How many events the client has sent lately; undefined until it sends one. */
  events: Usage | undefined;
  /** Number of the client's requests in flight. */
  requests = 0;
  /** The number of the client's latest join. Connecting counts as the first join. */
  joinNumber = CONNECT_NUMBER;
  /** The number of the latest join whose answer had messages or a gap. The client has to confirm such an answer. */
  noticeNumber = CONNECT_NUMBER;
  /**
   * The rooms for which a grant is being asked for, without those out of which a backend has taken the client since.
   * Undefined until the client first asks for one.
   */
  asking: Set<string> | undefined;
  overloaded = false;

  /** Creates a client that is not connected yet and has no subscriber. */
  constructor(
    { principal, digest, generation, resumedVersion, rooms, ...rest }:
      ClientOptions,
  ) {
    const { id, directed, left, headers, isTransient = false } = rest;
    this.headers = headers ?? NO_HEADERS;
    this.isTransient = isTransient;
    this.principal = principal;
    this.digest = digest;
    this.inheritedId = id === clientIdOf(digest) ? undefined : id;
    this.generation = generation;
    this.resumedVersion = resumedVersion;
    this.rooms = rooms;
    this.directed = directed;
    this.left = left;
  }

  /**
   * The client's id. A client keeps it in a new session that continues an earlier one. Otherwise backends, which know the
   * client only by its id, could not take back what they have allowed the client in the earlier one.
   */
  get id(): string {
    return clientIdOf(this.digest, this.inheritedId);
  }

  /** What the connect hook has decided about the client; undefined if it was not asked. */
  get verdict(): Verdict | undefined {
    return this.principal.verdict;
  }

  /** The seal of the client's token, as in `Session.seal`; undefined if it has none. */
  get seal(): string | undefined {
    return this.principal.seal;
  }

  /** The user to whom the client's session belongs, as `userOf()` returns it. */
  get user(): string | undefined {
    return userOf(this.principal);
  }

  /**
   * The grants that the client's session stores. For a client that neither has a token nor was let in by the connect
   * hook, grants of room tokens are not stored, and the client sends the room tokens again. Otherwise somebody with a
   * stolen secret of the session could join the rooms of the room tokens.
   */
  get grants(): RoomGrants {
    const isSomebody = this.principal.kind === "client";
    const isStored = ({ by }: RoomGrant) => isSomebody || by !== "token";
    return keepGrants(this.principal, (_, grant) => isStored(grant)).grants;
  }
}

/** What the server of a protocol sends to a client in the synchronous step in which the client joins rooms. */
export interface Joined {
  /**
   * The position up to which this node has delivered messages. All messages that the client receives by fan-out come
   * after this position.
   */
  readonly position: string;
  /** The id in `position`. */
  readonly id: string;
  /**
   * One result for each room. The gaps in these results have already been sent. If the client is connecting, the
   * messages have been sent too; otherwise the answer to `join` has to contain them.
   */
  readonly rooms: readonly JoinResult[];
  /**
   * The notice that the client has to confirm; undefined if there is none. The protocol's server puts the notice's
   * number into the offset of the last event that it writes for this `Joined`.
   */
  readonly notice?: NoticeNumber & { readonly room: string };
}

/**
 * Writes a {@linkcode Joined} to a client. The function must write synchronously; otherwise a newer message could be
 * delivered before.
 */
export type Tell = (joined: Joined) => void;

/** Creates the error for a client that would be in more than `roomsMax` rooms. */
export function tooManyRooms(roomsMax: number): ApiError {
  return new ApiError(
    "too_many_rooms",
    `Cannot join: a client may be in at most ${roomsMax} rooms; name fewer rooms or leave some`,
  );
}

/**
 * Creates the error for a client whose missed messages cannot be read fast enough: while the node reads them, its ring
 * drops newer messages that the client needs too.
 */
export function tooFast(verb: "connect" | "join"): ApiError {
  return new ApiError(
    "overloaded",
    `Cannot ${verb}: this node receives new messages faster than it can read the missed ones; ${verb} again later`,
  );
}

/** Gives a client a grant for a room instead of the one that it has; none if `grant` is undefined. */
export function setGrant(
  client: Client,
  room: string,
  grant: RoomGrant | undefined,
): void {
  client.principal = withGrant(client.principal, room, grant);
}

/** Records whether a client has left a room of its token, so that resuming its session does not join the room again. */
export function noteLeft(client: Client, room: string, hasLeft: boolean): void {
  if (!hasLeft && client.left === undefined) return;
  const left = new Set(client.left);
  if (hasLeft && client.principal.rooms.includes(room)) left.add(room);
  else left.delete(room);
  client.left = left.size > 0 ? left : undefined;
}
