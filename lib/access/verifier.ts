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

/** Verifies tokens. */
export interface Verifier {
  /**
   * Resolves to the claims of a token.
   *
   * @throws {ApiError} if the token is not accepted, or cannot be verified at the moment
   */
  verify(token: string): Promise<Claims>;
}

/** Returns a verifier that accepts the same tokens as `tokens`, except for those that have been revoked. */
export function refuseRevoked(
  tokens: Verifier,
  revocations: Pick<Revocations, "isRevoked" | "whenLoaded">,
): Verifier {
  return {
    verify: async (token) => {
      const claims = await tokens.verify(token);
      await revocations.whenLoaded();
      if (!revocations.isRevoked(readClaims(claims))) return claims;
      throw tokenRevoked();
    },
  };
}

/** Returns a verifier that accepts the same tokens as `tokens`, and reports those that are not accepted. */
export function reportRefused(tokens: Verifier, observe: Observe): Verifier {
  return {
    verify: async (token) => {
      try {
        return await tokens.verify(token);
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
