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
 * Maximum number of tokens that are remembered. Each takes about 200 bytes, so all together take about 20 MB. If there
 * are more, the token that was not used for the longest time is forgotten, and verified again when it is used.
 */
export const REMEMBERED_MAX = 100_000;

/** What is remembered of a verified token. */
export interface RememberedToken {
  /** Time at which the token ends, in ms since 1970. */
  readonly end: number;
  /** The seal of the token, as in `lib/access/seals.ts`; undefined if it has none. */
  readonly seal: string | undefined;
}

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
  /** The tokens by their hashes. The token that was used last is last. */
  readonly #tokens = new Map<string, RememberedToken>();
  #generation = 0;

  /** Starts without tokens. */
  constructor({ max = REMEMBERED_MAX, observe }: VerifiedTokensOptions) {
    this.#max = max;
    this.#observe = observe;
  }

  /** Number of tokens that are remembered. */
  get size(): number {
    return this.#tokens.size;
  }

  /** A number that changes with each {@linkcode VerifiedTokens.clear}. */
  get generation(): number {
    return this.#generation;
  }

  /** Returns the token with this hash if it has been verified and has not ended at `now`, in ms since 1970. */
  find(hash: string, now: number): RememberedToken | undefined {
    const token = this.#tokens.get(hash);
    if (token === undefined) return undefined;
    this.#tokens.delete(hash);
    if (now >= token.end) return undefined;
    this.#tokens.set(hash, token);
    return token;
  }

  /**
   * Remembers a verified token until its end. Does nothing if `clear()` was called since `generation` was read: the
   * token may have been verified with a key that no longer counts. Read `generation` before the keys are looked up.
   */
  add(
    hash: string,
    token: RememberedToken,
    generation: number,
    now: number,
  ): void {
    if (generation !== this.#generation || now >= token.end) return;
    this.#tokens.delete(hash);
    this.#tokens.set(hash, token);
    for (const [oldest, { end }] of this.#tokens) {
      const hasEnded = now >= end;
      if (!hasEnded && this.#tokens.size <= this.#max) break;
      this.#tokens.delete(oldest);
      if (!hasEnded) this.#observe({ kind: "verified_token_forgotten" });
    }
  }

  /** Forgets all tokens. Call this when the keys that verify tokens have changed. */
  clear(): void {
    this.#generation++;
    this.#tokens.clear();
  }
}
