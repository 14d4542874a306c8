/**
 * Ends connections on which an invalid request has arrived, so that they cannot reach other connections.
 *
 * Before node:http reports an invalid request, it puts the connection's parser back for the next connection. But Deno
 * leaves the connection's listeners in place, which pass all later bytes to this parser. Then whatever the client sends
 * next is taken for a request of whoever has the parser by now, and that client gets the answer to it.
 *
 * Depends on Deno 2.9.6 (`ext/node/polyfills/_http_server.js`: `socketOnError`); `tests/lib/http/freed_parser_test.ts`
 * fails without this module. If Deno keeps the parser, the module does no harm.
 *
 * @module
 */
import type { Duplex } from "node:stream";

/**
 * How long the rest of what the client sends is discarded after the response, in ms. Input that is not read would reset
 * the connection, and the client might not read the response.
 */
const LINGER_MS = 200;

/**
 * Takes a connection away from node:http's parser. Call this in the same step in which node:http reports the error.
 *
 * @returns Sends a response and closes the connection.
 */
export function detach(connection: Duplex): (response: string) => void {
  // These listeners pass bytes to the parser.
  for (const event of ["data", "end"]) connection.removeAllListeners(event);
  return (response) => {
    if (!connection.writable) return void connection.destroy();
    connection.end(response);
    connection.resume();
    const timer = setTimeout(() => connection.destroy(), LINGER_MS);
    connection.once("close", () => clearTimeout(timer));
  };
}
