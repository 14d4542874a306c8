/**
 * Who may publish over HTTP, and from which pages.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import type { PublishKey } from "../lib/access/publish_keys.ts";
import { ApiError } from "../lib/errors.ts";
import type { OriginAllowed } from "../lib/access/origins.ts";
import type { Env } from "./http.ts";

/**
 * Lets requests pass that carry one of `keys` as `Authorization: Bearer <secret>`; all of them where there are no
 * keys. Digests are compared, every one of them, so that the time taken tells neither how much of a secret was right
 * nor which.
 *
 * @throws {ApiError} `unauthorized`
 */
export function requireKey(
  keys: readonly PublishKey[],
): MiddlewareHandler<Env> {
  const digests = keys.map(({ secret }) => digest(secret));
  return function requireKey(c, next) {
    if (digests.length > 0) {
      const given = digest(
        /^Bearer +(.+)$/i.exec(c.req.header("authorization") ?? "")?.[1] ?? "",
      );
      let found = false;
      for (const known of digests) {
        found = timingSafeEqual(known, given) || found;
      }
      if (!found) {
        throw new ApiError(
          "unauthorized",
          "Cannot serve this: no valid publish key was sent; send Authorization: Bearer <secret> of one of PUBLISH_KEYS",
        );
      }
    }
    return next();
  };
}

/** Answers browsers on other origins: those allowed may read and publish, the others may not publish. */
export function guardOrigin(allowed: OriginAllowed): MiddlewareHandler<Env> {
  return async function guardOrigin(c, next) {
    const { incoming, outgoing } = c.env;
    const { origin, host } = incoming.headers;
    outgoing.setHeader("vary", "Origin");
    if (origin !== undefined && allowed(origin, host)) {
      c.header("Access-Control-Allow-Origin", origin);
      if (
        c.req.method === "OPTIONS" &&
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
    } else if (
      origin !== undefined && c.req.method !== "GET" && c.req.method !== "HEAD"
    ) {
      throw new ApiError(
        "origin_not_allowed",
        "Cannot serve this page: its origin is not in ALLOWED_ORIGINS; add it there",
      );
    }
    await next();
  };
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
