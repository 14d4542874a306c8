/**
 * Closes the listener of a server with as few lost connections as possible.
 *
 * The kernel completes the handshake of a connection before the process accepts the connection, and keeps it in a queue
 * until then. When the listener is closed, the kernel resets the connections in this queue. A load balancer may already
 * have sent a request on such a connection, and cannot know whether the node has handled the request; nginx responds to
 * such a POST with 502. No system call closes a listener and keeps its queue. Therefore this module closes the listener
 * when no connection has arrived for a short time, and if that does not happen, right after the queue has been emptied.
 *
 * @module
 */
import { Server } from "node:net";

/**
 * Number of waits in a row, each of {@linkcode WAIT_MS}, in which no connection must arrive; the queue is then most
 * likely empty. One long wait is not enough, because after the event loop was blocked, timers run before the waiting
 * connections are accepted.
 */
const QUIET_WAITS = 5;
/** Duration of one wait for a new connection, in ms. */
const WAIT_MS = 10;
/** Maximum time that {@linkcode stopListening} waits for a time without new connections, in ms. */
const TIMEOUT_MS = 250;

/**
 * Closes the listener of a server within {@linkcode TIMEOUT_MS}. Connections that have been accepted are still served.
 * The server emits `close` when the last of these connections has ended.
 *
 * Until this function resolves, the server should not close connections after responses: their clients would connect
 * again for their next requests, so that new connections might never stop to arrive.
 */
export async function stopListening(server: Server): Promise<void> {
  const end = performance.now() + TIMEOUT_MS;
  let quiet = 0;
  while (quiet < QUIET_WAITS && performance.now() < end) {
    // When one connection is accepted, all others in the queue are accepted before the next line runs.
    quiet = await acceptsWithin(server, WAIT_MS) ? 0 : quiet + 1;
  }
  // `close()` of node:http is not used, because it loops over all connections first, while the queue fills again.
  Server.prototype.close.call(server);
}

/** Resolves to whether the server accepts a new connection within `ms`. */
function acceptsWithin(server: Server, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const accepted = (): void => {
      clearTimeout(timer);
      resolve(true);
    };
    const timer = setTimeout(() => {
      server.off("connection", accepted);
      resolve(false);
    }, ms);
    server.once("connection", accepted);
  });
}
