/**
 * Reads and rewrites request targets.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";

/** The path that Engine.IO serves. Names below it are files of the client bundle. */
export const SOCKET_IO_PATH = "/socket.io/";
/** The same path without its slash, which clients use with the option `addTrailingSlash: false`. */
const WITHOUT_SLASH = /^\/socket\.io(?=$|\?)/;

/** Scheme and authority of an absolute target, which ends before its path or its query. */
const ABSOLUTE = /^https?:\/\/([^/?#]*)/i;

/**
 * Rewrites a target to the one form that later code knows. A target of the form `http://host/path`, which proxies may
 * send, becomes `/path`, and the `Host` header is set to that host (RFC 9112 §3.2.2). {@linkcode SOCKET_IO_PATH} gets
 * its slash if that is missing.
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

/** Returns whether Engine.IO serves a request, and not a file of the client bundle. */
export function isForEngine({ url = "" }: IncomingMessage): boolean {
  return url.startsWith(SOCKET_IO_PATH) &&
    (url.length === SOCKET_IO_PATH.length ||
      url[SOCKET_IO_PATH.length] === "?");
}

/** Returns whether a request asks Engine.IO for a WebSocket. */
export function isSocketUpgrade(request: IncomingMessage): boolean {
  return isForEngine(request) &&
    request.headers.upgrade?.toLowerCase() === "websocket";
}
