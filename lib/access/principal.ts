/**
 * Principals: who is connected or publishes, and what they may do.
 *
 * @module
 */

/** What a principal may do in a room. */
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

/** Somebody whose credentials have been checked. It is made once and never changes. */
export interface Principal {
  /** `key`: a backend with a publish key. `client`: a user with a token. `anonymous`: nobody has said who they are. */
  readonly kind: "anonymous" | "client" | "key";
  /** Name of the publish key, or the verified subject of the token. */
  readonly name: string | undefined;
  /** Identifies the token, so that it can be revoked. */
  readonly tokenId: string | undefined;
  /** When the rights end, in ms since 1970. */
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
