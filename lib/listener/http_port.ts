/**
 * Serves HTTP on one port, from listening to a stop without lost requests.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type {
  IncomingMessage,
  RequestListener,
  Server,
  ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { createHttpConnections, createHttpServer } from "../http/server.ts";
import type { Observe } from "../observer.ts";
import { InFlight } from "../util/in_flight.ts";
import type { ConnectionLimit } from "./connection_limit.ts";
import { stopListening } from "./stop_listening.ts";
import { ListenerWatch } from "./watch.ts";

/** Serves clients that use Socket.IO. */
export interface Sockets {
  /** Handles a request and returns `true`, or returns `false` if the request is for something else. */
  request(request: IncomingMessage, response: ServerResponse): boolean;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

/** Options of {@linkcode HttpPort}. */
export interface HttpPortOptions {
  /** Handles the requests that are not for Socket.IO. */
  readonly respond: RequestListener;
  /** Handles the requests for Socket.IO; undefined if the port has no Socket.IO, so that no upgrade is accepted. */
  readonly sockets?: Sockets | undefined;
  /** Makes a server listen on a port of the address to serve; rejects if that fails. */
  readonly listen: (server: Server, port: number) => Promise<AddressInfo>;
  readonly connections: ConnectionLimit;
  /** Whether the port may use half of the reserved file descriptors. */
  readonly usesReserve: boolean;
  /** Called once if the process no longer accepts connections on the port, and the port cannot be opened again. */
  readonly onLost: () => void;
  readonly observe: Observe;
}

/**
 * Serves HTTP on one port. To stop, call in this order `stopChecks()`, `drain()`, `stopListening()` and `settled()`;
 * after all parts that still answer requests have been closed, await `closed()`.
 */
export class HttpPort {
  readonly #server: Server;
  readonly #watch: ListenerWatch;
  readonly #connections = createHttpConnections();
  /** Counts the requests to routes until their responses have been sent. */
  readonly #requests = new InFlight();
  /**
   * Set when the listener begins to close; resolves when the listener is closed. Requests that arrive before that are
   * handled after the promise has resolved.
   */
  #held: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /** Creates the server of the port. Does not listen. */
  constructor(options: HttpPortOptions) {
    const { respond, sockets, listen, onLost, observe } = options;
    this.#server = createHttpServer(
      (request, response) => {
        if (sockets?.request(request, response)) return;
        // The request is in flight until its response has been sent, and not only until the response is known.
        response.on("close", this.#requests.begin());
        if (this.#held === undefined) respond(request, response);
        else void this.#held.then(() => respond(request, response));
      },
      sockets &&
        ((request, socket, head) => sockets.upgrade(request, socket, head)),
      this.#connections,
      (limit) => observe({ kind: "limited", limit }),
    );
    this.#watch = new ListenerWatch({
      server: this.#server,
      listen: (port) => listen(this.#server, port),
      connections: options.connections,
      usesReserve: options.usesReserve,
      onLost,
      observe,
    });
  }

  /** Whether the last check found that the process accepts connections on the port. */
  get accepting(): boolean {
    return this.#watch.accepting;
  }

  /** Opens the port and resolves to its URL. Rejects if the process cannot listen on the address. */
  async open(port: number): Promise<string> {
    const { address, family, ...opened } = await this.#watch.open(port);
    const host = family === "IPv6" ? `[${address}]` : address;
    return `http://${host}:${opened.port}`;
  }

  /** Stops checking that the process accepts connections. */
  stopChecks(): void {
    this.#watch.close();
  }

  /**
   * Makes every further response close its connection, and waits at most `recentMs` for requests on connections that
   * were used recently.
   */
  async drain(recentMs: number): Promise<void> {
    await this.#connections.drain(recentMs);
  }

  /** Closes the listener, and then every connection after the response that is in flight. */
  async stopListening(): Promise<void> {
    if (this.#server.listening) {
      this.#closed = new Promise((resolve) =>
        this.#server.once("close", () => resolve())
      );
      // Listening ends first, because requests arrive as long as the process listens.
      await (this.#held = stopListening(this.#server));
    }
    this.#connections.close();
  }

  /** Resolves when the requests in flight have been answered, which is after `timeoutMs` at the latest. */
  async settled(timeoutMs: number): Promise<void> {
    await this.#requests.settled(timeoutMs);
  }

  /** Resolves when all connections have ended. */
  async closed(): Promise<void> {
    await this.#closed;
  }
}
