/**
 * Every private part of engine.io and socket.io that Roomcast uses, with its type.
 *
 * `tests/lib/engineio/internals_test.ts` fails if the versions change or a part is missing. After an upgrade, read the
 * named files, correct this file, and only then change {@linkcode VERSIONS}.
 *
 * Classes of this folder also override or call these protected members, which the packages' types describe:
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

/** The versions that were read to write this file. */
export const VERSIONS = { "engine.io": "6.6.12", "socket.io": "4.8.4" };

/**
 * A request in the form that Engine.IO expects. Engine.IO does not parse `_query` again if it is set (build/server.js).
 */
export type EngineRequest = IncomingMessage & {
  _query: Record<string, string>;
  /** Only set for a request that is not an upgrade. */
  res?: ServerResponse;
};

/** A packet as Engine.IO queues it (build/socket.js, `sendPacket`). */
export interface QueuedPacket {
  readonly type: string;
  readonly data?: string | Uint8Array;
  readonly options?: {
    readonly compress?: boolean;
    /** Whole WebSocket frames that a WebSocket writes instead of `data` (build/transports/websocket.js). */
    readonly wsPreEncodedFrame?: readonly Buffer[];
  };
}

/** A timer of a connection, of which Engine.IO uses `refresh()` and `clearTimeout()`. */
export interface PingTimer {
  refresh(): void;
}

/** Engine.IO's connection (build/socket.js). */
export interface EngineConnection {
  readonly id: string;
  readonly server: Server;
  /** The request of the handshake; undefined after {@linkcode forgetRequest}. */
  readonly request: IncomingMessage | undefined;
  readonly transport: Transport;
  readonly upgrading: boolean;
  /** The field behind `readyState`, without the debug output of its accessor. */
  readonly _readyState: "opening" | "open" | "closing" | "closed";
  /** The queued packets. Engine.IO replaces the list when it passes the list to the transport. */
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

/** Gives access to the private parts of a connection. */
export function internalsOf(connection: EngineSocket): EngineConnection {
  return connection as unknown as EngineConnection;
}

/** Gives access to the private parts of the connection of a Socket.IO socket. */
export function connectionOf({ conn }: Socket): EngineConnection {
  return conn as unknown as EngineConnection;
}

const NOTHING = Object.freeze({});

/**
 * Drops the request of a connected client, which takes at least 3 KiB for its headers. The client has been admitted, so
 * its credentials are not needed any more. Socket.IO's `fetchSockets` would otherwise send them to other nodes.
 */
export function forgetRequest({ conn, handshake }: Socket): void {
  Object.assign(conn, { request: undefined });
  Object.assign(handshake, { headers: NOTHING, auth: NOTHING });
}

/**
 * Corks a connection: packets are queued until the returned function is called, then all of them are sent in one write.
 * Call the function in a `finally` block; otherwise the connection sends nothing more after an error. For a polling
 * client, call it in the same synchronous step, because the client's next request would find a busy transport.
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
