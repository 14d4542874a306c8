/**
 * Remembers which tokens have been verified.
 *
 * Verifying a signature is the most expensive part of a connect. A client that reconnects to the same node usually
 * shows the same token again, and a page with several sockets or room tokens shows it several times. Only the hash of a
 * token is remembered: neither the token nor its claims stay in memory, and the claims are read from the token that the
 * client sends.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Observe } from "../observer.ts";

/**
 * Maximum number of tokens that are remembered. Each takes about 150 bytes, so all together take about 15 MB. If there
 * are more, the token that was not used for the longest time is forgotten, and verified again when it is used.
 */
export const REMEMBERED_MAX = 100_000;

/** Options of {@linkcode VerifiedTokens}. */
export interface VerifiedTokensOptions {
  /** Maximum number of tokens; {@linkcode REMEMBERED_MAX} by default. */
  readonly max?: number;
  readonly observe: Observe;
}

/** Returns the hash under which a token is remembered. Two tokens that differ in one character have different hashes. */
export function hashToken(token: string): string {
  return createHash("sha256").update(token).digest("base64url");
}

/**
 * The hashes of verified tokens, until the tokens expire or the keys change.
 *
 * A hash says only that the signature, the issuer and the audience of the token were right. What changes with time has
 * to be checked at each use: whether the token has expired, and whether it has been revoked.
 */
export class VerifiedTokens {
  readonly #max: number;
  readonly #observe: Observe;
  /** The time at which each token ends, in ms since 1970, by the token's hash. The token that was used last is last. */
  readonly #ends = new Map<string, number>();
  #generation = 0;

  /** Starts without tokens. */
  constructor({ max = REMEMBERED_MAX, observe }: VerifiedTokensOptions) {
    this.#max = max;
    this.#observe = observe;
  }

  /** Number of tokens that are remembered. */
  get size(): number {
    return this.#ends.size;
  }

  /** A number that changes with each {@linkcode VerifiedTokens.clear}. */
  get generation(): number {
    return this.#generation;
  }

  /** Returns whether the token with this hash has been verified and has not ended at `now`, in ms since 1970. */
  has(hash: string, now: number): boolean {
    const end = this.#ends.get(hash);
    if (end === undefined) return false;
    this.#ends.delete(hash);
    if (now >= end) return false;
    this.#ends.set(hash, end);
    return true;
  }

  /**
   * Remembers a verified token until `end`, in ms since 1970. Does nothing if `clear()` was called since `generation`
   * was read: the token may have been verified with a key that no longer counts. Read `generation` before the keys are
   * looked up.
   */
  add(hash: string, end: number, generation: number, now: number): void {
    if (generation !== this.#generation || now >= end) return;
    this.#ends.delete(hash);
    this.#ends.set(hash, end);
    for (const [oldest, end] of this.#ends) {
      const hasEnded = now >= end;
      if (!hasEnded && this.#ends.size <= this.#max) break;
      this.#ends.delete(oldest);
      if (!hasEnded) this.#observe({ kind: "verified_token_forgotten" });
    }
  }

  /** Forgets all tokens. Call this when the keys that verify tokens have changed. */
  clear(): void {
    this.#generation++;
    this.#ends.clear();
  }
}
