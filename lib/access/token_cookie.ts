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
import type { Credentials } from "./access.ts";
import { TokenRefused } from "./claims.ts";
import type { OriginHeaders, OriginRule } from "./origins.ts";

/** The headers of a request that may have a token in a cookie. */
export interface CookieHeaders extends OriginHeaders {
  readonly cookie?: string | undefined;
}

/** The token in the cookie of a request. */
export interface TokenCookie {
  /** Undefined if the request has no such cookie, or if the cookie does not count. */
  readonly token: string | undefined;
  /** Whether the request has the cookie, and it does not count because of the page that may have sent the request. */
  readonly isIgnored: boolean;
}

/**
 * Reads the token in the cookie of a request.
 *
 * @throws {ApiError} `unauthorized` if the request has the cookie twice. One of both may have been set by another site
 * of the same domain, and it is not known which.
 */
export type ReadTokenCookie = (headers: CookieHeaders) => TokenCookie;

/** Returns the credentials of a sender that has only a cookie. */
export function credentialsIn(
  { token, isIgnored }: TokenCookie,
): Pick<Credentials, "place"> & { readonly secret: string | undefined } {
  if (isIgnored) return { secret: undefined, place: "ignored_cookie" };
  return { secret: token, ...token !== undefined && { place: "cookie" } };
}

const NONE: TokenCookie = { token: undefined, isIgnored: false };

/**
 * Creates the function that reads the cookie `name` of requests that `rule` allows. The function returns no token
 * for every request if `name` is undefined.
 */
export function tokenCookieReader(
  name: string | undefined,
  rule: OriginRule,
): ReadTokenCookie {
  if (name === undefined) return () => NONE;
  return (headers) => {
    const { cookie } = headers;
    if (cookie === undefined) return NONE;
    const count = countOf(name, cookie);
    if (count === 0) return NONE;
    if (!rule(headers).credentials) {
      return { token: undefined, isIgnored: true };
    }
    if (count > 1) {
      throw new TokenRefused(
        "malformed",
        `the request has the cookie ${name} twice`,
        "delete one of both, and give the cookie a name that begins with __Host-, so that no other site can set it",
      );
    }
    const token: unknown = Reflect.get(parse(cookie), name);
    return typeof token === "string" && token !== ""
      ? { token, isIgnored: false }
      : NONE;
  };
}

/** Returns how often a header `Cookie` has the cookie `name`. The package `cookie` reads only the first one. */
function countOf(name: string, header: string): number {
  const pairs = header.split(";").map((pair) => pair.split("="));
  return pairs.filter(([found = "", ...value]) =>
    value.length > 0 && found.trim() === name
  ).length;
}
