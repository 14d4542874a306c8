/**
 * Origins: checks from which pages browsers may send requests to this server.
 *
 * @module
 */
/**
 * Returns whether a request may be served. `origin` is its `Origin` header: the origin of the page that sent it. `host`
 * is its `Host` header.
 */
export type OriginAllowed = (
  origin: string | undefined,
  host: string | undefined,
) => boolean;

/**
 * Creates the rule for `ALLOWED_ORIGINS`, which allows the origins in `allowed`, or any origin if `allowed` contains
 * `*`. The server's own origin is always allowed. If `serverHost` (`HOST`) is a loopback address, every loopback origin
 * is allowed too. A request without an `Origin` header is allowed, because it was not sent by a browser, or was sent by
 * a page of this server.
 *
 * CORS alone does not suffice. It does not protect WebSockets (RFC 6455 §10.2). And a page may send a `text/plain` POST
 * to any server without a preflight request, so any website could publish to a server on the visitor's machine.
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

/** Returns whether a value of `HOST` is a loopback address, which can be reached only from the same machine. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" ||
    /^127(\.\d{1,3}){3}$/.test(host);
}
