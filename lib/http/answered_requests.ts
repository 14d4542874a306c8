/**
 * Frees the memory of requests whose responses have been sent. Deno's node:http would keep these requests for longer.
 *
 * node:http stores the requests in flight in a `Map`: it adds an entry for each request and deletes the entry later. V8
 * stores the entries of a `Map` in a table. After a few dozen additions and deletions V8 starts a new table, and the
 * old table keeps a reference to the new one. If a full garbage collection has moved one table to the old objects, all
 * tables that were started after it stay in memory until the next full collection. Each table keeps the requests that
 * were in flight when the table was replaced, and every collection of young objects has to copy these requests.
 * `docs/decisions/0004-node-http-and-engine.md` has measurements.
 *
 * Depends on private parts of Deno 2.9.6 (`ext/node/polyfills/_http_server.ts`: `ConnectionsList`);
 * `tests/lib/http/answered_requests_test.ts` fails if these parts change. Without them the server works, but uses more
 * memory.
 *
 * @module
 */
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";

/**
 * The entry that node:http stores for a request in flight. node:http uses `req` only to close a request that takes too
 * long.
 */
interface InFlightEntry {
  req: IncomingMessage | null;
}

/** A map of the requests in flight. When an entry is deleted, drops the entry's reference to its request. */
class ReleasingMap extends Map<Socket, InFlightEntry> {
  override delete(socket: Socket): boolean {
    const entry = this.get(socket);
    if (entry !== undefined) entry.req = null;
    return super.delete(socket);
  }
}

/**
 * Makes node:http drop its reference to each request once the response has been sent, so that the request's memory can
 * be freed. Call this function before the server listens.
 */
export function releaseAnsweredRequests(server: Server): void {
  // node:http creates its list of requests in its own listener of this event, which runs before this one.
  server.once("listening", () => {
    const key = Object.getOwnPropertySymbols(server).find(({ description }) =>
      description === "http.server.connections"
    );
    const list = key && Reflect.get(server, key);
    if (list?._active?.size === 0) list._active = new ReleasingMap();
  });
}
