/**
 * The connections of an HTTP server: closes those that have been idle for some time, and all of them when the node
 * stops, without a lost request. WebSockets are not among them.
 *
 * One timer closes idle connections. node:http has a timer for each connection and resets it at each request, which
 * takes a third of the time of a short request in Deno 2.9.6 (`docs/decisions/0004-node-http-and-engine.md`). Switch off
 * the timers of node:http with `keepAliveTimeout: 0`.
 *
 * When a node stops, a client may send its next request on an idle connection at the very moment at which the node
 * closes it. If the node only closed the connection, this client would get a reset, and could not know whether its
 * request was handled. Therefore:
 * 1. Every response closes its connection, which is safe. Clients that send requests often have none that is idle soon.
 * 2. On the others the node writes a response before it closes them, and handles no request that arrives afterwards. A
 *    client that has just sent a request reads this response as its own; every other client sees that the connection is
 *    closed and discards it.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Server, Socket } from "node:net";
import { pause, type Timeout, TimeoutList } from "../util/deadline.ts";
import { SingleWriteResponse } from "./response.ts";

/** How long a connection that has not sent its first request may take to send it when the node stops, in ms. */
const FIRST_REQUEST_MS = 100;
/** Interval at which is checked whether a connection is idle, in ms. */
const IDLE_CHECK_MS = 10;
/** How long input is still read after the farewell, in ms. Unread input would reset the connection. */
const LINGER_MS = 200;

const NEVER = new AbortController().signal;

/** The state of a connection: its requests in flight (several with pipelining), or its timeout while it is idle. */
interface ConnectionActivity {
  inFlight: number;
  idle: Timeout<Socket> | undefined;
  /** Whether the connection has sent a request. */
  used: boolean;
  /** Whether the farewell was written. No later request is handled. */
  left: boolean;
}

/** Options of {@linkcode HttpConnections}. */
export interface HttpConnectionsOptions {
  /** How long a connection may wait for its next request, in ms. */
  readonly idleMs: number;
  /** The complete response that an idle connection gets before it is closed because the node stops. */
  readonly farewell: string;
}

/** Closes the connections of one server. Call `drain()` and later `close()` when the node stops. */
export class HttpConnections {
  /** The class of all responses of the server. Every response closes its connection once `drain()` was called. */
  readonly Response: typeof SingleWriteResponse;
  readonly #idleMs: number;
  readonly #farewell: string;
  readonly #idle: TimeoutList<Socket>;
  readonly #activities = new WeakMap<Socket, ConnectionActivity>();
  /** Connections that got the farewell. */
  readonly #lingering = new TimeoutList<Socket>(
    LINGER_MS,
    (socket) => socket.destroy(),
  );
  /** Waits for first requests. */
  #waiting: ReturnType<typeof setTimeout> | undefined;
  #draining = false;
  #closing = false;
  // All connections and responses share these listeners.
  readonly #onClose = this.#makeOnClose();
  readonly #onResponseSent = this.#makeOnResponseSent();

  /** Creates the connections of one server, which has to pass its events to the methods below. */
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

  /** Watches the connections of a server from now on. Call it before the server listens. */
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

  /**
   * Counts a request until its response has been sent. Returns `false` if the request must not be handled, because its
   * connection already got the farewell.
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
   * Stops watching a connection that becomes a WebSocket, even while an earlier response is still being sent. Returns
   * `false` if the upgrade must not be handled.
   */
  release(socket: Socket): boolean {
    const activity = this.#endIdle(socket);
    if (activity?.left) return false;
    this.#activities.delete(socket);
    return true;
  }

  /**
   * Makes every response from now on close its connection. Resolves when no connection has become idle within the last
   * `recentMs`, so after `recentMs` at the latest. A client that sends a request more often has lost its connection by
   * then.
   */
  async drain(recentMs: number): Promise<void> {
    this.#draining = true;
    while (this.#usedWithin(recentMs)) await pause(IDLE_CHECK_MS, NEVER);
  }

  /**
   * Closes all connections: the idle ones now, and the others after their responses. A connection that has not sent its
   * first request gets a moment for it, because a client usually sends it as soon as it is connected.
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
