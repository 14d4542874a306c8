/**
 * Origins: checks from which pages browsers may send requests to this server.
 *
 * @module
 */
/** Returns whether a request from a page of `origin`, sent to `host` (the `Host` header), may be served. */
export type OriginAllowed = (
  origin: string | undefined,
  host: string | undefined,
) => boolean;

/**
 * Makes the rule of `ALLOWED_ORIGINS`. It allows the origins in the list, or any origin if the list contains `*`. The
 * server's own origin is always allowed. If `HOST` is a loopback address, every loopback origin is allowed too. A
 * request without an `Origin` header is allowed, because it does not come from a browser, or comes from a page of the
 * server itself.
 *
 * The rule also covers WebSockets, which CORS does not protect (RFC 6455 §10.2), and publishes: a page may send a
 * `text/plain` POST to any server without a preflight request, so any website could publish to a server on localhost.
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

/** Returns whether a `HOST` can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" ||
    /^127(\.\d{1,3}){3}$/.test(host);
}
