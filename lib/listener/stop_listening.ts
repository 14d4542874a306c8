/**
 * Closes the listener of a server with as few lost connections as possible.
 *
 * The kernel completes the handshake of a connection before the process accepts the connection, and keeps it in a queue
 * until then. When the listener is closed, the kernel resets the connections in this queue. A load balancer may already
 * have sent a request on such a connection, and cannot know whether the node has handled the request; nginx responds to
 * such a POST with 502. No system call closes a listener and keeps its queue. Therefore this module closes the listener
 * right after its queue has been emptied.
 *
 * @module
 */
import type { Server as HttpServer } from "node:http";
import { Server } from "node:net";

/** How long to wait for a connection, in ms. If none arrives in this time, the queue is most likely empty. */
const QUIET_MS = 50;

/**
 * Closes the listener of a server within {@linkcode QUIET_MS}, and then the server's idle connections. Requests on the
 * other connections are still served. The server emits `close` when the last connection has ended.
 */
export async function stopListening(server: HttpServer): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, QUIET_MS);
    // When one connection is accepted, all others in the queue are accepted before the code after this `await` runs.
    server.once("connection", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  // `close()` of node:http is not used, because it loops over all connections first, while the queue fills again.
  Server.prototype.close.call(server);
  server.closeIdleConnections();
}
