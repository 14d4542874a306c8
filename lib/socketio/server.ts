/**
 * Serves clients that use Socket.IO.
 *
 * Stock clients recover by Socket.IO's own protocol. The server sends a client a `pid` when it connects. The client
 * stores the last argument of every event if it is a string. When the client reconnects, it sends the `pid` and the
 * stored argument. If the server then sends the same `pid` again, the client reports `recovered`. Roomcast uses this
 * protocol with its own sessions and its own recovery.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { Server, type ServerOptions, type Socket } from "socket.io";
import type { Access } from "../access/access.ts";
import type { OriginRule } from "../access/origins.ts";
import type { ReadTokenCookie } from "../access/token_cookie.ts";
import type { Admission } from "../clients/admission.ts";
import type { Client, Joined } from "../clients/client.ts";
import type { Clients } from "../clients/clients.ts";
import { drainEvenly } from "../clients/drain.ts";
import type { Hello } from "../clients/hello.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { closeBecause } from "../engineio/closing.ts";
import { cork, forgetRequest, identify } from "../engineio/internals.ts";
import { Gate } from "../engineio/gate.ts";
import { EngineServer } from "../engineio/server.ts";
import { ApiError } from "../errors.ts";
import { isForEngine } from "../http/target.ts";
import type { ClientAddress } from "../limits/addresses.ts";
import type { ConnectionLimits } from "../limits/connection_limits.ts";
import { HandshakeMemory } from "../limits/handshake_memory.ts";
import type { RefusalDelay } from "../limits/refusal_delay.ts";
import type { Observe } from "../observer.ts";
import type { ClientPublisher } from "../publish/client_publisher.ts";
import { parsedBytes } from "../util/parsed_bytes.ts";
import type { DirectWriter } from "../wire/direct_write.ts";
import { engineOptions, packetBytesMax } from "./engine_options.ts";
import { eventFrame, positionFrame } from "./frame.ts";
import { checkHandshake, credentialsOf, helloOf } from "./hello.ts";
import { introductionOf } from "./introduction.ts";
import { inputLimitsFor } from "./input_limits.ts";
import { parserOf } from "./parser.ts";
import { Refusals } from "./refusals.ts";
import { Requests } from "./requests.ts";
import { subscriberOf } from "./subscriber.ts";

/** How long a new connection may take to send Socket.IO's CONNECT packet, in ms. */
const CONNECT_TIMEOUT_MS = 10_000;
/** How metrics name the clients of this server. */
const transport = "socket.io";
/** The reason that a stopping node tells its WebSocket clients when it disconnects them. */
const STOPPING = new ApiError(
  "draining",
  "Cannot keep the connection: this node is stopping; connect again",
);

/** Options of {@linkcode SocketIoServer}. */
export interface SocketIoServerOptions {
  readonly clients: Clients;
  readonly access: Pick<Access, "asksHook" | "authenticate">;
  readonly publisher: Pick<ClientPublisher, "publish">;
  readonly fanOut: FanOut;
  readonly messageBytesMax: number;
  readonly originRule: OriginRule;
  /** Reads a token from a cookie of the handshake; it counts if the client sends no `auth.token`. */
  readonly tokenCookie: ReadTokenCookie;
  readonly directWriter: DirectWriter;
  /** Socket.IO's option `adapter`; undefined if the node runs without Redis and therefore alone. */
  readonly adapter?: ServerOptions["adapter"] | undefined;
  /** Counts connections, and refuses those beyond the limits. */
  readonly connections: ConnectionLimits;
  readonly clientAddress: ClientAddress;
  /** How many events a client may send per second. */
  readonly eventsPerSecondMax: number;
  /** Limits what connecting clients have sent; by default as `HandshakeMemory` does. */
  readonly handshakes?: HandshakeMemory | undefined;
  /** Delays refusals; by default as `RefusalDelay` does. */
  readonly refusalDelay?: RefusalDelay | undefined;
  /** The headers of a handshake that are passed on to hooks; undefined if there are no hooks. */
  readonly hookHeaders?: readonly string[] | undefined;
  readonly observe: Observe;
}

/** The state of a socket whose client is admitted and not connected yet. */
interface Entering {
  readonly admission: Admission;
  /** Sends the packets that were queued for the client since the client was admitted. */
  readonly uncork: () => void;
}

/** Serves the Socket.IO clients of this node. */
export class SocketIoServer {
  readonly #options: SocketIoServerOptions;
  readonly #engine: EngineServer;
  readonly #io: Server;
  readonly #requests: Requests;
  readonly #refusals: Refusals;
  readonly #gate: Gate;
  readonly #handshakes: HandshakeMemory;
  /**
   * The Engine.IO connections whose client has already sent a CONNECT packet that was not refused. They stay in this set
   * after the client has sent DISCONNECT, because the headers of the handshake are needed to admit a client, and were
   * dropped by `forgetRequest()`.
   */
  readonly #taken = new WeakSet<object>();
  readonly #entering = new WeakMap<Socket, Entering>();
  readonly #clients = new Map<Socket, Client>();
  // All sockets share one listener, because a closure for each socket would take more memory.
  readonly #onDisconnect = this.#makeOnDisconnect();

  /**
   * Creates a server that does not listen: pass HTTP requests to `request()`, and requests for a WebSocket to
   * `upgrade()`.
   */
  constructor(options: SocketIoServerOptions) {
    this.#options = options;
    const { access, adapter, clients, fanOut, publisher, observe } = options;
    this.#refusals = new Refusals({ ...options, delay: options.refusalDelay });
    this.#gate = new Gate(options.connections);
    this.#handshakes = options.handshakes ?? new HandshakeMemory();
    this.#engine = new EngineServer(engineOptions(options), {
      directWriter: options.directWriter,
      gate: this.#gate,
      inputLimits: inputLimitsFor({
        ...options,
        bytesMax: packetBytesMax(options.messageBytesMax),
        onRefused: (error) => this.#refusals.reportEvent(error),
      }),
      onSlowClient: (waitingPackets) =>
        observe({ kind: "slow_client_disconnected", waitingPackets }),
      refusalOf: ({ headers }) => options.originRule(headers).refusal,
      onRefused: (error) => this.#refusals.report(error),
      delayRefusal: (request, refuse) => this.#refusals.delay(request, refuse),
      onUnknownSid: () => this.#refusals.reportUnknownSid(),
    });
    this.#requests = new Requests({
      access,
      clients,
      publisher,
      fanOut,
      eventsPerSecondMax: options.eventsPerSecondMax,
      clientOf: (socket) => this.#clients.get(socket),
      onRefused: (error) => this.#refusals.reportEvent(error),
      observe,
    });
    this.#io = new Server({
      ...(adapter === undefined ? {} : { adapter }),
      serveClient: false,
      connectTimeout: CONNECT_TIMEOUT_MS,
      parser: parserOf((error) => this.#refusals.report(error)),
    });
    this.#io.bind(this.#engine as never);
    this.#io.use((socket, next) => void this.#admit(socket, next));
    this.#io.on("connection", (socket) => this.#connected(socket));
  }

  /**
   * Handles an HTTP request if the request is for Engine.IO. Returns `false` if the request is for something else and
   * was not handled.
   */
  request(request: IncomingMessage, response: ServerResponse): boolean {
    if (!isForEngine(request)) return false;
    response.setHeader("Vary", "Origin");
    this.#engine.handleRequest(request as never, response as never);
    return true;
  }

  /** Handles a request to upgrade a connection to a WebSocket. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#engine.handleUpgrade(request, socket, head);
  }

  /** Number of connections, including those whose client has not sent CONNECT yet. */
  get count(): number {
    return this.#engine.clientsCount;
  }

  /** Whether {@linkcode SocketIoServer.drain} was called. */
  get isDraining(): boolean {
    return this.#engine.stopping;
  }

  /**
   * Closes all connections as {@linkcode drainEvenly} does, and accepts no new ones. Does not send Socket.IO's
   * DISCONNECT packet: a stock client reconnects at once if its connection is closed, but not if it has received this
   * packet.
   */
  async drain(durationMaxMs: number): Promise<void> {
    this.#engine.stopping = true;
    const sockets = [...this.#clients.keys()];
    await drainEvenly(sockets, durationMaxMs, ({ conn }) => {
      if (conn.transport.name === "polling") conn.close();
      else closeBecause(conn, STOPPING);
    });
  }

  /** Closes all connections at once. */
  close(): void {
    this.#refusals.close();
    this.#engine.close();
    this.#io.of("/").adapter.close();
  }

  /**
   * Admits or rejects a client before Socket.IO connects its socket, and then calls `next`. The promise never rejects.
   */
  async #admit(socket: Socket, next: (error?: Error) => void): Promise<void> {
    const { conn } = socket;
    // Socket.IO accepts several CONNECT packets on one connection until it has answered the first one, and again after a
    // DISCONNECT packet. Only one may be handled.
    if (this.#taken.has(conn)) {
      conn.close();
      return next();
    }
    this.#taken.add(conn);
    try {
      checkHandshake(socket);
      const { clients, access, tokenCookie, hookHeaders } = this.#options;
      const { auth } = socket.handshake;
      using _ = this.#handshakes.enter(parsedBytes(auth));
      const { secret, place } = credentialsOf(socket, tokenCookie);
      const authenticate: Hello["authenticate"] = access.asksHook(secret)
        ? undefined
        : (readSeal) =>
          access.authenticate({ from: "client", secret, place }, readSeal);
      const introduction = hookHeaders &&
        introductionOf(socket, { ...this.#options, hookHeaders });
      const admission = await clients.admit({
        ...helloOf(socket),
        principal: undefined,
        authenticate,
        introduction,
      });
      if (conn.readyState !== "open") {
        clients.abandon(admission);
        return next();
      }
      const { client: { id }, secret: pid, recovered } = admission;
      identify(socket, { id, pid, recovered });
      // CONNECT and the events after it are sent in one write. A polling client does not need that, because it fetches
      // them with its next request.
      const uncork = conn.transport.name === "websocket"
        ? cork(socket)
        : () => {};
      this.#entering.set(socket, { admission, uncork });
      next();
    } catch (error) {
      this.#reject(socket, error, next);
    }
  }

  /** Rejects a client, and then calls `next`, because Socket.IO keeps the socket in memory until then. */
  #reject(socket: Socket, error: unknown, next: (error?: Error) => void): void {
    this.#refusals.reject(socket, error, (shown) => {
      // The client may send another CONNECT packet after `connect_error`.
      if (shown !== undefined) this.#taken.delete(socket.conn);
      next(shown);
    });
  }

  /**
   * Connects an admitted client to its rooms, right after Socket.IO has written the CONNECT packet. Never throws,
   * because an error in this callback of Socket.IO would end the process.
   */
  #connected(socket: Socket): void {
    const entering = this.#entering.get(socket);
    if (entering === undefined) return;
    const { admission: { client }, uncork } = entering;
    try {
      if (!this.#welcome(socket, entering.admission)) socket.conn.close();
    } catch (error) {
      this.#failed("connecting a client", error);
      this.#clients.delete(socket);
      this.#options.clients.dropped(client, false);
      socket.conn.close();
    } finally {
      this.#entering.delete(socket);
      uncork();
    }
  }

  #welcome(socket: Socket, admission: Admission): boolean {
    const { clients, fanOut, observe } = this.#options;
    const subscriber = subscriberOf(socket);
    // The listener is added before the client is sent anything, because a write may close the connection.
    this.#clients.set(socket, admission.client);
    socket.on("disconnect", this.#onDisconnect);
    const isWelcome = clients.welcome(admission, subscriber, (joined) => {
      for (const frame of framesOf(joined)) fanOut.send(subscriber, frame);
    });
    if (!isWelcome) return false;
    this.#requests.serve(socket);
    this.#gate.connected(socket.conn);
    forgetRequest(socket);
    observe({
      kind: "client_connected",
      transport,
      clients: this.#clients.size,
    });
    return true;
  }

  #makeOnDisconnect(): (this: Socket, reason: string) => void {
    const disconnected = this.#disconnected.bind(this);
    return function (reason) {
      disconnected(this, reason);
    };
  }

  /**
   * Handles the end of a client's connection. Never throws, because an error in this callback of Socket.IO would end
   * the process.
   */
  #disconnected(socket: Socket, reason: string): void {
    const { clients, observe } = this.#options;
    const client = this.#clients.get(socket);
    this.#clients.delete(socket);
    try {
      // A client does not reconnect after it has sent or received DISCONNECT.
      const hasLeft = reason.endsWith("namespace disconnect");
      if (client !== undefined) clients.dropped(client, hasLeft);
    } catch (error) {
      this.#failed("disconnecting a client", error);
    }
    observe({
      kind: "client_disconnected",
      transport,
      clients: this.#clients.size,
    });
  }

  #failed(where: string, error: unknown): void {
    this.#options.observe({ kind: "error", where, error });
  }
}

/** Makes the frames of the events that a client receives at connect, after its messages and gaps. */
function* framesOf(
  { rooms, position, id, notice }: Joined,
): Generator<ReturnType<typeof eventFrame>> {
  for (const { room, recovered, reason } of rooms) {
    yield eventFrame("joined", { room, position, recovered, reason }, id);
  }
  if (notice !== undefined) {
    const { room } = notice;
    yield positionFrame({ room, position }, id, notice);
  }
}
