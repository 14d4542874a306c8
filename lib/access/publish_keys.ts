/**
 * Publish keys: the secrets with which publishers authenticate.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";

/** The name, secret and rooms of one publisher, from `PUBLISH_KEYS` and `PUBLISH_KEY_ROOMS`. */
export interface PublishKey {
  readonly name: string;
  readonly secret: string;
  /** The rooms of the key (`PUBLISH_KEY_ROOMS`), as names and patterns that end in `*`; undefined for all rooms. */
  readonly rooms?: readonly string[];
}

/** Finds the name of a publish key by its secret. Stores only digests of the secrets. */
export class PublishKeys {
  readonly #keys: readonly { name: string; digest: Uint8Array }[];

  /** Stores the names of the keys and the digests of their secrets. */
  constructor(keys: readonly PublishKey[]) {
    this.#keys = keys.map(({ name, secret }) => ({
      name,
      digest: digestOf(secret),
    }));
  }

  /** The number of keys. If there are none, publishing needs no key. */
  get size(): number {
    return this.#keys.length;
  }

  /**
   * Returns the name of the first key with this secret; undefined if no key has it.
   *
   * Compares the digest of `secret` with the digest of every key, each in constant time. The duration therefore reveals
   * neither which part of a secret is right nor which key has it.
   */
  find(secret: string): string | undefined {
    const given = digestOf(secret);
    let found: string | undefined;
    for (const { name, digest } of this.#keys) {
      const equal = timingSafeEqual(digest, given);
      found = equal && found === undefined ? name : found;
    }
    return found;
  }
}

function digestOf(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
