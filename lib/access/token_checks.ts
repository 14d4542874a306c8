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
import type { Jose } from "./key_set.ts";

/** Maximum length of a token, in characters; a longer one is refused unread. */
export const TOKEN_LENGTH_MAX = 16_384;

/**
 * Checks the times of a token at `now`, in ms since 1970. jose does the same for `exp` and `nbf` when it verifies a
 * token, and does not look at `iat`. A token that was issued in the future would outlive every revocation of its user.
 *
 * @throws {ApiError} `unauthorized`
 */
export function checkTimes({ exp, nbf, iat }: Claims, now: number): void {
  const seconds = now / 1000;
  if (!(Number(exp) > seconds - LEEWAY_SECONDS)) throw expired();
  if (Number(nbf ?? 0) > seconds + LEEWAY_SECONDS) {
    throw notYetValid("it is not valid yet");
  }
  if (Number(iat ?? 0) > seconds + ISSUED_LEEWAY_SECONDS) {
    throw notYetValid("it was issued in the future");
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
    "send the token as it was issued",
  );
}

/** Returns the error to send for a token that jose has not accepted. */
export function refusalOf({ errors }: Jose, error: unknown): ApiError {
  if (error instanceof errors.JWTExpired) {
    return expired();
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return claimRefused(error.claim, error.reason);
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return new TokenRefused(
      "signature",
      "its signature does not match",
      "sign it with a key that the server knows",
    );
  }
  return notAToken();
}

function expired(): ApiError {
  return new TokenRefused("expired", "it has expired", "get a new one");
}

function notYetValid(state: string): ApiError {
  return new TokenRefused("not_yet_valid", state, "check the issuer's clock");
}

function claimRefused(claim: string, reason: string): ApiError {
  if (reason === "missing") {
    return new TokenRefused("claims", `it has no claim "${claim}"`);
  }
  switch (claim) {
    case "nbf":
      return notYetValid("it is not valid yet");
    case "iss":
      return new TokenRefused(
        "issuer",
        "its issuer is not the one in TOKEN_ISSUER",
      );
    case "aud":
      return new TokenRefused(
        "audience",
        "its audience is not the one in TOKEN_AUDIENCE",
      );
    default:
      return new TokenRefused("claims", `its claim "${claim}" is not valid`);
  }
}
