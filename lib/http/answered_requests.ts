/**
 * Releases requests whose responses have been sent. Deno's node:http keeps them in memory for longer.
 *
 * node:http keeps the requests in flight in a `Map`, to which it adds an entry for each request and deletes it later.
 * Such a `Map` starts a new table every few dozen requests, and in V8 each old table refers to the next. Once a full
 * collection has promoted one table, all later ones stay until the next full collection, each with the requests that
 * were in flight when its table ended, and every collection of young objects copies them. The effect is measured in
 * `docs/decisions/0004-node-http-and-engine.md`.
 *
 * Depends on private parts of Deno 2.9.6 (`ext/node/polyfills/_http_server.ts`: `ConnectionsList`);
 * `tests/lib/http/answered_requests_test.ts` fails if they change. Without them, everything works but uses more memory.
 *
 * @module
 */
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";

/** The entry of node:http for a request in flight. It reads the request only to close one that takes too long. */
interface InFlightEntry {
  req: IncomingMessage | null;
}

/** The requests in flight. An entry that is deleted no longer refers to its request. */
class ReleasingMap extends Map<Socket, InFlightEntry> {
  override delete(socket: Socket): boolean {
    const entry = this.get(socket);
    if (entry !== undefined) entry.req = null;
    return super.delete(socket);
  }
}

/** Makes a server, which does not listen yet, release each request once its response has been sent. */
export function releaseAnsweredRequests(server: Server): void {
  // An earlier listener of the same event makes the list.
  server.once("listening", () => {
    const key = Object.getOwnPropertySymbols(server).find(({ description }) =>
      description === "http.server.connections"
    );
    const list = key && Reflect.get(server, key);
    if (list?._active?.size === 0) list._active = new ReleasingMap();
  });
}
