/**
 * Checks the times of tokens, and makes the errors for tokens that are not accepted.
 *
 * @module
 */
import type { ApiError } from "../errors.ts";
import type { Claims } from "./claim_rooms.ts";
import {
  ISSUED_LEEWAY_SECONDS,
  LEEWAY_SECONDS,
  TokenRefused,
} from "./claims.ts";
import { TIME_MS_MIN } from "./forms.ts";

/** Maximum length of a token, in characters; a longer one is refused unread. */
export const TOKEN_LENGTH_MAX = 16_384;

/** What the claims of a token have to say. */
export interface ClaimSettings {
  /** Undefined if any issuer will do. */
  readonly issuer: string | undefined;
  /** Undefined if any audience will do. */
  readonly audience: string | undefined;
}

/**
 * Checks the issuer, the audience and the times of a token at `now`, in ms since 1970. A token that was issued in the
 * future is refused, because it would outlive every revocation of its user.
 *
 * @throws {ApiError} `unauthorized`
 */
export function checkClaims(
  claims: Claims,
  { issuer, audience }: ClaimSettings,
  now: number,
): asserts claims is Claims & { readonly exp: number } {
  const { iss, aud, exp, nbf, iat } = claims;
  if (issuer !== undefined) {
    if (iss === undefined) throw missing("iss");
    if (iss !== issuer) throw otherThan("issuer", "TOKEN_ISSUER");
  }
  if (audience !== undefined) {
    if (aud === undefined) throw missing("aud");
    const isOurs = Array.isArray(aud)
      ? aud.includes(audience)
      : aud === audience;
    if (!isOurs) throw otherThan("audience", "TOKEN_AUDIENCE");
  }
  const seconds = now / 1000;
  if (exp === undefined) throw missing("exp");
  if (typeof exp !== "number") throw invalid("exp");
  if (!(exp > seconds - LEEWAY_SECONDS)) {
    throw new TokenRefused("expired", "it has expired", "get a new one");
  }
  if (nbf !== undefined && typeof nbf !== "number") throw invalid("nbf");
  if (nbf !== undefined && nbf > seconds + LEEWAY_SECONDS) {
    throw notYetValid("nbf", nbf, "it is not valid yet");
  }
  if (iat !== undefined && typeof iat !== "number") throw invalid("iat");
  if (iat !== undefined && iat > seconds + ISSUED_LEEWAY_SECONDS) {
    throw notYetValid("iat", iat, "it was issued in the future");
  }
}

/** Returns the error for a token with more than {@linkcode TOKEN_LENGTH_MAX} characters. */
export function tooLong(): ApiError {
  return new TokenRefused(
    "malformed",
    `it has more than ${TOKEN_LENGTH_MAX} characters`,
    "put less into it",
  );
}

/** Returns the error for a text that is not a token that Roomcast can read. */
export function notAToken(): ApiError {
  return new TokenRefused(
    "malformed",
    "it is not a signed JSON Web Token",
    "send a client token as it was issued, without Bearer and quotes, and no publish key",
  );
}

/**
 * Returns the error for a token that was not signed with a key of this server.
 *
 * @param setting The setting with whose keys the signature was compared.
 */
export function wrongSignature(
  setting: "TOKEN_SECRET" | "TOKEN_JWKS_URL",
): ApiError {
  return new TokenRefused(
    "signature",
    "its signature does not match",
    setting === "TOKEN_SECRET"
      ? "sign it with a secret of TOKEN_SECRET as it is, not decoded from base64"
      : "sign it with a key of TOKEN_JWKS_URL",
  );
}

function missing(claim: string): ApiError {
  return new TokenRefused("claims", `it has no claim "${claim}"`);
}

function invalid(claim: string): ApiError {
  return new TokenRefused(
    "claims",
    `its claim "${claim}" is not a number of seconds since 1970`,
  );
}

function otherThan(fault: "issuer" | "audience", setting: string): ApiError {
  return new TokenRefused(
    fault,
    `its ${fault} is not the one in ${setting}`,
    `correct ${setting}, of which each character counts, or how the token is made`,
  );
}

/** Returns the error for a token with a claim that is a time in the future, in seconds since 1970. */
function notYetValid(claim: string, time: number, state: string): ApiError {
  return time >= TIME_MS_MIN
    ? new TokenRefused(
      "claims",
      `its claim "${claim}" is in ms; it has to be in seconds`,
    )
    : new TokenRefused("not_yet_valid", state, "check the issuer's clock");
}
