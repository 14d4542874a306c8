/**
 * The interface of verifiers of tokens, and the checks that do not depend on how a token is signed.
 *
 * @module
 */
import { toApiError } from "../errors.ts";
import type { Observe } from "../observer.ts";
import type { Claims } from "./claim_rooms.ts";
import { readClaims, TokenRefused } from "./claims.ts";
import { type Revocations, tokenRevoked } from "./revocations.ts";
import type { ReadSeal } from "./seals.ts";

/** A token that was accepted. */
export interface Verified {
  readonly claims: Claims;
  /** The seal of the token, for the session of its client; undefined if the token gets none. */
  readonly seal?: string | undefined;
}

/** Verifies tokens. */
export interface Verifier {
  /**
   * Resolves to the claims of a token and its seal.
   *
   * @param readSeal Reads the seal that the client's session has kept. Called only if a signature would otherwise have
   * to be verified with a public key.
   * @throws {ApiError} if the token is not accepted, or cannot be verified at the moment
   */
  verify(token: string, readSeal?: ReadSeal): Promise<Verified>;
}

/** Returns a verifier that accepts the same tokens as `tokens`, except for those that have been revoked. */
export function refuseRevoked(
  tokens: Verifier,
  revocations: Pick<Revocations, "isRevoked" | "whenLoaded">,
): Verifier {
  return {
    verify: async (token, readSeal) => {
      const verified = await tokens.verify(token, readSeal);
      await revocations.whenLoaded();
      if (!revocations.isRevoked(readClaims(verified.claims))) return verified;
      throw tokenRevoked();
    },
  };
}

/** Returns a verifier that accepts the same tokens as `tokens`, and reports those that are not accepted. */
export function reportRefused(tokens: Verifier, observe: Observe): Verifier {
  return {
    verify: async (token, readSeal) => {
      try {
        return await tokens.verify(token, readSeal);
      } catch (error) {
        const reason = error instanceof TokenRefused
          ? error.fault
          : toApiError(error).code;
        observe({ kind: "token_refused", reason });
        throw error;
      }
    },
  };
}
