/**
 * Gives publishers that do not trust each other separate idempotency keys.
 *
 * If Ann and Bob shared their keys, Ann could guess a key of Bob and use it first. Bob's message would then count as a
 * duplicate and not be published. If Bob was first, Ann's answer would tell her so. Each of them therefore has a scope,
 * for example the name of the user. Before a key is stored, the scope is put in front of it, between two NUL characters.
 * Roomcast refuses keys and names of users with control characters, so a client cannot send a key with a scope in it.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type Principal, userOf } from "../access/principal.ts";

/** The scope of clients without credentials. */
const ANONYMOUS = "\u0001";
/** The beginning of the scopes of publish keys. */
const LIMITED = "\u0002";
/** The scopes of the publish keys that are limited to rooms, by their principals. */
const scopes = new WeakMap<Principal, string>();

/**
 * Returns the idempotency key under which a client's key is stored. Each user has keys of its own; clients without a
 * user share theirs.
 */
export function keyOfClient(principal: Principal, key: string): string {
  return join(userOf(principal) ?? ANONYMOUS, key);
}

/**
 * Returns the idempotency key under which a key is stored that was sent over HTTP. Publish keys that are limited to the
 * same rooms share their idempotency keys, so that a publish can be repeated with a new secret. All publishers that
 * may publish into every room share theirs.
 */
export function keyOfBackend(principal: Principal, key: string): string {
  return principal.kind !== "key" ||
      principal.rights.allowEverywhere("publish")
    ? key
    : join(scopeOf(principal), key);
}

function scopeOf(principal: Principal): string {
  let scope = scopes.get(principal);
  if (scope === undefined) {
    const rooms = principal.rights.patternsOf("publish").toSorted();
    const hash = createHash("sha256").update(JSON.stringify(rooms));
    scope = `${LIMITED}${hash.digest("base64url").slice(0, 22)}`;
    scopes.set(principal, scope);
  }
  return scope;
}

function join(scope: string, key: string): string {
  return `\u0000${scope}\u0000${key}`;
}
