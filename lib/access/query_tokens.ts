/**
 * Names of query parameters in which developers send tokens by mistake.
 *
 * Roomcast accepts no token in a URL, because URLs end up in the logs of proxies and in the histories of browsers.
 *
 * @module
 */

/** The names. A request with one of them is refused with advice, also if it has a token elsewhere. */
export const QUERY_TOKENS = [
  "token",
  "access_token",
  "accessToken",
  "auth_token",
  "authToken",
  "authorization",
  "jwt",
] as const;
