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
import { type AddressInfo, Server, type Socket } from "node:net";
import { pause } from "../util/deadline.ts";
import { connectToSelf } from "./own_connection.ts";

/** Time in which no connection must arrive, in ms. */
const QUIET_MS = 50;
/** Maximum time that {@linkcode stopListening} waits for a time without new connections, in ms. */
const TIMEOUT_MS = 250;
/** Maximum time for the process to connect to itself, in ms. */
const EMPTY_TIMEOUT_MS = 100;

/**
 * Closes the listener of a server, usually 50 ms and at most about 400 ms after the call. Connections that have been
 * accepted are still served. The server emits `close` when the last of these connections has ended.
 *
 * Until this function resolves, the server should not close connections after responses: their clients would connect
 * again for their next requests, so that new connections might never stop to arrive.
 */
export async function stopListening(server: Server): Promise<void> {
  const end = performance.now() + TIMEOUT_MS;
  while (await acceptsWithin(server, QUIET_MS) && performance.now() < end);
  // `close()` of node:http is not used, because it loops over all connections first, while the queue fills again.
  Server.prototype.close.call(server);
}

/** Waits `ms`, and then until the queue is empty. Resolves to whether a connection of someone else was accepted. */
async function acceptsWithin(server: Server, ms: number): Promise<boolean> {
  let count = 0;
  const onConnection = (): void => void count++;
  server.on("connection", onConnection);
  await pause(ms);
  const own = await emptyQueue(server) ? 1 : 0;
  server.off("connection", onConnection);
  return count > own;
}

/**
 * Resolves as soon as all connections have been accepted that were in the queue at the call. To find that out, the
 * process connects to itself and waits until this connection is accepted; connections are accepted in the order in which
 * they arrived. Waiting for a timer is not enough: if the process was busy when the timer was due, Deno 2.9.6 runs the
 * timer before it accepts connections. On a busy machine, closing the listener then reset up to seven connections.
 *
 * Resolves to `false` if the process could not connect to itself within {@linkcode EMPTY_TIMEOUT_MS}.
 */
function emptyQueue(server: Server): Promise<boolean> {
  const address = server.address() as AddressInfo | null;
  // The address is null while the node reopens its listener. The node cannot connect to itself then.
  if (address === null) return Promise.resolve(false);
  return new Promise((resolve) => {
    const own = connectToSelf(address);
    /** The ports from which the connections come that were accepted meanwhile. */
    const accepted = new Set<number | undefined>();
    const onConnection = ({ remotePort }: Socket): void => {
      accepted.add(remotePort);
      check();
    };
    const check = (): void => {
      if (own.localPort !== undefined && accepted.has(own.localPort)) end(true);
    };
    const end = (isEmpty: boolean): void => {
      clearTimeout(timer);
      server.off("connection", onConnection);
      own.destroy();
      resolve(isEmpty);
    };
    const timer = setTimeout(() => end(false), EMPTY_TIMEOUT_MS);
    // The first listener, because a later one may find that another has destroyed the connection.
    server.prependListener("connection", onConnection);
    own.on("connect", check);
    own.on("error", () => end(false));
  });
}
