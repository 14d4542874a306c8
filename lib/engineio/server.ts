/**
 * Engine.IO's server, changed to use less time and memory for clients that connect by WebSocket and are mostly idle.
 *
 * `docs/decisions/0011-idle-clients.md` lists the parts of Engine.IO that are left out and what that saves. The private
 * parts of engine.io that this module uses are described in `internals.ts`.
 *
 * @module
 */
import { Server, type ServerOptions, Socket as Connection } from "engine.io";
import { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket as RawSocket } from "node:net";
import type { Duplex } from "node:stream";
import { ApiError, toApiError } from "../errors.ts";
import { SOCKET_IO_PATH } from "../http/target.ts";
import { randomText } from "../util/random.ts";
import {
  type HandshakeError,
  handshakeResponse,
  validateHandshake,
} from "../websocket/handshake.ts";
import type { FrameLimit } from "../websocket/connection.ts";
import { DirectWriter } from "../wire/direct_write.ts";
import { respondWithError } from "./closing.ts";
import { Gate } from "./gate.ts";
import { Heartbeats, installHeartbeats } from "./heartbeats.ts";
import {
  clearUnsent,
  type InputLimits,
  limitPackets,
  makeLimitUnsent,
} from "./input_limits.ts";
import { completeClose, type EngineRequest, internalsOf } from "./internals.ts";
import { sendReplayInChunks } from "./polling_replay.ts";
import { refusalOf, refuse } from "./refusal.ts";
import { WebSocketTransport } from "./transport.ts";

const { BAD_REQUEST, FORBIDDEN, UNKNOWN_SID, UNSUPPORTED_PROTOCOL_VERSION } =
  Server.errors;

/**
 * The error message for a client with an unsupported version of the Engine.IO protocol. Engine.IO's own message does
 * not say which version of the client is needed.
 */
const PROTOCOL_ADVICE =
  "Cannot connect: the client does not speak Engine.IO protocol 4; use socket.io-client 4.6 or newer";
/**
 * The error message for a client that asks for JSONP. A page of any origin can load JSONP as a script and read it, and
 * browsers send no origin with that request.
 */
const JSONP_ADVICE =
  "Cannot connect: JSONP is not supported; connect without the query parameter j";
/**
 * The response of a stopping node to a new client. The status is 503 and not 403, which Engine.IO would send, because a
 * load balancer passes a request on to the next node after a 503 (nginx: `proxy_next_upstream http_503`). A stock
 * client retries after either status.
 */
const DRAINING = new ApiError(
  "draining",
  "Cannot connect: this node is stopping; connect again",
);

/** The methods of the requests of a polling client. Engine.IO answers every other one with status 500. */
const POLLING_METHODS: ReadonlySet<unknown> = new Set(["GET", "POST"]);
const ALLOWED_METHODS = "GET, POST, OPTIONS";
const METHOD_NOT_ALLOWED = new ApiError(
  "method_not_allowed",
  "Cannot use this method here: a polling client sends GET and POST; use socket.io-client",
);

/**
 * The URL of a client that connects by WebSocket from the start, and the parsed query of this URL, which all such
 * clients share.
 */
const PLAIN = `${SOCKET_IO_PATH}?EIO=4&transport=websocket`;
const PLAIN_QUERY = Object.freeze({ EIO: "4", transport: "websocket" });

type EngineErrorCode = keyof typeof Server.errorMessages;

/** Details of a refused request, in addition to Engine.IO's error code. */
type RefusalContext = Record<string, unknown> & {
  readonly message?: string;
  /** The response to send if the request is an upgrade. */
  readonly refusal?: HandshakeError;
};

/** The parts that a server uses, and what it calls. */
export interface EngineParts {
  /** Writes to sockets directly; by default, all writes use streams. */
  readonly directWriter?: DirectWriter;
  /** Counts connections and refuses new ones; by default, one with only the fixed limits. */
  readonly gate?: Gate;
  /** The limits of what each client may send; undefined for no limits. */
  readonly inputLimits?: InputLimits;
  /**
   * Called with the number of queued packets when a client was disconnected because it sends requests and does not read
   * the answers.
   */
  readonly onSlowClient?: (packets: number) => void;
  /** Called with the error when the gate has refused a connection. */
  readonly onRefused?: (error: ApiError) => void;
}

/**
 * An Engine.IO server for many clients that are mostly idle.
 *
 * Lifetime: starts a timer in the constructor; call `close()` to stop it and to end all connections.
 */
export class EngineServer extends Server {
  /** Pings all connections. The methods that `installHeartbeats()` puts into Engine.IO read this field. */
  readonly heartbeats = new Heartbeats();
  /** Whether the server refuses all clients that are not connected yet, with status 503. */
  stopping = false;
  readonly #forget = this.#makeForget();
  readonly #directWriter: DirectWriter;
  readonly #gate: Gate;
  readonly #frameLimit: FrameLimit | undefined;
  readonly #onRefused: (error: ApiError) => void;

  /** Creates a server with Engine.IO's options. */
  constructor(options: ServerOptions, parts: EngineParts = {}) {
    super(options);
    const { gate = new Gate(), inputLimits, onSlowClient = ignore } = parts;
    this.#directWriter = parts.directWriter ?? new DirectWriter(ignore);
    this.#gate = gate;
    this.#frameLimit = inputLimits?.frames;
    this.#onRefused = parts.onRefused ?? ignore;
    installHeartbeats();
    const limitUnsent = makeLimitUnsent(onSlowClient);
    this.on("connection", (connection: Connection) => {
      gate.opened(connection.request, connection);
      connection.on("packetCreate", limitUnsent);
      if (connection.transport.name !== "polling") return;
      connection.on("close", () => gate.closed(connection));
      sendReplayInChunks(connection);
      if (inputLimits !== undefined) limitPackets(connection, inputLimits);
    });
    this.on("flush", clearUnsent);
  }

  /**
   * Verifies a request as Engine.IO does. Answers `OPTIONS` itself, and refuses five more kinds of requests:
   * - The request of a client with an unsupported protocol version. The response says which version of the client is
   *   needed.
   * - The request of a client that asks for JSONP, because it would get around the check of its origin.
   * - The request of a connected client with a method that Engine.IO does not know.
   * - On a stopping node, every request except those of clients that are connected to this node.
   * - Every later request of a connected client that `allowRequest` refuses. Engine.IO calls `allowRequest` only for
   *   the first request, and a browser sends no origin with the first poll of a page that it takes for this server's.
   */
  override verify(
    request: EngineRequest,
    upgrade: boolean,
    respond: (code?: EngineErrorCode, context?: RefusalContext) => void,
  ): void {
    const { method, res } = request;
    if (method === "OPTIONS" && res !== undefined) {
      return void res.writeHead(204, { allow: ALLOWED_METHODS }).end();
    }
    super.verify(request as never, upgrade, (code, context) => {
      const { sid, EIO, j } = request._query;
      const connects = code === undefined && sid === undefined;
      if (this.stopping && (connects || code === UNKNOWN_SID)) {
        if (res !== undefined) return respondWithError(res, DRAINING);
        return respond(FORBIDDEN, { refusal: refusalOf(DRAINING) });
      }
      if (
        code === undefined && res !== undefined && !POLLING_METHODS.has(method)
      ) {
        res.setHeader("Allow", ALLOWED_METHODS);
        return respondWithError(res, METHOD_NOT_ALLOWED);
      }
      if (connects && EIO !== "4") {
        return respond(UNSUPPORTED_PROTOCOL_VERSION, {
          message: PROTOCOL_ADVICE,
        });
      }
      if (connects && j !== undefined) {
        return respond(BAD_REQUEST, { message: JSONP_ADVICE });
      }
      const { allowRequest } = this.opts;
      if (code !== undefined || connects || allowRequest === undefined) {
        return respond(code, context as RefusalContext);
      }
      allowRequest(request, (message, isAllowed) => {
        if (isAllowed) respond();
        else respond(FORBIDDEN, { message: message ?? "" });
      });
    });
  }

  /** Handles a request that is not an upgrade. */
  override handleRequest(
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    (request as EngineRequest)._query = queryOf(request.url ?? "");
    super.handleRequest(request as never, response);
  }

  /**
   * Handles an upgrade as Engine.IO does, but does not run Engine.IO's middlewares. The only middleware is CORS, which
   * browsers ignore in an upgrade. To run middlewares, Engine.IO would create a response object and keep it, and with
   * it the request, as long as the connection exists.
   */
  override handleUpgrade(
    incoming: IncomingMessage,
    duplex: Duplex,
    head: Buffer,
  ): void {
    const socket = duplex as RawSocket;
    // If the peer has already disconnected, an `error` event without a listener would end the process.
    socket.on("error", ignore);
    const request = incoming as EngineRequest;
    request._query = queryOf(request.url ?? "");
    this.verify(request, true, (code, context) => {
      const error = code === undefined
        ? validateHandshake(request)
        : refusalFor(code, context);
      if (error === undefined) this.#accept(request, socket, head);
      else refuse(socket, error);
    });
  }

  /**
   * Opens the connection of a new client that polls, as Engine.IO does, unless the gate refuses it. The promise never
   * rejects.
   */
  protected override async handshake(
    transport: "polling" | "websocket" | "webtransport",
    request: EngineRequest,
    abort: (code?: EngineErrorCode, context?: RefusalContext) => void,
  ): Promise<unknown> {
    const error = this.#enter(request, true);
    if (error !== undefined) {
      if (request.res !== undefined) respondWithError(request.res, error);
      return;
    }
    try {
      return await super.handshake(transport, request as never, abort);
    } finally {
      this.#gate.failed(request);
    }
  }

  /** Generates the id of a new connection. The id is as random as Engine.IO's own ids, but takes less time. */
  override generateId(): string {
    return randomText(15);
  }

  /** Does nothing. Engine.IO would create a WebSocket server of the package `ws` here, which Roomcast does not use. */
  protected override init(): void {}

  /** Does nothing, because `init()` has created no WebSocket server that would have to be closed. */
  protected override cleanup(): void {}

  /** Opens a WebSocket for a new client, or for a client that upgrades from polling. */
  #accept(request: EngineRequest, socket: RawSocket, head: Buffer): void {
    const { sid, transport } = request._query;
    const known = sid === undefined ? undefined : this.clients[sid];
    // A client that already uses a WebSocket cannot upgrade.
    const mayUpgrade = known === undefined ||
      (known.transport.name === "polling" && !known.upgrading);
    if (transport !== "websocket" || !mayUpgrade) {
      return refuse(socket, refusalFor(BAD_REQUEST));
    }
    if (!socket.readable || !socket.writable) return void socket.destroy();
    if (known === undefined) {
      const error = this.#enter(request, false);
      if (error !== undefined) return refuse(socket, refusalOf(error));
    }
    const { maxHttpBufferSize = Infinity } = this.opts;
    const response = Buffer.from(handshakeResponse(request));
    if (known !== undefined) socket.write(response);
    const websocket = new WebSocketTransport(
      request,
      socket,
      head,
      known === undefined ? response : undefined,
      maxHttpBufferSize,
      this.#directWriter,
      this.#frameLimit,
    );
    if (known === undefined) this.#open(request, websocket);
    else known._maybeUpgrade(websocket);
  }

  /** Opens the connection of a new client as Engine.IO's `handshake` does, but synchronously. */
  #open(request: EngineRequest, transport: WebSocketTransport): void {
    const id = this.generateId();
    const connection = new Connection(id, this, transport, request, 4);
    this.clients[id] = connection;
    this.clientsCount++;
    connection.on("close", this.#forget);
    this.emit("connection", connection);
  }

  /** Counts the connection that a request is about to open. Returns the error if the gate refuses it. */
  #enter(request: EngineRequest, isPolling: boolean): ApiError | undefined {
    try {
      this.#gate.enter(request, isPolling);
    } catch (thrown) {
      const error = toApiError(thrown);
      this.#onRefused(error);
      return error;
    }
  }

  /**
   * Creates the listener that removes a closed connection from `clients`. All connections share one listener, because a
   * closure for each connection would take more memory.
   */
  #makeForget(): (this: Connection) => void {
    const forget = (connection: Connection): void => {
      delete this.clients[internalsOf(connection).id];
      this.clientsCount--;
      this.#gate.closed(connection);
    };
    return function () {
      forget(this);
    };
  }

  /** Closes all connections and stops the heartbeats. */
  override close(): this {
    this.heartbeats.close();
    for (const { transport } of Object.values(this.clients)) {
      completeClose(transport);
    }
    return super.close();
  }
}

function queryOf(url: string): Readonly<Record<string, string>> {
  if (url === PLAIN) return PLAIN_QUERY;
  const start = url.indexOf("?");
  const query = start < 0 ? "" : url.slice(start + 1);
  return Object.fromEntries(new URLSearchParams(query));
}

function refusalFor(
  code: EngineErrorCode,
  context: RefusalContext = {},
): HandshakeError {
  const { message = Server.errorMessages[code], refusal } = context;
  const status = code === FORBIDDEN ? "403 Forbidden" : "400 Bad Request";
  return refusal ?? { status, headers: "", message };
}

function ignore(): void {}
