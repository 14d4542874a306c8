/**
 * Principals: who a client or publisher is, and what it may do.
 *
 * @module
 */
import type { Rights } from "./rights.ts";

/** A client or publisher whose credentials have been checked, with its rights. The object is frozen. */
export interface Principal {
  /** `key`: a backend with a publish key. `client`: a client with a token. `anonymous`: a sender without credentials. */
  readonly kind: "anonymous" | "client" | "key";
  /** The user that the token names in `sub`; undefined without a token, and if the token names no user. */
  readonly user: string | undefined;
  /** The name of the publish key; undefined without a key. */
  readonly key: string | undefined;
  /** The id of the token (`jti`), by which it can be revoked; undefined if it has none. */
  readonly tokenId: string | undefined;
  /** Time at which the token expires, in ms since 1970; undefined without a token. */
  readonly expiresAt: number | undefined;
  /** What the token tells other members of a room about the user (`info`); any JSON. */
  readonly info: unknown;
  /** Rooms that the client joins when it connects, besides those that it names. */
  readonly rooms: readonly string[];
  readonly rights: Rights;
}

/** Creates a frozen principal. Properties that are not given are undefined, and `rooms` is empty. */
export function makePrincipal(
  { kind, rights, ...facts }:
    & Pick<Principal, "kind" | "rights">
    & Partial<Principal>,
): Principal {
  return Object.freeze({
    kind,
    rights,
    user: facts.user,
    key: facts.key,
    tokenId: facts.tokenId,
    expiresAt: facts.expiresAt,
    info: facts.info,
    rooms: Object.freeze([...facts.rooms ?? []]),
  });
}

/**
 * Returns the user to whom a principal's session belongs: the user of its token, an empty text if the token names no
 * user, and undefined without a token. A session with a token can therefore not be resumed without one.
 */
export function userOf({ kind, user }: Principal): string | undefined {
  return kind === "client" ? user ?? "" : undefined;
}
