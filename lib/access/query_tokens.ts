/**
 * Names of query parameters in which developers send tokens and secrets by mistake.
 *
 * Roomcast accepts neither in a URL, because URLs end up in the logs of proxies and in the histories of browsers.
 *
 * @module
 */

/** The names for tokens. A request with one of them is refused with advice, also if it has a token elsewhere. */
export const QUERY_TOKENS = [
  "token",
  "access_token",
  "accessToken",
  "auth_token",
  "authToken",
  "authorization",
  "jwt",
] as const;

/** The names for secrets of publish keys. `key` is left out, because it may be an idempotency key. */
export const QUERY_SECRETS = [
  "api_key",
  "auth",
  "publish_key",
  "secret",
] as const;
