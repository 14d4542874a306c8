/**
 * Reads the claims of a verified token that Roomcast uses.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { Claims } from "./claim_rooms.ts";
import {
  readCaps,
  readName,
  readTexts,
  TIME_MAX,
  TIME_MS_MIN,
  WrongForm,
} from "./forms.ts";
import type { Grant } from "./rights.ts";

/** What a token says about its client, apart from ordinary claims. */
export interface TokenFacts {
  readonly user: string | undefined;
  readonly tokenId: string | undefined;
  /** In ms since 1970. */
  readonly expiresAt: number;
  /** In ms since 1970; undefined if the token has no `iat`. */
  readonly issuedAt: number | undefined;
  readonly info: unknown;
  readonly rooms: readonly string[];
  /** What `caps` grants. */
  readonly grants: readonly Grant[];
}

/**
 * How far the clocks of the issuer and this node may differ, in s. An expired token is accepted for as long, so that
 * little more than the clocks' error is allowed.
 */
export const LEEWAY_SECONDS = 5;
/**
 * How far in the future a token may have been issued, in s. It is more than {@linkcode LEEWAY_SECONDS}, because a node
 * whose clock is a little slow would otherwise refuse every new token.
 */
export const ISSUED_LEEWAY_SECONDS = 60;

/**
 * Reads the claims of a token whose signature and times have been verified. A claim in a wrong form is an error. If it
 * were ignored, the client would lack rights, and no error would say why.
 *
 * @throws {ApiError} `unauthorized`
 */
export function readClaims(claims: Claims): TokenFacts {
  const { exp, iat, sub, jti, info, rooms = [], caps = [] } = claims;
  try {
    return {
      user: sub === undefined ? undefined : readName("sub", sub),
      tokenId: jti === undefined ? undefined : readName("jti", jti),
      expiresAt: readTime("exp", exp),
      issuedAt: iat === undefined ? undefined : readTime("iat", iat),
      info,
      rooms: readTexts("rooms", rooms),
      grants: readCaps(caps),
    };
  } catch (error) {
    if (!(error instanceof WrongForm)) throw error;
    throw new TokenRefused("claims", `its claim ${error.message}`);
  }
}

/** Why a token is not accepted, for metrics. */
export type TokenFault =
  | "algorithm"
  | "audience"
  | "claims"
  | "expired"
  | "issuer"
  | "malformed"
  | "not_yet_valid"
  | "revoked"
  | "signature"
  | "unknown_key";

/** The error for a token that is not accepted. */
export class TokenRefused extends ApiError {
  /** Why the token is not accepted. */
  readonly fault: TokenFault;

  /**
   * Creates the error.
   *
   * @param state What is wrong with the token. It must contain neither the token nor a value that identifies its user.
   */
  constructor(
    fault: TokenFault,
    state: string,
    advice = "correct how the token is made",
  ) {
    super("unauthorized", `Cannot accept the token: ${state}; ${advice}`);
    this.fault = fault;
  }
}

/**
 * Returns a claim in seconds since 1970 as ms. Refuses a time in ms. Otherwise a token with such an `exp` would never
 * expire, and one with such an `iat` would not be revoked together with the other tokens of its user.
 *
 * @throws {WrongForm}
 */
function readTime(claim: "exp" | "iat", seconds: unknown): number {
  if (typeof seconds !== "number" || !(seconds > 0 && seconds <= TIME_MAX)) {
    throw new WrongForm(`"${claim}" is not a time in seconds since 1970`);
  }
  if (seconds >= TIME_MS_MIN) {
    throw new WrongForm(`"${claim}" is in ms; it has to be in seconds`);
  }
  return Math.floor(seconds * 1000);
}
