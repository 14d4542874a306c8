/**
 * Client tokens: verifies JSON Web Tokens (RFC 7519), with the package jose if they are signed with a public key.
 *
 * The kind of key decides which algorithms are accepted: HMAC with the secrets of `TOKEN_SECRET`, and signatures with
 * the public keys of `TOKEN_JWKS_URL`. A public key is never used as the secret of an HMAC. A token cannot name where
 * its key comes from, because the headers `jku`, `x5u`, `jwk` and `x5c` are not looked at.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import type { JWSHeaderParameters } from "jose";
import type { Observe } from "../observer.ts";
import type { Claims } from "./claim_rooms.ts";
import { LEEWAY_SECONDS, TokenRefused } from "./claims.ts";
import { needed } from "../util/needed.ts";
import { type Jose, KeySet, type VerifyingKey } from "./key_set.ts";
import { isSameSeal, type ReadSeal, type Seals } from "./seals.ts";
import {
  checkClaims,
  notAToken,
  TOKEN_LENGTH_MAX,
  tooLong,
  wrongSignature,
} from "./token_checks.ts";
import { hashToken, VerifiedTokens } from "./verified_tokens.ts";
import type { Verified, Verifier } from "./verifier.ts";

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
  /** Makes the seals of tokens that are signed with a public key; undefined if no token gets one. */
  readonly seals?: Seals | undefined;
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

/** A token whose signature is to be proven. */
interface Claimed {
  readonly token: string;
  readonly header: Header;
  readonly hash: string;
  /** The time at which the token arrived, by {@linkcode TokenVerifierOptions.elapsed}. */
  readonly arrived: number;
  readonly readSeal: ReadSeal | undefined;
}

/** How it is known that the signature of a token is right, and the seal of the token. */
interface Proof {
  readonly how: "signature" | "sealed" | "remembered";
  readonly seal: string | undefined;
}

/** The compact form of a signed token (RFC 7515 §7.1). jose also accepts spaces, line ends and padding in it. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** The hash of each HMAC algorithm. */
const HASHES: ReadonlyMap<string, string> = new Map([
  ["HS256", "sha256"],
  ["HS384", "sha384"],
  ["HS512", "sha512"],
]);
const SIGNATURES: ReadonlySet<string> = new Set([
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
]);

/** Verifies client tokens. Keeps the secrets, and fetches the public keys of the issuer. */
export class TokenVerifier implements Verifier {
  readonly #options: TokenVerifierOptions;
  readonly #now: () => number;
  readonly #elapsed: () => number;
  readonly #jose: Promise<Jose>;
  readonly #keySet: KeySet | undefined;
  readonly #verified: VerifiedTokens;

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
   * The signature counts as right if this node remembers the token, or if the client's session has the token's seal.
   *
   * @throws {ApiError} `unauthorized` if the token is not accepted; `token_keys_unavailable`, which is retryable, if
   * that is not known because the issuer's public keys cannot be fetched
   */
  async verify(token: string, readSeal?: ReadSeal): Promise<Verified> {
    if (token.length > TOKEN_LENGTH_MAX) throw tooLong();
    const arrived = this.#elapsed();
    const jose = await this.#jose;
    const header = headerOf(jose, token);
    // A token that is remembered must not keep a key valid that the issuer has withdrawn.
    if (!this.#isHmac(header)) await this.#keySet?.renew();
    const hash = hashToken(token);
    const known = this.#verified.find(hash, this.#now());
    const { generation } = this.#verified;
    const { how, seal }: Proof = known === undefined
      ? await this.#prove(jose, { token, header, hash, arrived, readSeal })
      : { how: "remembered", seal: known.seal };
    const claims = claimsOf(jose, token);
    const now = this.#now();
    checkClaims(claims, this.#options, now);
    this.#options.observe({ kind: "token_verified", how });
    if (known === undefined) {
      const end = (claims.exp + LEEWAY_SECONDS) * 1000;
      this.#verified.add(hash, { end, seal }, generation, now);
    }
    return { claims, seal };
  }

  /** Proves that the signature of a token is right. @throws {ApiError} `unauthorized`, `token_keys_unavailable` */
  async #prove(jose: Jose, claimed: Claimed): Promise<Proof> {
    const { token, header, hash, arrived, readSeal } = claimed;
    const { secrets, seals } = this.#options;
    if (this.#isHmac(header)) {
      // WebCrypto would use another thread, which takes longer than the HMAC itself.
      if (!isSignedWith(secrets, token, header.alg)) {
        throw wrongSignature("TOKEN_SECRET");
      }
      return { how: "signature", seal: undefined };
    }
    const keys = await this.#keysFor(header, arrived);
    const candidates = await Promise.all(keys.map(async (key) => ({
      key,
      seal: await seals?.make(jose, key, hash),
    })));
    const kept = seals && await readSeal?.();
    for (const { seal } of candidates) {
      if (kept === undefined || seal === undefined) break;
      if (isSameSeal(kept, seal)) return { how: "sealed", seal };
    }
    for (const { key, seal } of candidates) {
      if (await hasSigned(jose, key, token, header.alg)) {
        return { how: "signature", seal };
      }
    }
    throw wrongSignature("TOKEN_JWKS_URL");
  }

  /** Returns whether a token with this header is verified with the secrets. */
  #isHmac({ alg }: Header): boolean {
    return HASHES.has(alg) && this.#options.secrets.length > 0;
  }

  async #keysFor(
    header: Header,
    arrived: number,
  ): Promise<readonly VerifyingKey[]> {
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
}

/**
 * Resolves to whether a public key has signed a token with this algorithm.
 *
 * @throws {ApiError} `unauthorized` if the token cannot be verified with this key
 */
async function hasSigned(
  jose: Jose,
  key: VerifyingKey,
  token: string,
  alg: string,
): Promise<boolean> {
  try {
    await jose.compactVerify(token, key, { algorithms: [alg] });
    return true;
  } catch (error) {
    const { JWSSignatureVerificationFailed } = jose.errors;
    if (error instanceof JWSSignatureVerificationFailed) return false;
    throw notAToken();
  }
}

/** Returns whether one of the secrets has signed a token with this HMAC algorithm. Takes as long for any signature. */
function isSignedWith(
  secrets: readonly string[],
  token: string,
  alg: string,
): boolean {
  const end = token.lastIndexOf(".");
  const signature = Buffer.from(token.slice(end + 1), "base64url");
  return secrets.some((secret) => {
    const expected = createHmac(HASHES.get(alg) ?? "", secret)
      .update(token.slice(0, end)).digest();
    return expected.length === signature.length &&
      timingSafeEqual(expected, signature);
  });
}

/** Reads the claims of a token. @throws {ApiError} `unauthorized` if they are not an object */
function claimsOf(jose: Jose, token: string): Claims {
  try {
    return jose.decodeJwt(token);
  } catch {
    throw notAToken();
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
