/**
 * The middlewares of requests: headers, encoding, origins, and access.
 *
 * @module
 */
import type { Access } from "../lib/access/access.ts";
import type { OriginAllowed } from "../lib/access/origins.ts";
import type { Action } from "../lib/access/principal.ts";
import { ApiError } from "../lib/errors.ts";
import {
  type Middleware,
  requestHeader,
  requestTarget,
  setDefaultHeader,
} from "./exchange.ts";

/** Sets the headers of every response, unless its route sets others. */
export function securityHeaders(): Middleware {
  return function securityHeaders(c, next) {
    setDefaultHeader(c, "x-content-type-options", "nosniff");
    setDefaultHeader(c, "cache-control", "no-store");
    return next();
  };
}

/**
 * Rejects a URL with invalid percent-encoding. Hono would use the encoded text as the name of a room.
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
 * Lets pages of allowed origins read responses, and responds to their preflight requests. Pages of other origins may
 * send only `GET` and `HEAD`, and the browser does not show them the response.
 *
 * @throws {ApiError} `origin_not_allowed`
 */
export function guardOrigin(allowed: OriginAllowed): Middleware {
  return async function guardOrigin(c, next) {
    setDefaultHeader(c, "vary", "Origin");
    const origin = requestHeader(c, "origin");
    if (origin === undefined) return await next();
    const { method } = c.req;
    if (allowed(origin, requestHeader(c, "host"))) {
      c.header("Access-Control-Allow-Origin", origin);
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
    } else if (method !== "GET" && method !== "HEAD") {
      throw new ApiError(
        "origin_not_allowed",
        "Cannot serve this page: its origin is not allowed; add it to ALLOWED_ORIGINS",
      );
    }
    await next();
  };
}

/**
 * Authenticates the sender of a request and stores it as `principal`.
 *
 * @throws {ApiError} `unauthorized` if the credentials are not valid
 */
export function authenticate(access: Access): Middleware {
  return async function authenticate(c, next) {
    const header = requestHeader(c, "authorization") ?? "";
    const bearer = /^Bearer +(.+)$/i.exec(header)?.[1];
    c.set("principal", await access.authenticate({ bearer }));
    await next();
  };
}

/**
 * Rejects a request whose principal may not do `action`. If the path names a room, the check is for this room.
 *
 * @throws {ApiError} `unauthorized`
 */
export function authorize(access: Access, action: Action): Middleware {
  return function authorize(c, next) {
    const room = c.req.param("room");
    const refusal = access.refusal(c.get("principal"), action, room);
    if (refusal !== undefined) throw refusal;
    return next();
  };
}
