/**
 * Client tokens: verifies JSON Web Tokens (RFC 7519) with the package jose.
 *
 * The kind of key decides which algorithms are accepted: HMAC with the secrets of `TOKEN_SECRET`, and signatures with
 * the public keys of `TOKEN_JWKS_URL`. A public key is never used as the secret of an HMAC. A token cannot name where
 * its key comes from, because the headers `jku`, `x5u`, `jwk` and `x5c` are not looked at.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { JWSHeaderParameters, JWTVerifyOptions } from "jose";
import type { Observe } from "../observer.ts";
import type { Claims } from "./claim_rooms.ts";
import { LEEWAY_SECONDS, TokenRefused } from "./claims.ts";
import { needed } from "../util/needed.ts";
import { type Jose, KeySet, type VerifyingKey } from "./key_set.ts";
import {
  checkTimes,
  notAToken,
  refusalOf,
  TOKEN_LENGTH_MAX,
  tooLong,
} from "./token_checks.ts";
import { hashToken, VerifiedTokens } from "./verified_tokens.ts";

/** How client tokens are verified. At least one of `secrets` and `jwksUrl` is given. */
export interface TokenSettings {
  /** The secrets of `TOKEN_SECRET`, each of at least {@linkcode SECRET_BYTES_MIN} bytes. */
  readonly secrets: readonly string[];
  readonly jwksUrl: string | undefined;
  /** The issuer that tokens must have; undefined if any issuer will do. */
  readonly issuer: string | undefined;
  /** The audience that tokens must have; undefined if any audience will do. */
  readonly audience: string | undefined;
}

/** Options of {@linkcode TokenVerifier}. */
export interface TokenVerifierOptions extends TokenSettings {
  readonly observe: Observe;
  /** Returns the time in ms since 1970; `Date.now` by default. */
  readonly now?: () => number;
  /** Returns a time in ms that is never set back, for the age of keys; `performance.now` by default. */
  readonly elapsed?: () => number;
}

/** Minimum length of a secret, in bytes of UTF-8: that of the hash of HS256 (RFC 7518 §3.2). */
export const SECRET_BYTES_MIN = 32;
/** The header of a token. */
type Header = JWSHeaderParameters & { readonly alg: string };

/** The compact form of a signed token (RFC 7515 §7.1). jose also accepts spaces, line ends and padding in it. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** The hash of each HMAC algorithm. */
const HASHES: ReadonlyMap<string, string> = new Map([
  ["HS256", "SHA-256"],
  ["HS384", "SHA-384"],
  ["HS512", "SHA-512"],
]);
const SIGNATURES: ReadonlySet<string> = new Set([
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
]);

/** Verifies client tokens. Keeps the secrets, and fetches the public keys of the issuer. */
export class TokenVerifier {
  readonly #options: TokenVerifierOptions;
  readonly #now: () => number;
  readonly #elapsed: () => number;
  readonly #jose: Promise<Jose>;
  readonly #keySet: KeySet | undefined;
  readonly #verified: VerifiedTokens;
  /** The secrets as keys of each HMAC algorithm that was used. */
  readonly #secretKeys = new Map<string, Promise<readonly VerifyingKey[]>>();

  /** Loads jose and starts to fetch the public keys, without waiting for either. */
  constructor(options: TokenVerifierOptions) {
    const { jwksUrl: url, observe, now = Date.now } = options;
    this.#options = options;
    this.#now = now;
    this.#elapsed = options.elapsed ?? (() => performance.now());
    const verified = this.#verified = new VerifiedTokens(options);
    const jose = this.#jose = needed("jose", import("jose"));
    if (url === undefined) return;
    this.#keySet = new KeySet({
      url,
      jose,
      observe,
      now: this.#elapsed,
      changed: () => verified.clear(),
    });
    this.#keySet.warm();
  }

  /** Cancels the fetch in flight. Tokens whose keys are not known yet can no longer be verified. */
  close(): void {
    this.#keySet?.close();
  }

  /**
   * Resolves to the claims of a token if its signature, its times, its issuer and its audience are as they have to be.
   *
   * @throws {ApiError} `unauthorized` if the token is not accepted; `token_keys_unavailable`, which is retryable, if
   * that is not known because the issuer's public keys cannot be fetched
   */
  async verify(token: string): Promise<Claims> {
    if (token.length > TOKEN_LENGTH_MAX) throw tooLong();
    const arrived = this.#elapsed();
    const jose = await this.#jose;
    const header = headerOf(jose, token);
    // A token that is remembered must not keep a key valid that the issuer has withdrawn.
    if (!this.#isHmac(header)) await this.#keySet?.renew();
    const hash = hashToken(token);
    const isKnown = this.#verified.has(hash, this.#now());
    const { generation } = this.#verified;
    const claims = isKnown
      ? jose.decodeJwt(token)
      : await this.#verifyNew(jose, token, header, arrived);
    const now = this.#now();
    checkTimes(claims, now);
    this.#options.observe({
      kind: "token_verified",
      how: isKnown ? "remembered" : "signature",
    });
    if (!isKnown) {
      const end = (Number(claims.exp) + LEEWAY_SECONDS) * 1000;
      this.#verified.add(hash, end, generation, now);
    }
    return claims;
  }

  /** Verifies the signature of a token, its times, its issuer and its audience. */
  async #verifyNew(
    jose: Jose,
    token: string,
    header: Header,
    arrived: number,
  ): Promise<Claims> {
    const keys = await this.#keysFor(header, arrived);
    const options = this.#verifyOptions(header.alg);
    // An error for each valid token would take longer than reading the token.
    let error: unknown;
    for (const key of keys) {
      try {
        return (await jose.jwtVerify(token, key, options)).payload;
      } catch (failure) {
        error = failure;
        const isOther = failure instanceof
          jose.errors.JWSSignatureVerificationFailed;
        if (!isOther) break;
      }
    }
    throw refusalOf(
      jose,
      error ?? new jose.errors.JWSSignatureVerificationFailed(),
    );
  }

  /** Returns whether a token with this header is verified with the secrets. */
  #isHmac({ alg }: Header): boolean {
    return HASHES.has(alg) && this.#options.secrets.length > 0;
  }

  async #keysFor(
    header: Header,
    arrived: number,
  ): Promise<readonly VerifyingKey[]> {
    const hash = HASHES.get(header.alg);
    if (hash !== undefined && this.#isHmac(header)) {
      return await this.#secretsFor(hash);
    }
    if (SIGNATURES.has(header.alg) && this.#keySet !== undefined) {
      const keys = await this.#keySet.find(header, arrived);
      if (keys.length > 0) return keys;
      throw new TokenRefused(
        "unknown_key",
        "its key is not in the key set of TOKEN_JWKS_URL",
        "get a new one",
      );
    }
    throw new TokenRefused(
      "algorithm",
      "its algorithm is not accepted",
      "sign it with HS256, HS384 or HS512 for TOKEN_SECRET, or with a key of TOKEN_JWKS_URL",
    );
  }

  #secretsFor(hash: string): Promise<readonly VerifyingKey[]> {
    const known = this.#secretKeys.get(hash);
    if (known !== undefined) return known;
    const algorithm = { name: "HMAC", hash };
    const keys = Promise.all(
      this.#options.secrets.map((secret) =>
        crypto.subtle.importKey("raw", Buffer.from(secret), algorithm, false, [
          "verify",
        ])
      ),
    );
    this.#secretKeys.set(hash, keys);
    return keys;
  }

  #verifyOptions(alg: string): JWTVerifyOptions {
    const { issuer, audience } = this.#options;
    return {
      algorithms: [alg],
      requiredClaims: ["exp"],
      clockTolerance: LEEWAY_SECONDS,
      currentDate: new Date(this.#now()),
      ...issuer !== undefined && { issuer },
      ...audience !== undefined && { audience },
    };
  }
}

/**
 * Returns the text of a token that a client has sent.
 *
 * @param place The field in which clients send the token, for the text of the error.
 * @throws {ApiError} `unauthorized` if the value is not a text of at most {@linkcode TOKEN_LENGTH_MAX} characters
 */
export function textOf(token: unknown, place: string): string {
  if (typeof token !== "string") {
    throw new TokenRefused(
      "malformed",
      "it is not a text",
      `send it as ${place}`,
    );
  }
  if (token.length > TOKEN_LENGTH_MAX) throw tooLong();
  return token;
}

/**
 * Reads the header of a token, before anything is verified.
 *
 * @throws {ApiError} `unauthorized` if it cannot be read, or asks for an extension (`crit`, `b64`)
 */
function headerOf(jose: Jose, token: string): Header {
  let header: JWSHeaderParameters;
  if (!COMPACT.test(token)) throw notAToken();
  try {
    header = jose.decodeProtectedHeader(token);
  } catch {
    throw notAToken();
  }
  const { alg, kid } = header;
  if (typeof alg !== "string" || !/^(string|undefined)$/.test(typeof kid)) {
    throw notAToken();
  }
  if (Object.hasOwn(header, "crit") || Object.hasOwn(header, "b64")) {
    throw new TokenRefused(
      "malformed",
      'its header has "crit" or "b64", which are not allowed',
    );
  }
  return { ...header, alg };
}
