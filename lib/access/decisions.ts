/**
 * Decides which actions a principal may perform, from its rights, its grants for single rooms, and what has been
 * revoked.
 *
 * @module
 */
import type { ApiError } from "../errors.ts";
import type { JoinHook } from "./hooks.ts";
import {
  grantsFor,
  isExpired,
  type Principal,
  type RoomGrant,
} from "./principal.ts";
import {
  expired,
  forbidden,
  forbiddenEverywhere,
  grantExpired,
  hookGrantsNoPublish,
  hookNotAsked,
  missing,
  revoked,
} from "./refusals.ts";
import type { Revocations } from "./revocations.ts";
import type { Action } from "./rights.ts";

/** Decides which actions a principal may perform. All methods are synchronous. */
export interface Decisions {
  /**
   * Returns undefined if a principal may perform `action` in `room`, otherwise the error to send: `unauthorized` if the
   * principal has no credentials or they have expired, and `forbidden` if its credentials do not allow this. Without
   * `room`, returns undefined if the principal may perform `action` in at least one room. The method is synchronous,
   * because it is called inside synchronous steps.
   *
   * Call it for each new request. For a room that a client is in already, call {@linkcode Decisions.mayStay}.
   */
  refusal(
    principal: Principal,
    action: Action,
    room?: string,
  ): ApiError | undefined;
  /**
   * Returns whether a client may stay in a room that it has joined. Time does not count: a client stays in its rooms
   * for some time after its token, or the room's grant, has expired. `Expiries` ends that.
   */
  mayStay(principal: Principal, room: string): boolean;
  /**
   * Returns whether the token of a client, or the connect hook's result for it, has been revoked. Call the method in
   * the synchronous step in which a client gets a principal, because the principal may have been revoked since
   * `authenticate()`.
   */
  isRevoked(principal: Principal): boolean;
  /**
   * Returns undefined if a principal may perform `action` in all rooms, otherwise the error to send. `doing` says in the
   * error what the principal wanted to do, as in "revoke".
   */
  refusalEverywhere(
    principal: Principal,
    action: Action,
    doing: string,
  ): ApiError | undefined;
}

/** Options of {@linkcode createDecisions}. */
export interface DecisionsOptions {
  /** Returns the time in ms since 1970. */
  readonly now: () => number;
  readonly revocations: Pick<Revocations, "isRevoked">;
  /** Whether clients may have tokens, for the texts of errors. */
  readonly hasTokens: boolean;
  /** The join hook, for the texts of errors; undefined if there is none. */
  readonly joinHook?: Pick<JoinHook, "concerns"> | undefined;
}

/** Creates the decisions of a server. */
export function createDecisions(
  { now, revocations, hasTokens, joinHook }: DecisionsOptions,
): Decisions {
  const isRevoked = (principal: Principal): boolean =>
    principal.kind === "client" && revocations.isRevoked(principal);
  const grantsOf = (
    principal: Principal,
    action: Action,
    room: string | undefined,
  ): readonly RoomGrant[] =>
    grantsFor(principal, action, room).filter((grant) =>
      !revocations.isRevoked({ ...grant, user: principal.user })
    );
  return {
    refusal: (principal, action, room) => {
      const { kind, rights, expiresAt } = principal;
      if (isExpired(expiresAt, now())) return expired(principal, action);
      if (isRevoked(principal)) return revoked(principal, action);
      if (rights.allow(action, room)) return undefined;
      const grants = grantsOf(principal, action, room);
      if (grants.some((grant) => !isExpired(grant.expiresAt, now()))) {
        return undefined;
      }
      if (grants.length > 0) return grantExpired(action);
      if (kind !== "anonymous") return forbidden(principal, action, room);
      if (room !== undefined && joinHook?.concerns(room)) {
        if (action === "subscribe") return hookNotAsked(room);
        const isSocket = principal.lacks === undefined;
        if (action === "publish" && isSocket) return hookGrantsNoPublish(room);
      }
      return missing(principal, action, hasTokens);
    },
    refusalEverywhere: (principal, action, doing) => {
      if (principal.rights.allowEverywhere(action)) return undefined;
      return principal.kind === "anonymous"
        ? missing(principal, action, hasTokens)
        : forbiddenEverywhere(principal, action, doing);
    },
    mayStay: (principal, room) =>
      !isRevoked(principal) &&
      (principal.rights.allow("subscribe", room) ||
        grantsOf(principal, "subscribe", room).length > 0),
    isRevoked,
  };
}
