/**
 * Principals: who a client or publisher is, and what it may do.
 *
 * @module
 */
import type { Misfit } from "./claim_rooms.ts";
import { LEEWAY_SECONDS } from "./claims.ts";
import type { Action, Rights } from "./rights.ts";
import type { Verdict } from "./verdict.ts";

/**
 * What a principal may do in one room in addition to its rights, because it has shown a room token, because a hook has
 * allowed it, or because a backend has put the client into the room.
 */
export interface RoomGrant {
  readonly by: "token" | "hook" | "server";
  readonly actions: readonly Action[];
  /** Time at which the grant expires, in ms since 1970; undefined if it does not expire. */
  readonly expiresAt?: number | undefined;
  /** Time at which the grant was issued, in ms since 1970; undefined if that is not known. */
  readonly issuedAt?: number | undefined;
  /** The id of the room token (`jti`), by which it can be revoked; undefined if it has none. */
  readonly tokenId?: string | undefined;
  /** What other members of the room are told about the client; any JSON. */
  readonly info?: unknown;
  /**
   * Time at which a backend has put the client into the room, in ms since 1970; undefined if none has, or if the grant
   * is `by` the server itself. When the grant expires, the client stays in the room.
   */
  readonly putAt?: number | undefined;
}

/** Grants by the names of their rooms. */
export type RoomGrants = ReadonlyMap<string, RoomGrant>;

const NO_GRANTS: RoomGrants = new Map();
const NONE: readonly RoomGrant[] = [];
const NO_MISFITS: readonly Misfit[] = [];

/** A client or publisher whose credentials have been checked, with its rights. The object is frozen. */
export interface Principal {
  /**
   * `key`: a backend with a publish key. `client`: a client with a token, or one that the connect hook has let in.
   * `anonymous`: a sender without credentials.
   */
  readonly kind: "anonymous" | "client" | "key";
  /**
   * How the client was identified: by its token, or by the connect hook. Undefined if the principal is not a client.
   */
  readonly by: "token" | "hook" | undefined;
  /**
   * What the HTTP request of an anonymous sender lacks: the header `Authorization`, the word `Bearer` in it, or an
   * allowed page that has sent its `Cookie`. Undefined for all other senders. It only chooses the texts of errors.
   */
  readonly lacks: "Authorization" | "Bearer" | "Cookie" | undefined;
  /** The user that the token names in `sub`, or that the connect hook names; undefined if there is none. */
  readonly user: string | undefined;
  /** The name of the publish key; undefined without a key. */
  readonly key: string | undefined;
  /** The id of the token (`jti`), by which it can be revoked; undefined if it has none. */
  readonly tokenId: string | undefined;
  /** Time at which the token or the connect hook's result expires, in ms since 1970; undefined if nothing expires. */
  readonly expiresAt: number | undefined;
  /**
   * Time at which the token was issued (`iat`), or at which the connect hook was asked, in ms since 1970; undefined if
   * that is not known.
   */
  readonly issuedAt: number | undefined;
  /** What other members of a room are told about the user (`info` of the token or of the hook's result); any JSON. */
  readonly info: unknown;
  /** Rooms that the client joins when it connects, besides those that it names. */
  readonly rooms: readonly string[];
  readonly rights: Rights;
  /** Claims because of which `TOKEN_ROOMS` grants less than it could. They only choose the texts of errors. */
  readonly misfits: readonly Misfit[];
  /** What the principal may do in single rooms in addition to `rights`. */
  readonly grants: RoomGrants;
  /** What the connect hook has decided, for the client's session; undefined if it was not asked. */
  readonly verdict: Verdict | undefined;
  /** The seal of the token, for the client's session (`lib/access/seals.ts`); undefined if the token has none. */
  readonly seal: string | undefined;
}

/** Creates a frozen principal. Properties that are not given are undefined; `rooms`, `misfits` and
 * `grants` are empty. */
export function makePrincipal(
  { kind, rights, ...facts }:
    & Pick<Principal, "kind" | "rights">
    & Partial<Principal>,
): Principal {
  return Object.freeze({
    kind,
    by: facts.by,
    lacks: facts.lacks,
    rights,
    misfits: facts.misfits ?? NO_MISFITS,
    user: facts.user,
    key: facts.key,
    tokenId: facts.tokenId,
    expiresAt: facts.expiresAt,
    issuedAt: facts.issuedAt,
    info: facts.info,
    rooms: Object.freeze([...facts.rooms ?? []]),
    grants: facts.grants ?? NO_GRANTS,
    verdict: facts.verdict,
    seal: facts.seal,
  });
}

/** Returns the same principal with these grants instead of its own. */
export function withGrants(
  principal: Principal,
  grants: RoomGrants,
): Principal {
  return makePrincipal({ ...principal, grants });
}

/** Returns the same principal with this grant for `room`, or with none if `grant` is undefined. */
export function withGrant(
  principal: Principal,
  room: string,
  grant: RoomGrant | undefined,
): Principal {
  if (principal.grants.get(room) === grant) return principal;
  const grants = new Map(principal.grants);
  if (grant === undefined) grants.delete(room);
  else grants.set(room, grant);
  return withGrants(principal, grants);
}

/** Returns the same principal without its grants for rooms that `isKept` does not accept. */
export function keepGrants(
  principal: Principal,
  isKept: (room: string, grant: RoomGrant) => boolean,
): Principal {
  const { grants } = principal;
  const kept = [...grants].filter(([room, grant]) => isKept(room, grant));
  return kept.length === grants.size
    ? principal
    : withGrants(principal, new Map(kept));
}

/** Returns the grants of a principal that allow `action` in `room` or, without `room`, in any room. */
export function grantsFor(
  { grants }: Principal,
  action: Action,
  room: string | undefined,
): readonly RoomGrant[] {
  if (grants.size === 0) return NONE;
  const found = room === undefined ? [...grants.values()] : [grants.get(room)];
  return found.filter((grant) => grant !== undefined)
    .filter(({ actions }) => actions.includes(action));
}

/**
 * Returns the grant of a client that a backend puts into a room at the time `putAt`, in ms since 1970.
 *
 * @param grant The client's grant so far. If it is of a token or a hook, the client may still do what it allows.
 */
export function grantOfServer(
  putAt: number,
  grant: RoomGrant | undefined,
): RoomGrant {
  return grant === undefined || grant.by === "server"
    ? { by: "server", actions: ["subscribe"], issuedAt: putAt }
    : { ...grant, putAt };
}

/**
 * Returns `grant`, a new grant of a client for a room, so that the client stays in the room after its end if a backend
 * has put it there.
 *
 * @param before The client's grant for the room so far.
 */
export function renewedGrant(
  grant: RoomGrant,
  before: RoomGrant | undefined,
): RoomGrant {
  const putAt = before?.by === "server" ? before.issuedAt : before?.putAt;
  return putAt === undefined ? grant : { ...grant, putAt };
}

/**
 * Returns the grants that count at `now`, in ms since 1970. If a backend has put the client into a room, that part of
 * the room's grant never expires.
 */
export function currentGrants(grants: RoomGrants, now: number): RoomGrants {
  const current = new Map<string, RoomGrant>();
  for (const [room, grant] of grants) {
    const left = isExpired(grant.expiresAt, now) ? afterExpiry(grant) : grant;
    if (left !== undefined) current.set(room, left);
  }
  return current;
}

/**
 * Returns the grant that a client has after a grant of a token or a hook has expired: that of the backend that has put
 * the client into the room; undefined if none has.
 */
export function afterExpiry({ putAt }: RoomGrant): RoomGrant | undefined {
  return putAt === undefined ? undefined : grantOfServer(putAt, undefined);
}

/**
 * Returns whether a token, a grant or a hook's result that expires at `expiresAt` no longer counts for new requests. It
 * still counts for {@linkcode LEEWAY_SECONDS} after that time. Both times are in ms since 1970.
 */
export function isExpired(expiresAt: number | undefined, now: number): boolean {
  return expiresAt !== undefined && now >= expiresAt + LEEWAY_SECONDS * 1000;
}

/**
 * Stored as the user of a session that belongs to a guest of the connect hook. No user can have this name, because it
 * is a control character.
 */
const GUEST = "\u0000";

/**
 * Returns the user to whom a principal's session belongs. Only a principal with the same user can resume the session.
 *
 * @returns The user of the token or of the connect hook's result; an empty text for a token without a user; another
 * text, which is no user's name, for a guest of the hook; undefined for a sender without credentials. A session that
 * was begun with a token can therefore not be resumed without one.
 */
export function userOf({ kind, by, user }: Principal): string | undefined {
  return kind === "client" ? user ?? (by === "hook" ? GUEST : "") : undefined;
}
