/**
 * The middlewares of the routes: they set headers, and check a request's encoding, origin and access.
 *
 * @module
 */
import type { Context } from "hono";
import type { Access, Credentials } from "../lib/access/access.ts";
import { bearerSecret } from "../lib/access/bearer.ts";
import { EXPOSED_HEADERS, type OriginRule } from "../lib/access/origins.ts";
import {
  credentialsIn,
  type ReadTokenCookie,
} from "../lib/access/token_cookie.ts";
import { ApiError } from "../lib/errors.ts";
import type { Needs } from "./api/operation.ts";
import {
  type Env,
  type Middleware,
  originHeaders,
  requestHeader,
  requestTarget,
  setDefaultHeader,
} from "./exchange.ts";

/**
 * Sets two headers on every response: `cache-control: no-store`, and `x-content-type-options: nosniff`, which keeps
 * browsers from guessing content types. A route may set other values.
 */
export function securityHeaders(): Middleware {
  return function securityHeaders(c, next) {
    setDefaultHeader(c, "x-content-type-options", "nosniff");
    setDefaultHeader(c, "cache-control", "no-store");
    return next();
  };
}

/**
 * Rejects a URL with invalid percent-encoding. Hono would otherwise take the encoded text for the name of a room.
 *
 * @throws {ApiError} `malformed_request`
 */
export function checkEncoding(): Middleware {
  return function checkEncoding(c, next) {
    const target = requestTarget(c);
    if (target.includes("%") && !isDecodable(target)) {
      throw new ApiError(
        "malformed_request",
        "Cannot read the URL: its percent-encoding is not valid UTF-8; encode each part with encodeURIComponent",
      );
    }
    return next();
  };
}

function isDecodable(target: string): boolean {
  try {
    decodeURIComponent(target);
    return true;
  } catch {
    return false;
  }
}

/**
 * Allows pages of allowed origins to read responses, and responds to their preflight requests. Pages of other origins
 * may send only `GET` and `HEAD`, and browsers do not let these pages read the response. Without `foreignReads`, they
 * may not send anything.
 *
 * @throws {ApiError} `origin_not_allowed`, `host_not_allowed`
 */
export function guardOrigin(
  rule: OriginRule,
  foreignReads: boolean,
): Middleware {
  return async function guardOrigin(c, next) {
    setDefaultHeader(c, "vary", "Origin");
    const { refusal, readableBy, credentials } = rule(originHeaders(c));
    const { method } = c.req;
    const isRead = foreignReads && (method === "GET" || method === "HEAD");
    if (
      refusal !== undefined &&
      !(isRead && refusal.code === "origin_not_allowed")
    ) throw refusal;
    if (readableBy === undefined) return await next();
    c.header("Access-Control-Allow-Origin", readableBy);
    c.header("Access-Control-Expose-Headers", EXPOSED_HEADERS);
    if (credentials) c.header("Access-Control-Allow-Credentials", "true");
    if (
      method === "OPTIONS" &&
      c.req.header("access-control-request-method") !== undefined
    ) {
      c.header("Access-Control-Allow-Methods", "GET, POST, DELETE");
      c.header(
        "Access-Control-Allow-Headers",
        "authorization, content-type, idempotency-key, last-event-id",
      );
      c.header("Access-Control-Max-Age", "600");
      return c.body(null, 204);
    }
    await next();
  };
}

/**
 * Authenticates the sender of a request and stores it as `principal`.
 *
 * @param from Which credentials count, see {@linkcode Credentials}.
 * @param tokenCookie Reads a token from a cookie, which counts if the request has no other credentials.
 * @throws {ApiError} `unauthorized` if the credentials are not valid; `token_keys_unavailable` if a token cannot be
 * verified at the moment
 */
export function authenticate(
  access: Access,
  from: Credentials["from"],
  tokenCookie?: ReadTokenCookie,
): Middleware {
  return async function authenticate(c, next) {
    const credentials = readCredentials(c, tokenCookie);
    c.set("principal", await access.authenticate({ from, ...credentials }));
    await next();
  };
}

/** Reads the credentials of a request from its header `Authorization` or, if it has none there, from a cookie. */
export function readCredentials(
  c: Context<Env>,
  tokenCookie?: ReadTokenCookie,
): Omit<Credentials, "from"> & { readonly secret: string | undefined } {
  const header = requestHeader(c, "authorization") ?? "";
  const bearer = bearerSecret(header);
  const lacksBearer = header !== "" && bearer === undefined;
  if (bearer !== undefined || tokenCookie === undefined) {
    return { secret: bearer, lacksBearer };
  }
  return { ...credentialsIn(tokenCookie(originHeaders(c))), lacksBearer };
}

/**
 * Rejects a request whose principal does not have the right that an operation needs in the room that the path names. If
 * the path names no room, rejects a principal that has the right in no room or, with `inAllRooms`, not in all rooms.
 *
 * @throws {ApiError} `unauthorized`, `forbidden`
 */
export function authorize(
  access: Access,
  { right, inAllRooms }: Pick<Needs, "right" | "inAllRooms">,
): Middleware {
  return function authorize(c, next) {
    const principal = c.get("principal");
    const refusal = access.refusal(principal, right, c.req.param("room")) ??
      (inAllRooms === undefined
        ? undefined
        : access.refusalEverywhere(principal, right, inAllRooms));
    if (refusal !== undefined) throw refusal;
    return next();
  };
}
