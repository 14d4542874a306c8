/**
 * Access: identifies the sender of a request and decides which actions the sender may perform.
 *
 * Routes, the publisher and the clients ask here before they act. Rights of another kind, such as tokens or patterns of
 * rooms, have to be added only here.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { type Action, makePrincipal, type Principal } from "./principal.ts";
import type { PublishKeys } from "./publish_keys.ts";

/** The credentials that a request or a connection presents. */
export interface Credentials {
  /** The secret of `Authorization: Bearer <secret>`, if one was sent. */
  readonly bearer?: string | undefined;
}

/** Identifies the senders of requests and decides which actions they may perform. */
export interface Access {
  /**
   * Returns the principal with these credentials. Without credentials, it is an anonymous principal.
   *
   * @throws {ApiError} `unauthorized` if the credentials are not valid
   */
  authenticate(credentials: Credentials): Promise<Principal>;
  /**
   * Returns the error if a principal may not do `action` in `room`, or undefined if it may. Without `room`, returns the
   * error if the principal may do `action` in no room at all. It uses only data in memory, because it is called inside
   * synchronous steps.
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
 * Makes the access of a server without client tokens: every principal may subscribe to any room. Everything else needs
 * a valid publish key, which is valid for all rooms. If no keys are configured, everything is allowed without one.
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
    // Every grant of `openAccess()` covers all rooms.
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
