/**
 * Seals: proofs, kept in the sessions of clients, that a node has verified a token with a public key.
 *
 * If a node is killed, all its clients connect to other nodes, which have not verified their tokens. The signature of a
 * public key is expensive to verify, and a seal is not.
 *
 * A seal states one fact that never changes: this public key has signed the token with this hash. What can change is
 * checked each time: whether the key is still in the key set, the times and other claims of the token, and whether the
 * token has been revoked. An old seal, or a copy in another session, is therefore no danger: a client still needs the
 * token itself, whose claims decide what the client may do.
 * Programs that can write to Redis cannot make seals, because the key of the seals is not there
 * (`docs/decisions/0030-sealed-tokens.md`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
} from "node:crypto";
import type { Jose, VerifyingKey } from "./key_set.ts";

/**
 * Reads the seal in the session that a client wants to resume. Resolves to undefined if there is none, or if it cannot
 * be read.
 */
export type ReadSeal = () => Promise<string | undefined>;

/**
 * Minimum length of the longest secret, in bytes. With a seal and its token, somebody who can read Redis could find out
 * by trial whether a guess of the secrets is right.
 */
const LONGEST_BYTES_MIN = 32;
/** Length of a seal, in bytes: half of the HMAC, the least that RFC 2104 §5 recommends. */
const SEAL_BYTES = 16;

/** Makes seals. */
export class Seals {
  readonly #key: KeyObject;
  /** The thumbprints (RFC 7638) of the public keys. Making one takes longer than making a seal. */
  readonly #thumbprints = new WeakMap<VerifyingKey, Promise<string>>();

  private constructor(secrets: readonly string[]) {
    const known = JSON.stringify([...secrets].sort());
    const key = hkdfSync("sha256", known, "", "roomcast token seal", 32);
    this.#key = createSecretKey(new Uint8Array(key));
  }

  /**
   * Creates seals whose key is derived from all these secrets, in any order. Somebody who does not know all of them
   * cannot make one. Returns undefined if no secret has at least {@linkcode LONGEST_BYTES_MIN} bytes.
   */
  static from(secrets: readonly string[]): Seals | undefined {
    return secrets.some((secret) =>
        Buffer.byteLength(secret) >= LONGEST_BYTES_MIN
      )
      ? new Seals(secrets)
      : undefined;
  }

  /** Makes the seal which says that `key` has signed the token with this hash. */
  async make(jose: Jose, key: VerifyingKey, hash: string): Promise<string> {
    const thumbprint = await this.#thumbprintOf(jose, key);
    return createHmac("sha256", this.#key).update(`${thumbprint}.${hash}`)
      .digest().toString("base64url", 0, SEAL_BYTES);
  }

  #thumbprintOf(jose: Jose, key: VerifyingKey): Promise<string> {
    const known = this.#thumbprints.get(key);
    if (known !== undefined) return known;
    const made = jose.calculateJwkThumbprint(key);
    this.#thumbprints.set(key, made);
    return made;
  }
}

/** Returns whether a seal is the expected one. Takes as long for any seal of the same length. */
export function isSameSeal(seal: string, expected: string): boolean {
  const [given, right] = [Buffer.from(seal), Buffer.from(expected)];
  return given.length === right.length && timingSafeEqual(given, right);
}
