/**
 * Counts the connections of an Engine.IO server, and refuses new ones beyond the limits.
 *
 * A connection counts from the request that opens it until it is closed, however it ends. The upgrade of a polling
 * client to a WebSocket is no new connection.
 *
 * @module
 */
import type { Socket as Connection } from "engine.io";
import type { IncomingMessage } from "node:http";
import { ApiError } from "../errors.ts";
import type { ConnectionLimits, Entry } from "../limits/connection_limits.ts";

/** Maximum number of connections whose client is not connected yet, because it has sent no CONNECT packet. */
const HANDSHAKES_MAX = 10_000;
/**
 * Maximum number of clients that poll. Each of them needs memory, even while it has no TCP connection, which the limit of
 * file descriptors would count.
 */
const POLLING_MAX = 10_000;

const TOO_MANY_HANDSHAKES = new ApiError(
  "too_many_connects",
  `Cannot connect: ${HANDSHAKES_MAX} other clients are connecting to this node; connect again later`,
);
const TOO_MANY_POLLING = new ApiError(
  "too_many_clients",
  `Cannot connect: ${POLLING_MAX} clients of this node use HTTP long polling, and it serves no more; connect with a WebSocket, or try again later`,
);

/** The maximum numbers of connections, besides those of {@linkcode ConnectionLimits}. */
export interface GateLimits {
  readonly handshakesMax: number;
  readonly pollingMax: number;
}

/** The limits of connections that are configured. */
export type Counter = Pick<ConnectionLimits, "enter" | "leave">;

/** A counter without limits. */
const UNLIMITED: Counter = {
  enter: () => ({ group: undefined }),
  leave: () => {},
};

const ENTRY = Symbol("entry");
type CountedConnection = Connection & { [ENTRY]?: Entry | undefined };
type CountedRequest = IncomingMessage & { [ENTRY]?: Entry | undefined };

/** Lets connections in, and counts them until they are closed. */
export class Gate {
  readonly #counter: Counter;
  readonly #limits: GateLimits;
  /** The connections whose client has not sent a CONNECT packet that was accepted. */
  readonly #handshakes = new Set<Connection>();
  readonly #polling = new Set<Connection>();

  /** Starts without connections. */
  constructor(
    counter: Counter = UNLIMITED,
    limits: GateLimits = {
      handshakesMax: HANDSHAKES_MAX,
      pollingMax: POLLING_MAX,
    },
  ) {
    this.#counter = counter;
    this.#limits = limits;
  }

  /** Number of connections whose client is not connected yet. */
  get handshakes(): number {
    return this.#handshakes.size;
  }

  /** Number of connections of clients that poll. */
  get polling(): number {
    return this.#polling.size;
  }

  /**
   * Counts the connection that a request is about to open. Then either pass the connection to {@linkcode Gate.opened},
   * or call {@linkcode Gate.failed} if none was opened.
   *
   * @throws {ApiError} A retryable error if there are too many connections
   */
  enter(request: IncomingMessage, isPolling: boolean): void {
    if (this.#handshakes.size >= this.#limits.handshakesMax) {
      throw TOO_MANY_HANDSHAKES;
    }
    if (isPolling && this.#polling.size >= this.#limits.pollingMax) {
      throw TOO_MANY_POLLING;
    }
    (request as CountedRequest)[ENTRY] = this.#counter.enter(request);
  }

  /** Counts the connection of this request no longer, if none was opened. */
  failed(request: CountedRequest): void {
    this.#release(request);
  }

  /** Takes over the count of a request for the connection that the request has opened. */
  opened(request: CountedRequest, connection: CountedConnection): void {
    const { [ENTRY]: entry } = request;
    if (entry === undefined) return;
    request[ENTRY] = undefined;
    connection[ENTRY] = entry;
    this.#handshakes.add(connection);
    if (connection.transport.name !== "polling") return;
    this.#polling.add(connection);
    connection.once("upgrade", () => this.#polling.delete(connection));
  }

  /** Records that the client of a connection is connected. */
  connected(connection: Connection): void {
    this.#handshakes.delete(connection);
  }

  /** Counts a closed connection no longer. */
  closed(connection: CountedConnection): void {
    this.#handshakes.delete(connection);
    this.#polling.delete(connection);
    this.#release(connection);
  }

  #release(holder: { [ENTRY]?: Entry | undefined }): void {
    const { [ENTRY]: entry } = holder;
    if (entry === undefined) return;
    holder[ENTRY] = undefined;
    this.#counter.leave(entry);
  }
}
