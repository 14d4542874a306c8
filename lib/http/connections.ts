/**
 * Closes connections of an HTTP server: those that have been idle for some time and, when the node stops, all of them,
 * without losing a request. WebSockets are not closed here.
 *
 * All idle connections share one timer. node:http has a timer for each connection and resets the timer at each request,
 * which takes a third of the time of a short request in Deno 2.9.6 (`docs/decisions/0004-node-http-and-engine.md`). The
 * server has to switch off these timers with `keepAliveTimeout: 0`.
 *
 * When a node stops, a client may send its next request on an idle connection at the very moment at which the node
 * closes the connection. If the node did nothing else, this client would get a reset and could not know whether its
 * request was handled. Therefore:
 * 1. From now on, the node closes each connection with its next response, which is safe. Soon, clients that send
 *    requests often have no idle connection left.
 * 2. On the remaining connections, the node writes a response, the _farewell_, before it closes them, and handles no
 *    request that arrives afterwards. A client that has just sent a request reads the farewell as the response to this
 *    request. Every other client sees that the connection is closed and discards the farewell.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Server, Socket } from "node:net";
import { pause, type Timeout, TimeoutList } from "../util/deadline.ts";
import { SingleWriteResponse } from "./response.ts";

/** When the node stops: how long a new connection may take to send its first request, in ms. */
const FIRST_REQUEST_MS = 100;
/**
 * When the node stops: how often {@linkcode HttpConnections.drain} checks whether connections have recently become
 * idle, as an interval in ms.
 */
const IDLE_CHECK_MS = 10;
/**
 * How long the node reads and discards input of a connection after it has written the farewell (the last response), in
 * ms. Input that is not read would reset the connection.
 */
const LINGER_MS = 200;

/**
 * Maximum number of requests of one connection without a response. Each takes about 4 KB, and a client can send any
 * number of them behind a request whose response takes long, such as a stream.
 */
const IN_FLIGHT_MAX = 100;

/**
 * The state of a connection: the number of its requests in flight (several with pipelining), or its timeout while it is
 * idle.
 */
interface ConnectionActivity {
  inFlight: number;
  idle: Timeout<Socket> | undefined;
  /** Whether a request has arrived on the connection. */
  used: boolean;
  /** Whether the farewell (the last response) was written, so that no further request of the connection is handled. */
  left: boolean;
}

/** Options of {@linkcode HttpConnections}. */
export interface HttpConnectionsOptions {
  /** How long a connection may wait for its next request, in ms. */
  readonly idleMs: number;
  /** The bytes of the response that is written to an idle connection before the stopping node closes it. */
  readonly farewell: string;
}

/**
 * Closes the idle connections of one server and, when the node stops, all connections. When the node stops, call first
 * `drain()` and then `close()`.
 */
export class HttpConnections {
  /** The class of the server's responses. After `drain()` was called, each response closes its connection. */
  readonly Response: typeof SingleWriteResponse;
  readonly #idleMs: number;
  readonly #farewell: string;
  readonly #idle: TimeoutList<Socket>;
  readonly #activities = new WeakMap<Socket, ConnectionActivity>();
  /**
   * The connections on which the farewell (the last response) was written. Each is destroyed after {@linkcode
   * LINGER_MS}.
   */
  readonly #lingering = new TimeoutList<Socket>(
    LINGER_MS,
    (socket) => socket.destroy(),
  );
  /** The timer that `close()` starts; when it ends, connections that have sent no request yet are closed. */
  #waiting: ReturnType<typeof setTimeout> | undefined;
  #draining = false;
  #closing = false;
  // All connections and responses share these listeners, because closures for each of them would take more memory.
  readonly #onClose = this.#makeOnClose();
  readonly #onResponseSent = this.#makeOnResponseSent();

  /**
   * Creates an empty list of connections. Call `watch()` once before the server listens, `begin()` for each request,
   * and `release()` for each upgrade to a WebSocket.
   */
  constructor({ idleMs, farewell }: HttpConnectionsOptions) {
    this.#idleMs = idleMs;
    this.#farewell = farewell;
    this.#idle = new TimeoutList(idleMs, (socket) => socket.destroy());
    const isDraining = (): boolean => this.#draining;
    this.Response = class extends SingleWriteResponse {
      override writeHead(
        status: number,
        reason?: unknown,
        headers?: unknown,
      ): this {
        if (isDraining()) this.shouldKeepAlive = false;
        return super.writeHead(status, reason, headers);
      }
    };
  }

  /** Watches the connections of a server from now on. Call this method before the server listens. */
  watch(server: Server): void {
    server.on("close", () => {
      clearTimeout(this.#waiting);
      this.#idle.close();
      this.#lingering.close();
    });
    server.on("connection", (socket: Socket) => {
      this.#activities.set(socket, {
        inFlight: 0,
        idle: this.#idle.add(socket),
        used: false,
        left: false,
      });
      socket.on("close", this.#onClose);
    });
  }

  /** Returns whether a connection has so many requests in flight that no further one may be handled. */
  isFull({ socket }: IncomingMessage): boolean {
    return (this.#activities.get(socket)?.inFlight ?? 0) >= IN_FLIGHT_MAX;
  }

  /**
   * Counts a request as in flight until its response has been sent. Returns `false` if the request must not be handled,
   * because the farewell (the last response) was already written to its connection.
   */
  begin({ socket }: IncomingMessage, response: ServerResponse): boolean {
    const activity = this.#endIdle(socket);
    if (activity === undefined) return true;
    if (activity.left) return false;
    activity.used = true;
    activity.inFlight++;
    response.on("close", this.#onResponseSent);
    return true;
  }

  /**
   * Stops watching a connection that becomes a WebSocket. Returns `false` if the upgrade must not be handled, because
   * the farewell (the last response) was already written to the connection.
   */
  release(socket: Socket): boolean {
    const activity = this.#endIdle(socket);
    if (activity?.left) return false;
    this.#activities.delete(socket);
    return true;
  }

  /**
   * Makes every further response close its connection. Resolves when no connection has become idle within the last
   * `recentMs`, which is after `recentMs` at the latest. By then, each client that sends requests at shorter intervals
   * has had its connection closed by a response.
   */
  async drain(recentMs: number): Promise<void> {
    this.#draining = true;
    while (this.#usedWithin(recentMs)) await pause(IDLE_CHECK_MS);
  }

  /**
   * Closes all connections: idle connections now, and the others after their responses. A connection without a first
   * request is closed a little later, because a client usually sends its first request as soon as it is connected.
   */
  close(): void {
    this.#draining = this.#closing = true;
    for (const socket of this.#idle) {
      if (this.#activities.get(socket)?.used) this.#leave(socket);
    }
    this.#waiting = setTimeout(() => {
      for (const socket of this.#idle) this.#leave(socket);
    }, FIRST_REQUEST_MS);
  }

  #usedWithin(recentMs: number): boolean {
    const end = performance.now() + this.#idleMs - recentMs;
    for (const socket of this.#idle) {
      const { used, idle } = this.#activities.get(socket) ?? {};
      if (used && idle !== undefined && idle.due > end) return true;
    }
    return false;
  }

  #leave(socket: Socket): void {
    const activity = this.#endIdle(socket);
    if (activity === undefined || !socket.writable) return;
    activity.left = true;
    socket.end(this.#farewell);
    this.#lingering.add(socket);
  }

  #endIdle(socket: Socket): ConnectionActivity | undefined {
    const activity = this.#activities.get(socket);
    if (activity?.idle !== undefined) this.#idle.remove(activity.idle);
    if (activity !== undefined) activity.idle = undefined;
    return activity;
  }

  #makeOnClose(): (this: Socket) => void {
    const endIdle = (socket: Socket): void => void this.#endIdle(socket);
    return function () {
      endIdle(this);
    };
  }

  #makeOnResponseSent(): (this: ServerResponse) => void {
    const sent = (socket: Socket): void => {
      const activity = this.#activities.get(socket);
      if (activity === undefined || --activity.inFlight > 0) return;
      if (socket.destroyed || !socket.writable) return;
      activity.idle = this.#idle.add(socket);
      if (this.#closing) this.#leave(socket);
    };
    return function () {
      sent(this.req.socket);
    };
  }
}
