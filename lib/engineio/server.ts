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
import { type ApiError, toApiError } from "../errors.ts";
import { randomText } from "../util/random.ts";
import {
  handshakeResponse,
  validateHandshake,
} from "../websocket/handshake.ts";
import type { FrameLimit } from "../websocket/connection.ts";
import { DirectWriter } from "../wire/direct_write.ts";
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
import { queryOf } from "./query.ts";
import {
  type EngineErrorCode,
  engineRefusal,
  type Refusal,
  refuseHandshake,
  refuseUpgrade,
  respondWith,
} from "./refusal.ts";
import {
  ALLOWED_METHODS,
  isReported,
  isUnknownSid,
  refusalFor,
} from "./request_rules.ts";
import { WebSocketTransport } from "./transport.ts";

const { BAD_REQUEST } = Server.errors;

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
  /** Returns the error if a request may not be served, for example because of its origin. */
  readonly refusalOf?: (request: IncomingMessage) => ApiError | undefined;
  /** Called with the error when a client that wants to connect, or a request because of `refusalOf`, is refused. */
  readonly onRefused?: (error: ApiError) => void;
  /** Calls `refuse`, which refuses a client beyond the gate's limits, at once or a little later; by default at once. */
  readonly delayRefusal?: (
    request: IncomingMessage,
    refuse: () => void,
  ) => void;
  /** Called when a request is refused because it names a connection that this server does not have. */
  readonly onUnknownSid?: () => void;
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
  readonly #refusalOf: NonNullable<EngineParts["refusalOf"]>;
  readonly #onRefused: (error: ApiError) => void;
  readonly #delayRefusal: NonNullable<EngineParts["delayRefusal"]>;
  readonly #onUnknownSid: () => void;

  /** Creates a server with Engine.IO's options. */
  constructor(options: ServerOptions, parts: EngineParts = {}) {
    super(options);
    const { gate = new Gate(), inputLimits, onSlowClient = ignore } = parts;
    this.#directWriter = parts.directWriter ?? new DirectWriter(ignore);
    this.#gate = gate;
    this.#frameLimit = inputLimits?.frames;
    this.#refusalOf = parts.refusalOf ?? (() => undefined);
    this.#onRefused = parts.onRefused ?? ignore;
    this.#delayRefusal = parts.delayRefusal ?? ((_, refuse) => refuse());
    this.#onUnknownSid = parts.onUnknownSid ?? ignore;
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
   * Verifies a request as Engine.IO does, answers `OPTIONS`, and responds to a request that is refused. Calls `accept`
   * for every other request.
   */
  override verify(
    request: EngineRequest,
    upgrade: boolean,
    accept: () => void,
  ): void {
    const { method, res } = request;
    if (method === "OPTIONS" && res !== undefined) {
      res.writeHead(204, { allow: ALLOWED_METHODS }).end();
      return;
    }
    super.verify(
      request as never,
      upgrade,
      (code?: EngineErrorCode, context?: { readonly name?: unknown }) => {
        const rules = { stopping: this.stopping, refusalOf: this.#refusalOf };
        const refusal = refusalFor(request, rules, code, context?.name);
        if (refusal === undefined) accept();
        else this.#respond(request, refusal);
      },
    );
  }

  /** Responds to a request that is refused, and reports a refusal that the operator may have to know of. */
  #respond(request: EngineRequest, refusal: Refusal): void {
    const { res, socket } = request;
    if (isReported(request, refusal)) this.#onRefused(refusal.error);
    if (isUnknownSid(refusal)) this.#onUnknownSid();
    if (res === undefined) refuseUpgrade(socket, refusal);
    else respondWith(res, refusal);
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
    this.verify(request, true, () => {
      const error = validateHandshake(request);
      if (error === undefined) this.#accept(request, socket, head);
      else refuseHandshake(socket, error);
    });
  }

  /**
   * Opens the connection of a new client that polls, as Engine.IO does, unless the gate refuses it. The promise never
   * rejects.
   */
  protected override async handshake(
    transport: "polling" | "websocket" | "webtransport",
    request: EngineRequest,
    abort: (code?: EngineErrorCode) => void,
  ): Promise<unknown> {
    const error = this.#enter(request, true);
    if (error !== undefined) {
      const { res } = request;
      this.#delayRefusal(request, () => res && respondWith(res, { error }));
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
      return refuseUpgrade(socket, engineRefusal(BAD_REQUEST));
    }
    if (!socket.readable || !socket.writable) return void socket.destroy();
    if (known === undefined) {
      const error = this.#enter(request, false);
      if (error !== undefined) {
        return this.#delayRefusal(
          request,
          () => refuseUpgrade(socket, { error }),
        );
      }
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

function ignore(): void {}
