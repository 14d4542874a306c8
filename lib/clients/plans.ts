/**
 * Determines which rooms a connecting client joins, and for which messages it has to ask in each of them.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import {
  currentGrants,
  isExpired,
  keepGrants,
  type Principal,
  type RoomGrant,
  withGrants,
} from "../access/principal.ts";
import type { Directives } from "../directives/directives.ts";
import { ApiError, toApiError } from "../errors.ts";
import type { Log } from "../log/log.ts";
import { compareIds } from "../log/position.ts";
import type { Observe } from "../observer.ts";
import {
  type JoinRequest,
  parseJoinRequest,
} from "../recovery/join_request.ts";
import type { Recovery } from "../recovery/recovery.ts";
import type { ReplayHold } from "../recovery/replay_hold.ts";
import type { Session } from "../sessions/session.ts";
import type { StoredSession } from "../sessions/store.ts";
import { once } from "../util/once.ts";
import {
  type Asked,
  askedRooms,
  type LostRoom,
  requestsNamed,
} from "./asked_rooms.ts";
import { assignedRooms } from "./assigned_rooms.ts";
import { grantAll } from "./granted.ts";
import type { KnownHello } from "./hello.ts";
import { missedBy } from "./missed.ts";

/**
 * The result of loading a session. `none`: the client sent no secret, or its user has no session with this secret.
 * `ended`: a backend has disconnected the client of the session, and `directed` is the last directive before that.
 * `unreachable`: Redis does not reply, or may lack the newest sessions because not all nodes have confirmed that it has
 * every message.
 */
export type Loaded =
  | { readonly kind: "none" | "unreachable" }
  | { readonly kind: "ended"; readonly directed: string | undefined }
  | { readonly kind: "found"; readonly stored: StoredSession };

/** The requests for rooms that have to be prepared for a connecting client. */
export interface Plan {
  readonly requests: readonly JoinRequest[];
  /** The client's principal, with its grants for the rooms of the requests. */
  readonly principal: Principal;
  /** Whether the client's session was found and `requests` has one request for each of the session's rooms. */
  readonly isWhole: boolean;
  /**
   * The reason why the session that the client wants to resume no longer exists; undefined if it exists or if the
   * client wants a new session.
   */
  readonly gone?: "expired" | "epoch" | undefined;
  /** The rooms that the client was in, or that a stream names again, and that it does not get. The client is told. */
  readonly lost?: readonly LostRoom[];
  /** Rooms of the token that the client has left, as in `Session.left`. */
  readonly left?: ReadonlySet<string>;
}

/** Options of {@linkcode Plans}. */
export interface PlansOptions {
  readonly log: Pick<Log, "head">;
  readonly recovery: Pick<Recovery, "isOfThisLog">;
  readonly access: Access;
  /** What backends want to be done with clients. */
  readonly directives: Pick<Directives, "after">;
  /** Default rooms (`ROOMS`): a client joins them if it names no rooms when it connects. */
  readonly rooms: readonly string[];
  readonly roomsPerClientMax: number;
  readonly observe: Observe;
}

/** Determines for connecting clients which rooms they join. */
export class Plans {
  readonly #options: PlansOptions;
  readonly #onNoRooms = once(() =>
    this.#options.observe({ kind: "client_without_rooms" })
  );

  /** Stores the options, with the parts of the node that a plan needs. */
  constructor(options: PlansOptions) {
    this.#options = options;
  }

  /**
   * Returns the requests for the rooms of the client's session. If there is no session, returns the requests for the
   * rooms that the client names, or for the default rooms.
   *
   * @param hold The hold of the client. If the client is gone, the log is not read for it.
   * @throws {ApiError} if the client names a room that is not valid or that it may not join
   */
  async plan(
    hello: KnownHello,
    loaded: Loaded,
    hold: ReplayHold,
  ): Promise<Plan> {
    const { secret, shown } = hello;
    if (loaded.kind === "found") {
      const { session } = loaded.stored;
      const trusted = await this.#trusted(session, shown?.id, hold);
      return await this.#planResumed(hello, session, trusted);
    }
    const isUnreachable = loaded.kind === "unreachable";
    const asked = await this.#asked(hello, isUnreachable);
    const { requests, principal, lost } = asked;
    if (isUnreachable) {
      return {
        principal,
        requests: requests.map((request) => continueAt(request, shown?.id)),
        isWhole: false,
      };
    }
    const gone = secret === undefined ? undefined : this.#whyGone(shown?.id);
    return { requests, principal, isWhole: false, gone, lost };
  }

  /**
   * Returns the requests of a client without its session. If the session cannot be loaded, it may have a grant for a
   * room that the client names. A refusal would then stop the client for good because of an outage.
   */
  async #asked(hello: KnownHello, isUnreachable: boolean): Promise<Asked> {
    try {
      const asked = await askedRooms(hello, this.#options);
      const namesNone = hello.rooms === undefined;
      if (namesNone && asked.requests.length === 0) this.#onNoRooms();
      return asked;
    } catch (error) {
      const { code } = toApiError(error);
      const isRefused = code === "forbidden" || code === "unauthorized";
      if (!isUnreachable || !isRefused) throw error;
      throw new ApiError(
        "log_unreachable",
        "Cannot connect: the client's session, which may allow a room that it names, cannot be loaded from Redis; connect again later",
      );
    }
  }

  /**
   * Returns the requests for the messages that a client with a session missed. Leaves out rooms that the client may no
   * longer join. If any room is left out, or the session cannot be trusted and may lack rooms, the client is not reported
   * as `recovered`. Adds the rooms of the client's token that the client has not left, because the token may be newer
   * than the session. Applies what backends have directed since the session was saved: takes the client out of rooms and
   * puts it into others, unless its user was revoked after that.
   *
   * Leaves out rooms beyond `roomsPerClientMax`, which may be lower than when the session was saved. The rooms that the
   * client joined first stay, and those of the session come before those of the token. The client is told about each
   * room that is left out, except for those into which a backend has put it since: their directives are applied to the
   * connected client, which reports that they have failed.
   *
   * The grants of the session count. A new grant is asked for only if the client may otherwise no longer be in a room.
   *
   * @param trusted The session as `#trusted()` returns it.
   * @throws {ApiError} If the token names a room that is not valid or that it does not allow
   */
  async #planResumed(
    { principal, asker, shown, rooms }: KnownHello,
    session: Session,
    trusted: Session,
  ): Promise<Plan> {
    const { access, directives, roomsPerClientMax, observe } = this.#options;
    const { removed, added: put, grants } = assignedRooms(
      session,
      directives.after(session.directed, principal.user, asker.client),
    );
    const missed = missedBy(trusted, shown).filter(({ room }) =>
      !removed.has(room)
    );
    const now = Date.now();
    const holder = withGrants(principal, currentGrants(grants, now));
    const doubtful = missed.map(({ room }) => room)
      .filter((room) => !access.mayStay(holder, room));
    // Most clients that reconnect may stay in all their rooms, so what they name need not be read.
    const named = doubtful.length === 0 ? undefined : requestsNamed(rooms);
    const ofToken = requestsOfToken(principal, session, put);
    const directed = [...put].map((room) => ({ room }));
    const granted = await grantAll(
      access,
      holder,
      [
        ...doubtful.map((room) => named?.get(room) ?? { room }),
        ...ofToken,
        ...directed,
      ],
      asker,
    );
    const { refusals } = granted;
    const [refusal] = ofToken.flatMap(({ room }) => refusals.get(room) ?? []);
    if (refusal !== undefined) throw refusal.inFull();
    const isAllowed = ({ room }: JoinRequest) => !refusals.has(room);
    const stay = missed.filter(isAllowed);
    const wanted = [...stay, ...ofToken, ...directed.filter(isAllowed)];
    const requests = wanted.slice(0, roomsPerClientMax);
    const beyond = wanted.slice(roomsPerClientMax)
      .map(({ room }) => room).filter((room) => !put.has(room));
    if (beyond.length > 0) {
      observe({ kind: "limited", limit: "too_many_rooms" });
    }
    const joined = new Set(requests.map(({ room }) => room));
    const left = principal.rooms.filter((room) =>
      !joined.has(room) && (removed.has(room) || session.left?.has(room))
    );
    return {
      requests,
      principal: keepGrants(granted.principal, (room) => joined.has(room)),
      isWhole: trusted === session &&
        missed.every(({ room }) => joined.has(room)),
      ...left.length > 0 && { left: new Set(left) },
      lost: [
        ...[...removed, ...beyond].map(removedRoom),
        ...doubtful.filter((room) => refusals.has(room))
          .map((room) => refusedRoom(room, grants.get(room), now)),
      ],
    };
  }

  /**
   * Returns a session unchanged if it can be trusted. Otherwise returns a copy without a valid epoch, so that the
   * client receives the gap `epoch` in all rooms. A session cannot be trusted if its lineage is an earlier one, because
   * it may lack rooms, or if the id `id` in the client's offset is not in this log.
   */
  async #trusted(
    session: Session,
    id: string | undefined,
    hold: ReplayHold,
  ): Promise<Session> {
    const { log, recovery } = this.#options;
    const isTrusted = session.lineage === log.head.lineage &&
      (id === undefined || await recovery.isOfThisLog(id, hold));
    return isTrusted ? session : { ...session, epoch: "" };
  }

  /**
   * Returns why a session no longer exists, where `id` is the id in the client's offset: `epoch` if `id` is older than
   * the log, so that an earlier log was lost together with the session; otherwise `expired`.
   */
  #whyGone(id: string | undefined): "expired" | "epoch" {
    const { began } = this.#options.log.head;
    return id !== undefined && compareIds(id, began) < 0 ? "epoch" : "expired";
  }
}

/** Returns the entry of {@linkcode Plan.lost} for a room of a session out of which its client was taken. */
function removedRoom(room: string): LostRoom {
  return { room, reason: "removed" };
}

/**
 * Returns the entry of {@linkcode Plan.lost} for a room of a session that its client may no longer be in. `grant` is the
 * client's last grant for the room.
 */
function refusedRoom(
  room: string,
  grant: RoomGrant | undefined,
  now: number,
): LostRoom {
  const hasExpired = isExpired(grant?.expiresAt, now);
  return { room, reason: hasExpired ? "expired" : "revoked" };
}

/** Returns the requests for the rooms of a client's token about which neither its session nor a backend has decided. */
function requestsOfToken(
  { rooms }: Principal,
  session: Session,
  put: ReadonlySet<string>,
): JoinRequest[] {
  const known = new Set(session.rooms.map(([room]) => room));
  return rooms.map(parseJoinRequest).filter(({ room }) =>
    !known.has(room) && !put.has(room) && !session.left?.has(room)
  );
}

/**
 * Returns a request for the messages after `id`. Returns the request unchanged if it names a position or asks for the
 * newest messages, or if `id` is undefined.
 */
function continueAt(request: JoinRequest, id: string | undefined): JoinRequest {
  return id === undefined || !isOpenEnded(request)
    ? request
    : { ...request, since: { epoch: undefined, id } };
}

/** Returns whether a request asks neither for the messages after a position nor for the newest messages. */
export function isOpenEnded({ since, last }: JoinRequest): boolean {
  return since === undefined && last === undefined;
}
