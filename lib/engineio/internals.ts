/**
 * The private parts of engine.io and socket.io that Roomcast uses, with their types.
 *
 * `tests/lib/engineio/internals_test.ts` fails if the versions of the packages change or a part is missing. After an
 * upgrade, read the files of the packages that are named here, correct this module, and only then change {@linkcode
 * VERSIONS}.
 *
 * Classes in `lib/engineio/` also override or call these protected members, whose types the packages declare:
 * - engine.io, build/server.js: `verify`, `init`, `cleanup`, `clients`, and the constructor of build/socket.js
 *   (`EngineServer`);
 * - engine.io, build/transport.js: `_readyState`, `parser`, `supportsBinary`, `onData`, `onError`, `onClose`, `doClose`
 *   (`WebSocketTransport`).
 *
 * @module
 */
import type { Server, Socket as EngineSocket, Transport } from "engine.io";
import type { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "socket.io";

/** The versions of engine.io and socket.io for which this module was written. */
export const VERSIONS = { "engine.io": "6.6.12", "socket.io": "4.8.4" };

/**
 * A request with its parsed query in `_query`. If `_query` is set, Engine.IO does not parse the query itself
 * (build/server.js).
 */
export type EngineRequest = IncomingMessage & {
  _query: Record<string, string>;
  /** The response to the request; undefined if the request asks for a WebSocket. */
  res?: ServerResponse;
};

/** A packet as Engine.IO queues it (build/socket.js, `sendPacket`). */
export interface QueuedPacket {
  readonly type: string;
  readonly data?: string | Uint8Array;
  readonly options?: {
    readonly compress?: boolean;
    /**
     * Complete WebSocket frames, which a WebSocket transport writes instead of `data` (build/transports/websocket.js).
     */
    readonly wsPreEncodedFrame?: readonly Buffer[];
  };
}

/** A timer of a connection's heartbeat. Engine.IO calls `refresh()` and passes the timer to `clearTimeout()`. */
export interface PingTimer {
  refresh(): void;
}

/** A connection of Engine.IO, with the private members that Roomcast uses (build/socket.js). */
export interface EngineConnection {
  readonly id: string;
  readonly server: Server;
  /** The request of the handshake; undefined after {@linkcode forgetRequest}. */
  readonly request: IncomingMessage | undefined;
  readonly transport: Transport;
  readonly upgrading: boolean;
  /** The value of `readyState`. Reading this field is faster than the accessor, which has debug output. */
  readonly _readyState: "opening" | "open" | "closing" | "closed";
  /**
   * The packets that are queued for the client. Engine.IO passes the whole array to the transport and then starts a new
   * array.
   */
  readonly writeBuffer: QueuedPacket[];
  pingIntervalTimer: PingTimer | null;
  pingTimeoutTimer: PingTimer | null;
  hasRefreshedPingTimeout: boolean;
  flush(): void;
  close(discard?: boolean): void;
  sendPacket(type: "ping"): void;
  schedulePing(): void;
  resetPingTimeout(): void;
  onClose(reason: string, error?: unknown): void;
  on(event: "close", listener: (this: EngineConnection) => void): void;
  _maybeUpgrade(transport: Transport): void;
}

/** Engine.IO's polling transport, with the private members that Roomcast uses (build/transports/polling.js). */
export interface PollingTransport {
  /**
   * The request of the client's poll, and below its response, while a poll is waiting for packets; otherwise null or
   * undefined.
   */
  readonly req: (IncomingMessage & { cleanup(): void }) | null | undefined;
  readonly res: ServerResponse | null | undefined;
  /**
   * Completes a close. Set while the close waits for the client's next poll, in which the client is told of it: `send()`
   * then adds the close packet to its packets.
   */
  shouldClose: (() => void) | null | undefined;
  /** Maximum size of a request's body, in bytes. */
  readonly maxHttpBufferSize: number;
  /** Responds to the waiting poll. Engine.IO calls this method with its whole queue (build/socket.js, `flush`). */
  send(packets: QueuedPacket[]): void;
  /** Starts to read a request with a body. */
  onDataRequest(request: IncomingMessage, response: ServerResponse): void;
  /** Handles the whole body of a request. */
  onData(body: unknown): void;
}

/** Returns the transport of a client that polls, with types for the private members that Roomcast uses. */
export function pollingOf(transport: Transport): PollingTransport {
  return transport as unknown as PollingTransport;
}

/** A client's poll that is waiting for packets, with its response. */
export interface WaitingPoll {
  /** The poll's request. Its `cleanup()` makes the transport forget the poll. */
  readonly request: { cleanup(): void };
  readonly response: ServerResponse;
}

/**
 * Returns the poll that is waiting at a client's transport. Returns undefined if no poll is waiting, or if the
 * transport is a WebSocket.
 */
export function waitingPollOf(transport: Transport): WaitingPoll | undefined {
  const { req, res } = pollingOf(transport);
  return transport.writable && req && res
    ? { request: req, response: res }
    : undefined;
}

/**
 * Completes a close that waits for the client's next poll, if there is one. Engine.IO would wait for up to 30 s, even if
 * the server is closed in that time.
 */
export function completeClose(transport: Transport): void {
  pollingOf(transport).shouldClose?.();
}

/**
 * Handles any event of a client. `event` is the name of the event. If the client wants an answer, the last of `args` is
 * the function that sends the answer.
 */
export type AnyListener = (
  this: Socket,
  event: unknown,
  ...args: unknown[]
) => void;

/**
 * Passes every event of a client to each of `listeners`. All sockets can share one array of listeners. Socket.IO's
 * `onAny()` would create an array with space for 17 listeners for each socket (socket.io, dist/socket.js).
 */
export function hearAll(
  socket: Socket,
  listeners: readonly AnyListener[],
): void {
  Object.assign(socket, { _anyListeners: listeners });
}

/** Returns `connection` itself, with types for the private members that Roomcast uses. */
export function internalsOf(connection: EngineSocket): EngineConnection {
  return connection as unknown as EngineConnection;
}

/** Returns the Engine.IO connection of a Socket.IO socket, with types for the private members that Roomcast uses. */
export function connectionOf({ conn }: Socket): EngineConnection {
  return conn as unknown as EngineConnection;
}

const NOTHING = Object.freeze({});

/** What Socket.IO sends a client about itself in the CONNECT packet. */
export interface Identity {
  /** The id of the client, which the client reads as `socket.id`. */
  readonly id: string;
  /** The secret of the client's session. */
  readonly pid: string;
  readonly recovered: boolean;
}

/**
 * Sets what a socket sends in its CONNECT packet. Call this before Socket.IO connects the socket. A client that resumes
 * its session has the same id again. If its older connection is still open, both have the same id, and Socket.IO's list
 * of connected sockets is incomplete once the older one is closed.
 */
export function identify(socket: Socket, identity: Identity): void {
  // Sockets that are not connected yet are in this list by their ids (build/namespace.js).
  const { _preConnectSockets: waiting } = socket.nsp as unknown as {
    readonly _preConnectSockets: Map<string, Socket>;
  };
  waiting.delete(socket.id);
  Object.assign(socket, identity);
  waiting.set(socket.id, socket);
}

/**
 * Drops the handshake request of a connected client, whose headers take at least 3 KiB of memory. Its credentials are
 * not needed any more, because the client has been admitted. Socket.IO's `fetchSockets` would otherwise send the
 * headers and credentials to other nodes.
 */
export function forgetRequest({ conn, handshake }: Socket): void {
  Object.assign(conn, { request: undefined });
  Object.assign(handshake, { headers: NOTHING, auth: NOTHING });
}

/**
 * Drops what a client has sent in its CONNECT packet. A packet of 128 KiB can take 2 MB of memory. Call this when the
 * packet is not needed any more and the client is not connected yet.
 */
export function forgetAuth({ handshake }: Socket): void {
  Object.assign(handshake, { auth: NOTHING });
}

/**
 * Corks a connection: packets are queued until the returned function is called, and are then sent in one write. Call
 * the returned function in a `finally` block; otherwise the connection never sends anything again after an error. For a
 * polling client, call it in the same synchronous step; otherwise the client's next request fails, because the
 * transport is busy.
 */
export function cork({ conn }: Socket): () => void {
  const { transport, flush } = conn as unknown as EngineConnection;
  if (!transport.writable) return ignore;
  transport.writable = false;
  return () => {
    transport.writable = true;
    flush.call(conn);
  };
}

function ignore(): void {}
