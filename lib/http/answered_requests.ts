/**
 * Lets go of requests that are answered: Deno's node:http does not, for a while.
 *
 * It notes the requests under way in a `Map` that is added to and deleted from at each request. Such a `Map` begins a
 * new table every few dozen requests, and V8 has each old table refer to the next. So once a full collection has made
 * one of them old, they all stay until the next full collection, and with each the requests that were under way when
 * its table ended: every collection of young objects moves them. See `docs/decisions/0004-node-http-and-engine.md`.
 *
 * This reaches into private parts of Deno 2.9.6 (`ext/node/polyfills/_http_server.ts`: `ConnectionsList`).
 * `tests/lib/http/answered_requests_test.ts` fails when they change; all works without it.
 *
 * @module
 */
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";

/** What node:http notes of a request under way, and reads again only for one that takes too long. */
interface Noted {
  req: IncomingMessage | null;
}

/** The requests under way; a note that is deleted no longer refers to its request. */
class ReleasingMap extends Map<Socket, Noted> {
  override delete(socket: Socket): boolean {
    const noted = this.get(socket);
    if (noted !== undefined) noted.req = null;
    return super.delete(socket);
  }
}

/** Has a server, which does not listen yet, forget each request once it is answered. */
export function releaseAnsweredRequests(server: Server): void {
  // The list is made by the listener before this one.
  server.once("listening", () => {
    const key = Object.getOwnPropertySymbols(server).find(({ description }) =>
      description === "http.server.connections"
    );
    const list = key && Reflect.get(server, key);
    if (list?._active?.size === 0) list._active = new ReleasingMap();
  });
}
