/**
 * Publish keys: the secrets by which backends are recognized.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";

/** A publisher's name and secret, from `PUBLISH_KEYS`. */
export interface PublishKey {
  readonly name: string;
  readonly secret: string;
}

/** Finds the publish key that a secret belongs to. Keeps only digests of the secrets. */
export class PublishKeys {
  readonly #keys: readonly { name: string; digest: Uint8Array }[];

  /** Computes the digests of all secrets. */
  constructor(keys: readonly PublishKey[]) {
    this.#keys = keys.map(({ name, secret }) => ({
      name,
      digest: digestOf(secret),
    }));
  }

  /** The number of keys. If it is 0, publishing needs no key. */
  get size(): number {
    return this.#keys.length;
  }

  /**
   * Returns the name of the key with this secret; undefined if there is none.
   *
   * Compares the digest with that of every key, in constant time. The duration therefore reveals neither which part of
   * a secret is right nor which key matches.
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
