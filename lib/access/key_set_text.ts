/**
 * Reads the response of the server of `TOKEN_JWKS_URL`.
 *
 * @module
 */
import type { JSONWebKeySet } from "jose";
import { isFields } from "../util/fields.ts";

/** The types of keys that verify signatures (RFC 7518 §6.1, RFC 8037 §2). */
const KEY_TYPES: readonly unknown[] = ["RSA", "EC", "OKP"];

/** A key set has no key that can verify signatures: the issuer has withdrawn all keys, or has made a mistake. */
export class NoUsableKey extends Error {}

/**
 * Returns the key set in a response.
 *
 * @throws {NoUsableKey} if it has no key that can verify signatures
 * @throws {Error} if the response is not a key set; the message says why, for a log line, and quotes nothing of it
 */
export function readKeySet(text: string): JSONWebKeySet {
  const set = parse(text);
  if (!isFields(set) || !Array.isArray(set.keys)) {
    throw new Error(
      isFields(set) && "jwks_uri" in set
        ? "the response is an OpenID discovery document and not a key set; set TOKEN_JWKS_URL to its jwks_uri"
        : 'the response is not a key set: it has no list "keys"',
    );
  }
  const { keys } = set;
  if (!keys.every(isFields)) {
    throw new Error(
      'the response is not a key set: an item of "keys" is not an object',
    );
  }
  if (!keys.some(isUsable)) {
    throw new NoUsableKey("the key set has no key that verifies signatures");
  }
  return set as unknown as JSONWebKeySet;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(
      text.trimStart().startsWith("<")
        ? "the response is a page (HTML) and not a key set"
        : "the response is not JSON",
    );
  }
}

/** Returns whether a key may verify signatures, by what it says about itself. */
function isUsable(
  { kty, use, key_ops: ops }: Record<string, unknown>,
): boolean {
  return KEY_TYPES.includes(kty) && (use === undefined || use === "sig") &&
    (!Array.isArray(ops) || ops.includes("verify"));
}
