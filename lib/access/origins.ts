/**
 * Which pages may talk to this server from a browser.
 *
 * @module
 */
import { isLoopback } from "../config/config.ts";

/** Answers whether a request of `origin`, sent to `host` (the `Host` header), may be served. */
export type OriginAllowed = (
  origin: string | undefined,
  host: string | undefined,
) => boolean;

/**
 * Makes the rule of `ALLOWED_ORIGINS`: exact origins, `*` for any, always the server's own; with a loopback `HOST`
 * any loopback origin too. No `Origin` header means no browser, or a page of the server's own.
 *
 * It holds for WebSockets as well, which CORS does not guard (RFC 6455 §10.2), and for publishes: a page may send a
 * `text/plain` POST anywhere without asking, so a page on the web could publish into a server on localhost.
 */
export function allowOrigins(
  allowed: readonly string[],
  serverHost: string,
): OriginAllowed {
  const any = allowed.includes("*");
  const exact = new Set(allowed);
  const loopback = isLoopback(serverHost);
  return (origin, host) => {
    if (any || origin === undefined || exact.has(origin)) return true;
    if (!URL.canParse(origin)) return false;
    const url = new URL(origin);
    return url.host === host || (loopback && isLoopback(url.hostname));
  };
}
