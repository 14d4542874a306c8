/**
 * Releases requests whose responses have been sent. Deno's node:http keeps them in memory for longer.
 *
 * node:http stores the requests in flight in a `Map`. It adds an entry for each request and deletes the entry later.
 * V8 stores the entries of a `Map` in a table. After a few dozen additions and deletions it starts a new table, and the
 * old one keeps a reference to the new one. If a full garbage collection has moved one old table to the old objects, all
 * later tables stay in memory until the next full collection. Each of them keeps the requests that were in flight when
 * it was replaced, and every collection of young objects has to copy these requests.
 * `docs/decisions/0004-node-http-and-engine.md` has measurements.
 *
 * Depends on private parts of Deno 2.9.6 (`ext/node/polyfills/_http_server.ts`: `ConnectionsList`);
 * `tests/lib/http/answered_requests_test.ts` fails if they change. Without them, everything works but uses more memory.
 *
 * @module
 */
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";

/** The entry of node:http for a request in flight. node:http uses `req` only to close a request that takes too long. */
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

/** Makes a server release each request once its response has been sent. Call it before the server listens. */
export function releaseAnsweredRequests(server: Server): void {
  // An earlier listener of this event has created the list.
  server.once("listening", () => {
    const key = Object.getOwnPropertySymbols(server).find(({ description }) =>
      description === "http.server.connections"
    );
    const list = key && Reflect.get(server, key);
    if (list?._active?.size === 0) list._active = new ReleasingMap();
  });
}
