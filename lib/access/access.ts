/**
 * Access: identifies the sender of a request, and decides which actions the sender may perform.
 *
 * The routes, `Publisher` and `Clients` ask an `Access` before they act for a sender. If tokens, or rights for patterns
 * of rooms, are ever added, only this module has to change.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { type Action, makePrincipal, type Principal } from "./principal.ts";
import type { PublishKeys } from "./publish_keys.ts";

/** The credentials that were sent with a request or at connect. */
export interface Credentials {
  /** The secret of the header `Authorization: Bearer <secret>`; undefined if there is no such header. */
  readonly bearer?: string | undefined;
}

/** Identifies the senders of requests and decides which actions they may perform. */
export interface Access {
  /**
   * Resolves to the principal that has these credentials, or to an anonymous principal if there are no credentials.
   *
   * @throws {ApiError} `unauthorized` if the credentials are not valid
   */
  authenticate(credentials: Credentials): Promise<Principal>;
  /**
   * Returns undefined if a principal may perform `action` in `room`, otherwise the error to send. Without `room`,
   * returns undefined if the principal may perform `action` in at least one room. The method is synchronous, because it
   * is called inside synchronous steps.
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
 * Creates the access rules of a server without client tokens. Every principal may subscribe to any room. All other
 * actions need a publish key, which is valid for all rooms. If no publish keys are configured, every principal may
 * perform every action.
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
    // The room is not checked, because every grant of `openAccess()` covers all rooms.
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
