/**
 * Access: the one place that decides who somebody is and what they may do.
 *
 * Routes, the publisher and the clients ask here before they act, so that rights of another kind (tokens, patterns of
 * rooms) are added here and nowhere else.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { type Action, makePrincipal, type Principal } from "./principal.ts";
import type { PublishKeys } from "./publish_keys.ts";

/** What somebody presents to say who they are. */
export interface Credentials {
  /** The secret of `Authorization: Bearer <secret>`, if one was sent. */
  readonly bearer?: string | undefined;
}

/** Decides who somebody is and what they may do. */
export interface Access {
  /**
   * Finds out who presents these credentials. Without any, it is an anonymous principal.
   *
   * @throws {ApiError} `unauthorized` if the credentials are not valid
   */
  authenticate(credentials: Credentials): Promise<Principal>;
  /**
   * Returns why a principal may not do something in a room, or undefined if it may. Without a room, returns why it may
   * do so in none. Decides from memory alone, because it is called inside synchronous steps.
   */
  refusal(
    principal: Principal,
    action: Action,
    room?: string,
  ): ApiError | undefined;
}

const SUBSCRIBER: readonly Action[] = ["subscribe"];
const EVERYTHING: readonly Action[] = [
  "subscribe",
  "history",
  "presence",
  "publish",
  "manage",
];

/**
 * Makes the access of a server without client tokens: anybody may subscribe to any room. A valid publish key allows
 * everything else, in any room; if no keys are set, so does none.
 */
export function openAccess(keys: PublishKeys): Access {
  const anonymous = makePrincipal(
    "anonymous",
    undefined,
    keys.size === 0 ? EVERYTHING : SUBSCRIBER,
  );
  return {
    authenticate: ({ bearer }) => {
      if (bearer === undefined || keys.size === 0) {
        return Promise.resolve(anonymous);
      }
      const name = keys.find(bearer);
      return name === undefined
        ? Promise.reject(unauthorized())
        : Promise.resolve(makePrincipal("key", name, EVERYTHING));
    },
    // Every grant made here covers every room.
    refusal: ({ grants }, action) =>
      grants.some(({ actions }) => actions.includes(action))
        ? undefined
        : unauthorized(),
  };
}

function unauthorized(): ApiError {
  return new ApiError(
    "unauthorized",
    "Cannot serve this request: it carries no valid publish key; send Authorization: Bearer <secret> with a secret from PUBLISH_KEYS",
  );
}
