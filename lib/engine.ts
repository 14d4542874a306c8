/**
 * Engine.IO's server, with less work and less memory for a client that connects by WebSocket and then idles.
 *
 * What is left out, and what it costs, is in `docs/decisions/0011-idle-clients.md`. This reaches into private parts of
 * engine.io 6.6.12 (build/server.js: `verify`, `ws`, `onWebSocket`, `handshake`; build/transports/websocket.js:
 * `writable`; build/socket.js: `flush`, `request`) and socket.io 4.8.4 (dist/socket.js: `handshake`).
 * `tests/lib/engine_test.ts` fails when they change.
 *
 * @module
 */
import { Server, type ServerOptions } from "engine.io";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Socket } from "socket.io";
import { Heartbeats } from "./heartbeats.ts";

/** A request as Engine.IO wants it: it takes `_query` as it finds it. */
type EngineRequest = IncomingMessage & {
  _query: Readonly<Record<string, string>>;
  websocket: WebSocket;
};

/** The WebSocket of ws. */
interface WebSocket {
  on(event: "error", listener: () => void): void;
}

type Verdict = (code?: number, context?: { message?: string }) => void;

/** What we use of the server's private parts. */
interface Inner {
  verify(request: EngineRequest, upgrade: true, verdict: Verdict): void;
  onWebSocket(
    request: EngineRequest,
    socket: Duplex,
    websocket: WebSocket,
  ): void;
  handshake(
    transport: "websocket",
    request: EngineRequest,
    refuse: Verdict,
  ): Promise<unknown>;
  readonly ws: {
    handleUpgrade(
      request: EngineRequest,
      socket: Duplex,
      head: Uint8Array,
      then: (websocket: WebSocket) => void,
    ): void;
  };
}

/** What every client asks that connects by WebSocket from the start, as it is shared by all of them. */
const PLAIN = "/socket.io/?EIO=4&transport=websocket";
const PLAIN_QUERY = Object.freeze({ EIO: "4", transport: "websocket" });
const NOTHING = Object.freeze({});

/** Engine.IO's server for many clients that mostly idle. */
export class LeanServer extends Server {
  /** The pings of all connections; Engine.IO's sockets find it here. */
  readonly heartbeats = new Heartbeats();

  /** As Engine.IO's own. */
  constructor(options: ServerOptions) {
    super(options);
  }

  /** Answers a request that is no upgrade. */
  override handleRequest(
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    (request as EngineRequest)._query = queryOf(request.url ?? "");
    super.handleRequest(request as never, response);
  }

  /**
   * Answers an upgrade as Engine.IO does, except that middlewares are not asked: what they have to say, CORS, browsers
   * do not look at in an upgrade. Engine.IO keeps a response for them, and by it the request, as long as the
   * connection. The answer and Engine.IO's first packet go out in one write.
   */
  override handleUpgrade(
    incoming: IncomingMessage,
    socket: Duplex,
    head: Uint8Array,
  ): void {
    const inner = this as unknown as Inner;
    const request = incoming as EngineRequest;
    request._query = queryOf(request.url ?? "");
    const { sid, transport } = request._query;
    inner.verify(request, true, (code, context) => {
      if (code !== undefined) return refuse(socket, code, context);
      const fresh = sid === undefined && transport === "websocket";
      if (fresh) socket.cork();
      inner.ws.handleUpgrade(request, socket, head, (websocket) => {
        if (!fresh) return inner.onWebSocket(request, socket, websocket);
        request.websocket = websocket;
        // A broken first frame must find a listener, also before the transport is made.
        websocket.on("error", ignore);
        void inner.handshake(
          "websocket",
          request,
          (code, context) => {
            socket.uncork();
            refuse(socket, code, context);
          },
        ).finally(() => socket.uncork());
      });
    });
  }

  /** Ends all connections, and the heartbeats. */
  override close(): this {
    this.heartbeats.close();
    return super.close();
  }
}

/**
 * Drops what a connected client's request was: 3 KiB of headers and more. It has been admitted; what it said with its
 * credentials is nothing to keep, or to tell other nodes (Socket.IO's `fetchSockets` would).
 */
export function forgetRequest({ conn, handshake }: Socket): void {
  Object.assign(conn, { request: undefined });
  Object.assign(handshake, { headers: NOTHING, auth: NOTHING });
}

/**
 * Holds back what is written to a connection until the answer is called: then all of it goes out together. Does nothing
 * where the connection is no WebSocket: others write when they are asked.
 */
export function hold({ conn }: Socket): () => void {
  const { transport, flush } = conn as unknown as {
    transport: { name: string; writable: boolean };
    flush: () => void;
  };
  if (transport.name !== "websocket" || !transport.writable) return ignore;
  transport.writable = false;
  return () => {
    transport.writable = true;
    flush.call(conn);
  };
}

function queryOf(url: string): Readonly<Record<string, string>> {
  if (url === PLAIN) return PLAIN_QUERY;
  const start = url.indexOf("?");
  const query = start < 0 ? "" : url.slice(start + 1);
  return Object.fromEntries(new URLSearchParams(query));
}

/** As Engine.IO's own `abortUpgrade`. */
function refuse(
  socket: Duplex,
  code: number | undefined,
  context: { message?: string } = {},
): void {
  const messages: Readonly<Record<number, string>> = Server.errorMessages;
  const message = context.message ?? messages[code ?? -1] ?? "";
  if (socket.writable) {
    socket.write(
      "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\n" +
        `Content-Length: ${
          new TextEncoder().encode(message).length
        }\r\n\r\n${message}`,
    );
  }
  socket.destroy();
}

function ignore(): void {}
