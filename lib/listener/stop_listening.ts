/**
 * The end of listening, with as few lost connections as possible.
 *
 * The kernel completes a connection before the process accepts it. When the listener is closed, the kernel resets the
 * connections that are complete and not accepted. A balancer has sent its request by then, and cannot tell whether a
 * node has taken it: nginx answers a POST with 502. No system call closes a listener and keeps its queue. Therefore the
 * listener is closed when its queue has just been emptied.
 *
 * @module
 */
import type { Server as HttpServer } from "node:http";
import { Server } from "node:net";

/** For how long a connection is waited for. If none comes, the queue is most likely empty. */
const QUIET_MS = 50;

/**
 * Closes a server's listener, after {@linkcode QUIET_MS} at most. Connections that are accepted by then are still
 * served, except those that are idle; the server emits `close` when the last of them has ended.
 */
export async function stopListening(server: HttpServer): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, QUIET_MS);
    // Whenever a connection is accepted, all others in the queue are accepted before this promise's continuation runs.
    server.once("connection", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  // Not the `close` of node:http: it looks at each connection first, and the queue fills meanwhile.
  Server.prototype.close.call(server);
  server.closeIdleConnections();
}
