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
import type { OriginRule } from "../access/origins.ts";
import type { Admission } from "../clients/admission.ts";
import type { Client, Joined } from "../clients/client.ts";
import type { Clients } from "../clients/clients.ts";
import { drainEvenly } from "../clients/drain.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { closeBecause } from "../engineio/closing.ts";
import { forgetRequest } from "../engineio/internals.ts";
import { Gate } from "../engineio/gate.ts";
import { EngineServer } from "../engineio/server.ts";
import { ApiError } from "../errors.ts";
import { isForEngine } from "../http/target.ts";
import type { ConnectionLimits } from "../limits/connection_limits.ts";
import type { RefusalDelay } from "../limits/refusal_delay.ts";
import type { Observe } from "../observer.ts";
import type { ClientPublisher } from "../publish/client_publisher.ts";
import type { DirectWriter } from "../wire/direct_write.ts";
import { engineOptions, packetBytesMax } from "./engine_options.ts";
import { eventFrame, positionFrame } from "./frame.ts";
import { Handshakes, type HandshakesOptions } from "./handshakes.ts";
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
export interface SocketIoServerOptions extends HandshakesOptions {
  readonly clients: Clients;
  readonly publisher: Pick<ClientPublisher, "publish">;
  readonly fanOut: FanOut;
  readonly messageBytesMax: number;
  readonly originRule: OriginRule;
  readonly directWriter: DirectWriter;
  /** Socket.IO's option `adapter`; undefined if the node runs without Redis and therefore alone. */
  readonly adapter?: ServerOptions["adapter"] | undefined;
  /** Counts connections, and refuses those beyond the limits. */
  readonly connections: ConnectionLimits;
  /** How many events a client may send per second. */
  readonly eventsPerSecondMax: number;
  /** Delays refusals; by default as `RefusalDelay` does. */
  readonly refusalDelay?: RefusalDelay | undefined;
  readonly observe: Observe;
}

/** Serves the Socket.IO clients of this node. */
export class SocketIoServer {
  readonly #options: SocketIoServerOptions;
  readonly #engine: EngineServer;
  readonly #io: Server;
  readonly #requests: Requests;
  readonly #refusals: Refusals;
  readonly #gate: Gate;
  readonly #handshakes: Handshakes;
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
    this.#handshakes = new Handshakes(options, this.#refusals);
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
    this.#io.use((socket, next) => void this.#handshakes.admit(socket, next));
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
   * Connects an admitted client to its rooms, right after Socket.IO has written the CONNECT packet. Never throws,
   * because an error in this callback of Socket.IO would end the process.
   */
  #connected(socket: Socket): void {
    const entering = this.#handshakes.take(socket);
    if (entering === undefined) return;
    const { admission, uncork } = entering;
    try {
      if (!this.#welcome(socket, admission)) socket.conn.close();
    } catch (error) {
      this.#failed("connecting a client", error);
      this.#clients.delete(socket);
      this.#options.clients.dropped(admission.client, false);
      socket.conn.close();
    } finally {
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
