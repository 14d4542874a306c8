/**
 * Socket.IO: who may connect, and how all are moved away.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { Server, type ServerOptions, type Socket } from "socket.io";
import { Clients } from "../clients/clients.ts";
import { cork, forgetRequest } from "../engineio/internals.ts";
import { EngineServer } from "../engineio/server.ts";
import { toApiError } from "../errors.ts";
import { SOCKET_IO_PATH } from "../http/target.ts";
import type { FanOut } from "../delivery/fanout.ts";
import type { LogParts } from "../log/log.ts";
import type { SessionStore } from "../sessions/store.ts";
import type { GapReason } from "../log/gaps.ts";
import type { Ring } from "../delivery/ring.ts";
import type { Observe } from "../observer.ts";
import type { DirectWriter } from "../wire/direct_write.ts";
import type { OriginAllowed } from "../access/origins.ts";

/** Largest thing a client may send in one go: a handshake with its rooms, later a message. */
const PACKET_OVERHEAD_BYTES = 64 << 10;
/** How long a connection may take to say which namespace it wants. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Tells the other nodes that a session goes on here. */
const TAKEN_OVER = "taken_over";
/** The events that nodes send each other by `serverSideEmit`. */
export const CLUSTER_EVENTS: readonly string[] = [TAKEN_OVER];

/** What {@linkcode SocketIoServer} is made of. */
export interface SocketIoServerOptions extends LogParts {
  readonly sessions: SessionStore;
  readonly fanOut: FanOut;
  /** Rooms of a client that names none. */
  readonly rooms: readonly string[];
  readonly roomsPerClientMax: number;
  readonly recoverySeconds: number;
  readonly ring: Ring;
  readonly messageBytesMax: number;
  readonly originAllowed: OriginAllowed;
  readonly directWriter: DirectWriter;
  /** Makes the Socket.IO adapter; undefined: its own, for one node. */
  readonly adapter?: ServerOptions["adapter"] | undefined;
  readonly observe: Observe;
}

/** The clients of this node. */
export class SocketIoServer {
  readonly #engine: EngineServer;
  readonly #io: Server;
  readonly #options: SocketIoServerOptions;
  /** Connections that have their one socket. */
  readonly #taken = new WeakSet<object>();
  readonly #clients: Clients;
  /** What was held back of a socket that is being let in. */
  readonly #held = new WeakMap<Socket, () => void>();

  /** Sets Socket.IO up; requests reach it by {@linkcode SocketIoServer.request} and {@linkcode SocketIoServer.upgrade}. */
  constructor(options: SocketIoServerOptions) {
    this.#options = options;
    const { adapter, originAllowed, messageBytesMax } = options;
    this.#engine = new EngineServer(
      {
        maxHttpBufferSize: messageBytesMax + PACKET_OVERHEAD_BYTES,
        // Only tells browsers whether a page may read an answer; who may connect is decided below, for all transports.
        cors: ((
          request: IncomingMessage,
          answer: (error: null, options: { origin: string | false }) => void,
        ) => {
          const { origin, host } = request.headers;
          answer(null, {
            origin: originAllowed(origin, host) && origin !== undefined
              ? origin
              : false,
          });
        }) as never,
        allowRequest: ({ headers }, answer) => {
          if (originAllowed(headers.origin, headers.host)) {
            answer(null, true);
          } else {answer(
              "Cannot connect: the page's origin is not in ALLOWED_ORIGINS",
              false,
            );}
        },
      },
      (waitingPackets) =>
        options.observe({ kind: "slow_client_disconnected", waitingPackets }),
      options.directWriter,
    );
    this.#io = new Server({
      ...(adapter === undefined ? {} : { adapter }),
      serveClient: false,
      connectTimeout: CONNECT_TIMEOUT_MS,
    });
    this.#io.bind(this.#engine as never);
    this.#clients = new Clients({
      ...options,
      // Only where there are others: the adapter of a single node complains.
      announce: (digest, generation) =>
        adapter && this.#io.serverSideEmit(TAKEN_OVER, digest, generation),
    });
    this.#io.on(
      TAKEN_OVER,
      (digest: unknown, generation: unknown) =>
        this.#clients.takenOver(digest, generation),
    );
    this.#io.use((socket, next) => {
      // Socket.IO takes any number of CONNECT packets while the first is still at the door.
      if (this.#taken.has(socket.conn)) return void socket.conn.close();
      this.#taken.add(socket.conn);
      this.#clients.admit(socket).then(
        () => {
          // What it is told first, CONNECT and its rooms, goes out in one write; who polls asks for it later anyway.
          if (socket.conn.transport.name === "websocket") {
            this.#held.set(socket, cork(socket));
          }
          next();
        },
        (error) => this.#turnAway(socket, error, next),
      );
    });
    const disconnected = this.#disconnected();
    this.#io.on("connection", (socket) => {
      try {
        if (!this.#clients.welcome(socket)) return void socket.conn.close();
      } finally {
        this.#held.get(socket)?.();
        this.#held.delete(socket);
      }
      forgetRequest(socket);
      options.observe({ kind: "client_connected", clients: this.count });
      socket.on("disconnect", disconnected);
    });
  }

  /** Answers a request, if it is one of Engine.IO's; says whether it was. */
  request(request: IncomingMessage, response: ServerResponse): boolean {
    if (!isOurs(request)) return false;
    this.#engine.handleRequest(request as never, response as never);
    return true;
  }

  /** Answers a request to become a WebSocket; one of nobody's is refused. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (isOurs(request)) {
      return this.#engine.handleUpgrade(request, socket, head);
    }
    // A peer that is gone already must not end the process with an error nobody listens to.
    socket.on("error", () => {});
    socket.end(
      "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    );
  }

  /** Connections now, also those that have not said yet what they want. */
  get count(): number {
    return this.#engine.clientsCount;
  }

  /**
   * Moves all clients away, evenly over `durationMs`, and lets no new one in. Connections are closed, not
   * "disconnected": after that word a stock client stays away (notes L15), after a mere close it comes back at once.
   */
  async drain(durationMs: number): Promise<void> {
    this.#engine.stopping = true;
    const connections = [...this.#io.of("/").sockets.values()].map((socket) =>
      socket.conn
    );
    const start = performance.now();
    for (const [index, connection] of connections.entries()) {
      const due = start + durationMs * (index + 1) / connections.length;
      const wait = due - performance.now();
      if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
      connection.close();
    }
  }

  /** All have been told of a gap since `since`, by an event with `id`: what is remembered of them has to say so. */
  gap(reason: GapReason, id: string, since: string): void {
    this.#clients.gap(reason, id, since);
  }

  /** Saves all sessions again: Redis may have lost what was saved. */
  saveSessions(): void {
    this.#clients.saveAll();
  }

  /** Ends what is left. */
  close(): void {
    this.#clients.close();
    this.#engine.close();
    this.#io.of("/").adapter.close();
  }

  /** One listener for all sockets: a closure for each would be kept by each. */
  #disconnected(): (this: Socket, reason: string) => void {
    const taken = this.#taken;
    const clients = this.#clients;
    const observe = (): void =>
      this.#options.observe({
        kind: "client_disconnected",
        clients: this.count,
      });
    return function (reason) {
      taken.delete(this.conn);
      clients.disconnected(this, reason);
      observe();
    };
  }

  /**
   * Tells a client why it cannot come in. What passes by itself is not told but shown by closing: a stock client tries
   * again after a closed connection, and never after an error.
   */
  #turnAway(
    socket: Socket,
    error: unknown,
    next: (error: Error) => void,
  ): void {
    const fault = toApiError(error);
    if (fault.code === "internal") {
      // The error itself: what the client sees does not say what happened.
      this.#options.observe({ kind: "error", where: "a handshake", error });
    }
    if (fault.retryable || fault.code === "internal") {
      return void socket.conn.close();
    }
    this.#taken.delete(socket.conn);
    next(Object.assign(new Error(fault.message), { data: fault.toJSON() }));
  }
}

function isOurs({ url = "" }: IncomingMessage): boolean {
  return url === SOCKET_IO_PATH || url.startsWith(`${SOCKET_IO_PATH}?`);
}
