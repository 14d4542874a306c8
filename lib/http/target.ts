/**
 * Reads and rewrites the targets of HTTP requests.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";

/** The path that Engine.IO serves. Paths that begin with this path are files of the client bundle. */
export const SOCKET_IO_PATH = "/socket.io/";
/**
 * Matches the path `/socket.io` without a slash at its end. Clients with the option `addTrailingSlash: false` send this
 * path.
 */
const WITHOUT_SLASH = /^\/socket\.io(?=$|\?)/;

/** Matches the beginning of an absolute target, up to its path or query. The group is the host with its port. */
const ABSOLUTE = /^https?:\/\/([^/?#]*)/i;

/**
 * Rewrites the target of a request, so that all other code has to handle only one form. A target `http://host/path`,
 * which proxies may send, becomes `/path`, and the `Host` header is set to `host` (RFC 9112 §3.2.2). If {@linkcode
 * SOCKET_IO_PATH} lacks its last slash, the slash is added.
 */
export function normalizeTarget(request: IncomingMessage): void {
  useOriginForm(request);
  const { url = "" } = request;
  if (WITHOUT_SLASH.test(url)) {
    request.url = url.replace(WITHOUT_SLASH, SOCKET_IO_PATH);
  }
}

function useOriginForm(request: IncomingMessage): void {
  const { url = "" } = request;
  if (url.startsWith("/")) return;
  const [start, host] = ABSOLUTE.exec(url) ?? [];
  if (start === undefined || host === undefined) return;
  const rest = url.slice(start.length);
  request.url = rest.startsWith("/") ? rest : `/${rest}`;
  request.headers.host = host;
}

/** Returns whether a request is for Engine.IO and not for a file of the client bundle. */
export function isForEngine({ url = "" }: IncomingMessage): boolean {
  return url.startsWith(SOCKET_IO_PATH) &&
    (url.length === SOCKET_IO_PATH.length ||
      url[SOCKET_IO_PATH.length] === "?");
}

/** Returns whether a request is for Engine.IO and asks for a WebSocket. */
export function isSocketUpgrade(request: IncomingMessage): boolean {
  return isForEngine(request) &&
    request.headers.upgrade?.toLowerCase() === "websocket";
}
