/**
 * Reads and rewrites request targets.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";

/** The path that Engine.IO serves. Names below it are files of the client bundle. */
export const SOCKET_IO_PATH = "/socket.io/";

/** Scheme and authority of an absolute target, which ends before its path or its query. */
const ABSOLUTE = /^https?:\/\/([^/?#]*)/i;

/**
 * Rewrites a target of the form `http://host/path`, which proxies may send, to `/path`, and sets the `Host` header to
 * that host (RFC 9112 §3.2.2). Later code therefore sees only one form.
 */
export function useOriginForm(request: IncomingMessage): void {
  const { url = "" } = request;
  if (url.startsWith("/")) return;
  const [start, host] = ABSOLUTE.exec(url) ?? [];
  if (start === undefined || host === undefined) return;
  const rest = url.slice(start.length);
  request.url = rest.startsWith("/") ? rest : `/${rest}`;
  request.headers.host = host;
}

/** Returns whether a request asks for a WebSocket at {@linkcode SOCKET_IO_PATH} or below it. */
export function isSocketUpgrade({ url, headers }: IncomingMessage): boolean {
  return url?.startsWith(SOCKET_IO_PATH) === true &&
    headers.upgrade?.toLowerCase() === "websocket";
}
