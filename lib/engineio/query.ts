/**
 * The query in the URL of an Engine.IO request.
 *
 * @module
 */
import { SOCKET_IO_PATH } from "../http/target.ts";

/**
 * The URL of a client that connects by WebSocket from the start, and the parsed query of this URL, which all such
 * clients share.
 */
const PLAIN = `${SOCKET_IO_PATH}?EIO=4&transport=websocket`;
const PLAIN_QUERY = Object.freeze({ EIO: "4", transport: "websocket" });

/** Returns the parameters in the query of a URL. If a parameter is repeated, its last value counts. */
export function queryOf(url: string): Readonly<Record<string, string>> {
  if (url === PLAIN) return PLAIN_QUERY;
  const start = url.indexOf("?");
  const query = start < 0 ? "" : url.slice(start + 1);
  return Object.fromEntries(new URLSearchParams(query));
}
