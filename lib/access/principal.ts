/**
 * Principals: the identities of clients and publishers, with their rights.
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

/** Allows some actions in some rooms. */
export interface Grant {
  /** Names of rooms, or patterns that end in `*`. */
  readonly rooms: readonly string[];
  readonly actions: readonly Action[];
}

/** A user or program whose credentials have been checked. The object never changes. */
export interface Principal {
  /** `key`: a backend with a publish key. `client`: a user with a token. `anonymous`: a sender without credentials. */
  readonly kind: "anonymous" | "client" | "key";
  /** Name of the publish key, or the verified subject of the token. */
  readonly name: string | undefined;
  /** The id of the token, for revoking it. */
  readonly tokenId: string | undefined;
  /** Time at which the rights expire, in ms since 1970. */
  readonly expiresAt: number | undefined;
  readonly grants: readonly Grant[];
}

/** Makes a principal that has no token and never expires. */
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
