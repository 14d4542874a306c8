/**
 * Reads a client's token from a cookie (`TOKEN_COOKIE`).
 *
 * Browsers send cookies with every request, also if another website has caused it. A cookie therefore counts only if
 * the request certainly comes from a page that may use the server: its `Origin` is allowed or, without one, the browser
 * says `Sec-Fetch-Site: same-origin`.
 *
 * @module
 */
import { parse } from "cookie";
import { TokenRefused } from "./claims.ts";
import type { OriginHeaders, OriginRule } from "./origins.ts";

/** The headers of a request that may have a token in a cookie. */
export interface CookieHeaders extends OriginHeaders {
  readonly cookie?: string | undefined;
}

/**
 * Returns the token in the cookie of a request; undefined if it has no such cookie, or if the cookie does not count.
 *
 * @throws {ApiError} `unauthorized` if the request has the cookie twice. One of both may have been set by another site
 * of the same domain, and it is not known which.
 */
export type ReadTokenCookie = (headers: CookieHeaders) => string | undefined;

/**
 * Creates the function that reads the cookie `name` of requests that `rule` allows. The function returns undefined for
 * every request if `name` is undefined.
 */
export function tokenCookieReader(
  name: string | undefined,
  rule: OriginRule,
): ReadTokenCookie {
  if (name === undefined) return () => undefined;
  return (headers) => {
    const { cookie } = headers;
    if (cookie === undefined || !rule(headers).credentials) return undefined;
    let count = 0;
    // The package calls `decode` once for each name, so the name is counted here.
    for (const pair of cookie.split(";")) {
      if (pair.slice(0, pair.indexOf("=")).trim() === name) count++;
    }
    if (count > 1) {
      throw new TokenRefused(
        "malformed",
        `the request has the cookie ${name} twice`,
        "delete one of both, and give the cookie a name that begins with __Host-, so that no other site can set it",
      );
    }
    const token: unknown = Reflect.get(parse(cookie), name);
    return typeof token === "string" && token !== "" ? token : undefined;
  };
}
