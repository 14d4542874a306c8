/**
 * Finds out what a client may do if that is not known yet: asks hooks, or verifies a room token.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { grantsOfClaims, misfitsOf, type RoomTemplate } from "./claim_rooms.ts";
import type { Decisions } from "./decisions.ts";
import { readCaps } from "./forms.ts";
import type { Asker, ConnectHook, ConnectQuestion, JoinHook } from "./hooks.ts";
import {
  isExpired,
  makePrincipal,
  type Principal,
  type RoomGrant,
} from "./principal.ts";
import { roomTokenUnused, tokenMissing } from "./refusals.ts";
import { Rights } from "./rights.ts";
import { grantOfToken } from "./room_tokens.ts";
import { textOf } from "./tokens.ts";
import type { Revocations } from "./revocations.ts";
import type { Verdict } from "./verdict.ts";
import type { Verifier } from "./verifier.ts";

/** What decides about clients: tokens, claims and hooks. */
export interface AskingOptions {
  /** Verifies client tokens; undefined if no tokens are configured. */
  readonly tokens?: Verifier | undefined;
  /** Rights from ordinary claims (`TOKEN_ROOMS`). */
  readonly tokenRooms?: readonly RoomTemplate[];
  /**
   * The connect hook, which decides about clients that send no token, and about all clients if no tokens are
   * configured; undefined if `CONNECT_HOOK_URL` is not set.
   */
  readonly connectHook?: ConnectHook | undefined;
  /**
   * The join hook, which decides about those rooms of `HOOK_ROOMS` that a client's rights do not allow; undefined if
   * `JOIN_HOOK_URL` is not set.
   */
  readonly joinHook?: JoinHook | undefined;
}

/** A request of a client to join a room, for which it may get a grant. */
export interface GrantRequest {
  readonly room: string;
  /** The room token that the client has sent, whatever its type; undefined if it has sent none. */
  readonly token?: unknown;
  /** What the client has sent for the join hook; any JSON, or undefined. */
  readonly data?: unknown;
}

/** The type of {@linkcode Access.decide}. */
export type Decide = (
  question: ConnectQuestion,
  kept: Verdict | undefined,
) => Promise<Principal>;

/** The type of {@linkcode Access.grant}. */
export type GetGrant = (
  principal: Principal,
  request: GrantRequest,
  asker: Asker,
) => Promise<RoomGrant | undefined>;

/** What a decision of the connect hook depends on besides the hook. */
export interface DeciderOptions {
  /** Rights that everybody has. */
  readonly everybody: Rights;
  readonly revocations: Pick<Revocations, "isRevoked" | "whenLoaded">;
  /** Returns the time in ms since 1970. */
  readonly now: () => number;
}

/** Returns the function that lets the connect hook decide about clients. */
export function decider(
  { connectHook, tokenRooms = [] }: AskingOptions,
  { everybody, revocations, now }: DeciderOptions,
): Decide {
  const principalOf = (verdict: Verdict): Principal | undefined => {
    const principal = principalOfVerdict(verdict, tokenRooms, everybody);
    return revocations.isRevoked(principal) ? undefined : principal;
  };
  return async (question, kept) => {
    if (connectHook === undefined) throw tokenMissing("connect");
    const { token } = question;
    if (token !== undefined) textOf(token, "auth.token");
    await revocations.whenLoaded();
    const isKept = kept !== undefined && now() < (kept.expiresAt ?? Infinity);
    const principal = (isKept ? principalOf(kept) : undefined) ??
      principalOf(await connectHook.ask(question));
    if (principal !== undefined) return principal;
    throw new ApiError(
      "unauthorized",
      "Cannot connect: the client's user has been revoked; connect again later",
    );
  };
}

/** What decides about grants. */
export interface GranterOptions extends AskingOptions {
  /** Called when a client sends a room token that nothing verifies and that it does not need. */
  readonly onTokenIgnored: () => void;
}

/** Returns the function that gives clients grants for rooms. */
export function granter(
  { tokens, tokenRooms, joinHook, onTokenIgnored }: GranterOptions,
  { refusal, isRevoked }: Pick<Decisions, "refusal" | "isRevoked">,
  now: () => number,
): GetGrant {
  return async (principal, { room, token, data }, asker) => {
    // The hook would be sent the publish key, and could allow a room that PUBLISH_KEY_ROOMS does not.
    if (principal.kind === "key") return undefined;
    if (isExpired(principal.expiresAt, now()) || isRevoked(principal)) {
      return undefined;
    }
    if (token !== undefined && tokens !== undefined) {
      const text = textOf(token, `join {"token":"…"}`);
      const { claims } = await tokens.verify(text);
      return grantOfToken(claims, room, principal, tokenRooms);
    }
    if (joinHook?.concerns(room)) {
      // The client's rights, or a grant that still counts, may allow it.
      if (refusal(principal, "subscribe", room) === undefined) return undefined;
      if (token !== undefined) textOf(token, `join {"token":"…"}`);
      const { user } = principal;
      return await joinHook.ask({ ...asker, user, room, data, token });
    }
    if (token === undefined) return undefined;
    if (principal.rights.allow("subscribe", room)) {
      onTokenIgnored();
      return undefined;
    }
    throw roomTokenUnused(room);
  };
}

/**
 * Creates the principal of a client that the connect hook has let in. Its user counts as the claim `sub` in the
 * templates of `TOKEN_ROOMS`.
 *
 * @param base Rights that everybody has.
 */
function principalOfVerdict(
  verdict: Verdict,
  templates: readonly RoomTemplate[],
  base: Rights,
): Principal {
  const { user, issuedAt, expiresAt, info, rooms = [], caps = [] } = verdict;
  const ofUser = user === null ? [] : grantsOfClaims(templates, { sub: user });
  return makePrincipal({
    kind: "client",
    by: "hook",
    user: user ?? undefined,
    issuedAt,
    expiresAt,
    info,
    rooms,
    rights: new Rights([...readCaps(caps), ...ofUser], base),
    misfits: user === null ? [] : misfitsOf(templates, { sub: user }),
    verdict,
  });
}
