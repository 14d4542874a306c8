/**
 * Engine.IO's server, with less work and less memory for a client that connects by WebSocket and then idles.
 *
 * What is left out, and what it costs, is in `docs/decisions/0011-idle-clients.md`. This reaches into private parts of
 * engine.io 6.6.12 (build/server.js: `verify`, `init`, `cleanup`, `clients`; build/socket.js: its constructor,
 * `_maybeUpgrade`, `upgrading`, `id`, `flush`, `request`; build/transport.js: `writable`) and of socket.io
 * 4.8.4 (dist/socket.js: `handshake`). `tests/lib/engineio/server_test.ts` fails when they change.
 *
 * @module
 */
import { Server, type ServerOptions, Socket as Connection } from "engine.io";
import { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket as RawSocket } from "node:net";
import type { Duplex } from "node:stream";
import type { Socket } from "socket.io";
import { Heartbeats } from "./heartbeats.ts";
import { randomText } from "../util/random.ts";
import { WebSocketTransport } from "./transport.ts";
import {
  type HandshakeError,
  handshakeResponse,
  validateHandshake,
} from "../websocket/connection.ts";

/** A request as Engine.IO wants it: it takes `_query` as it finds it. */
type EngineRequest = IncomingMessage & {
  _query: Record<string, string>;
  /** Only of a request that is no upgrade. */
  res?: ServerResponse;
};

const { BAD_REQUEST, FORBIDDEN, UNKNOWN_SID, UNSUPPORTED_PROTOCOL_VERSION } =
  Server.errors;

/** Engine.IO names an unsupported protocol by its code alone; this says which client is needed. */
const PROTOCOL_ADVICE =
  "Cannot connect: the client does not speak Engine.IO protocol 4; use socket.io-client 4.6 or newer";
/**
 * A node that is stopping answers 503, and not 403 as Engine.IO would: a balancer then passes the request on to the
 * next node (nginx: `proxy_next_upstream http_503`). A stock client tries again after either.
 */
const STOPPING: HandshakeError = {
  status: "503 Service Unavailable",
  headers: "Retry-After: 1\r\n",
  message: "Cannot connect: this node is stopping; connect again",
};

/** What every client asks that connects by WebSocket from the start, as it is shared by all of them. */
const PLAIN = "/socket.io/?EIO=4&transport=websocket";
const PLAIN_QUERY = Object.freeze({ EIO: "4", transport: "websocket" });
const NOTHING = Object.freeze({});

/**
 * Packets that may wait for a client besides messages: answers and refusals, which it may ask for without end and never
 * read. Fan-out bounds what it writes itself, in bytes.
 */
const UNSENT_MAX = 1000;
const UNSENT = Symbol("unsent");
type Counted = Connection & { [UNSENT]?: number };

/** Engine.IO's server for many clients that mostly idle. */
export class EngineServer extends Server {
  /** The pings of all connections; Engine.IO's sockets find it here. */
  readonly heartbeats = new Heartbeats();
  /** Whether only the clients that are connected already are served; all others are refused with 503. */
  stopping = false;
  readonly #forget = this.#makeForget();

  /** As Engine.IO's own. `onCut` is told when a client is cut off that asks without end and does not read. */
  constructor(options: ServerOptions, onCut: (packets: number) => void) {
    super(options);
    const boundUnsent = makeBoundUnsent(onCut);
    this.on("connection", (connection: Connection) => {
      connection.on("packetCreate", boundUnsent);
    });
    this.on("flush", (connection: Counted) => {
      connection[UNSENT] = 0;
    });
  }

  /**
   * Verifies a request as Engine.IO does, and refuses two more kinds: an unsupported protocol, with a message that says
   * which client is needed, and all that concerns no client of this node while it is stopping. Among the latter are
   * requests of a client that polls and that a balancer has let connect to another node.
   */
  override verify(
    request: EngineRequest,
    upgrade: boolean,
    answer: (code?: EngineErrorCode, context?: RefusalContext) => void,
  ): void {
    super.verify(request as never, upgrade, (code, context) => {
      const { sid, EIO } = request._query;
      const connects = code === undefined && sid === undefined;
      if (this.stopping && (connects || code === UNKNOWN_SID)) {
        if (request.res === undefined) {
          return answer(FORBIDDEN, { refusal: STOPPING });
        }
        return refuseStopping(request.res);
      }
      if (connects && EIO !== "4") {
        return answer(UNSUPPORTED_PROTOCOL_VERSION, {
          message: PROTOCOL_ADVICE,
        });
      }
      answer(code, context as RefusalContext);
    });
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
   * connection.
   */
  override handleUpgrade(
    incoming: IncomingMessage,
    duplex: Duplex,
    head: Buffer,
  ): void {
    const connection = duplex as RawSocket;
    // A peer that is gone already must not end the process with an error nobody listens to.
    connection.on("error", ignore);
    const request = incoming as EngineRequest;
    const { sid, transport } = request._query = queryOf(request.url ?? "");
    this.verify(request, true, (code, context) => {
      if (code !== undefined) {
        return refuse(connection, refusalFor(code, context));
      }
      const refusal = validateHandshake(request);
      if (refusal !== undefined) return refuse(connection, refusal);
      const known = sid === undefined ? undefined : this.clients[sid];
      // One that is a WebSocket already has nothing to become.
      const upgradable = known === undefined ||
        (known.transport.name === "polling" && !known.upgrading);
      if (transport !== "websocket" || !upgradable) {
        return refuse(connection, refusalFor(BAD_REQUEST));
      }
      if (!connection.readable || !connection.writable) {
        return void connection.destroy();
      }
      const { maxHttpBufferSize = Infinity } = this.opts;
      const answer = Buffer.from(handshakeResponse(request));
      if (known !== undefined) connection.write(answer);
      const websocket = new WebSocketTransport(
        request,
        connection,
        head,
        known === undefined ? answer : undefined,
        maxHttpBufferSize,
      );
      if (known === undefined) this.#open(request, websocket);
      else known._maybeUpgrade(websocket);
    });
  }

  /** As random as Engine.IO's own, and cheaper. */
  override generateId(): string {
    return randomText(15);
  }

  /** Makes no server of ws: WebSockets are ours. */
  protected override init(): void {}

  /** There is nothing of ws to end. */
  protected override cleanup(): void {}

  /** As Engine.IO's own `handshake`, without a promise. */
  #open(request: EngineRequest, transport: WebSocketTransport): void {
    const id = this.generateId();
    const connection = new Connection(id, this, transport, request, 4);
    this.clients[id] = connection;
    this.clientsCount++;
    connection.on("close", this.#forget);
    this.emit("connection", connection);
  }

  /** One listener for all connections: a closure for each would be kept by each. */
  #makeForget(): (this: Connection) => void {
    const forget = (id: string): void => {
      delete this.clients[id];
      this.clientsCount--;
    };
    return function () {
      forget((this as unknown as { readonly id: string }).id);
    };
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
 * Holds back what is written to a connection until the answer is called: then all of it goes out together. Where the
 * client polls, that has to be before it can ask again: in the same synchronous step.
 */
export function cork({ conn }: Socket): () => void {
  const { transport, flush } = conn as unknown as {
    transport: { writable: boolean };
    flush: () => void;
  };
  if (!transport.writable) return ignore;
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

/** Cuts a client off that asks and does not read; one listener for all connections. */
function makeBoundUnsent(
  onCut: (packets: number) => void,
): (this: Counted) => void {
  return function () {
    const unsent = (this[UNSENT] ?? 0) + 1;
    this[UNSENT] = unsent;
    if (unsent <= UNSENT_MAX) return;
    const { transport } = this;
    this.close(true);
    if (transport instanceof WebSocketTransport) transport.terminate();
    onCut(unsent);
  };
}

type EngineErrorCode = keyof typeof Server.errorMessages;

/** What is said of a refusal besides Engine.IO's code for it. */
type RefusalContext = Record<string, unknown> & {
  readonly message?: string;
  /** The whole answer to an upgrade. */
  readonly refusal?: HandshakeError;
};

function refusalFor(
  code: EngineErrorCode,
  context: RefusalContext = {},
): HandshakeError {
  const { message = Server.errorMessages[code], refusal } = context;
  return refusal ?? { status: "400 Bad Request", headers: "", message };
}

/** Answers a request that is no upgrade, in the form of Engine.IO's refusals. */
function refuseStopping(response: ServerResponse): void {
  const { message } = STOPPING;
  response.writeHead(503, {
    "Content-Type": "application/json",
    "Retry-After": "1",
  });
  response.end(JSON.stringify({ code: FORBIDDEN, message }));
}

/** As Engine.IO's own `abortUpgrade`. */
function refuse(
  connection: RawSocket,
  { status, headers, message }: HandshakeError,
): void {
  if (connection.writable) {
    connection.write(
      `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-type: text/html\r\n${headers}` +
        `Content-Length: ${Buffer.byteLength(message)}\r\n\r\n${message}`,
    );
  }
  connection.destroy();
}

function ignore(): void {}
