/**
 * Verifiers of tokens: what every token has to pass, whoever has signed it.
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
  /** Resolves to the claims of a token. @throws {ApiError} If it is not accepted, or if that is not known */
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
