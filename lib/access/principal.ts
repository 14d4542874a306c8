/**
 * Principals: who a client or publisher is, and what it may do.
 *
 * @module
 */

/** An action that a principal may perform in a room. */
export type Action =
  | "subscribe"
  | "history"
  | "presence"
  | "publish"
  | "manage";

/** The right to perform the given actions in the given rooms. */
export interface Grant {
  /** Names of rooms, or patterns of names that end in `*`. */
  readonly rooms: readonly string[];
  readonly actions: readonly Action[];
}

/** A client or publisher whose credentials have been checked, with its rights. The object is frozen. */
export interface Principal {
  /** `key`: a backend with a publish key. `client`: a user with a token. `anonymous`: a sender without credentials. */
  readonly kind: "anonymous" | "client" | "key";
  /** Name of the publish key, or the verified subject of the token; undefined for an anonymous principal. */
  readonly name: string | undefined;
  /** The id of the client's token, by which the token can be revoked; undefined without a token. */
  readonly tokenId: string | undefined;
  /** Time at which the principal's rights expire, in ms since 1970; undefined if they never expire. */
  readonly expiresAt: number | undefined;
  readonly grants: readonly Grant[];
}

/** Creates a principal without a token that may perform `actions` in all rooms and never expires. */
export function makePrincipal(
  kind: Principal["kind"],
  name: string | undefined,
  actions: readonly Action[],
): Principal {
  const grants = Object.freeze([Object.freeze({ rooms: ["*"], actions })]);
  return Object.freeze({
    kind,
    name,
    tokenId: undefined,
    expiresAt: undefined,
    grants,
  });
}
