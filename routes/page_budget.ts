/**
 * Limits how many long responses are made at a time for HTTP clients, and the memory of those that clients have not read
 * yet: pages of histories, lists of rooms, the metrics, and the results of batches. All of them are called pages here.
 *
 * A page of a history may have 1 MiB, a list of rooms 300 KB, and the metrics have 100 KB. A client may send a hundred
 * requests on one connection without reading a response.
 *
 * @module
 */
import type { Socket } from "node:net";
import { ApiError } from "../lib/errors.ts";
import type { Observe } from "../lib/observer.ts";
import { KeyedTurns, Limit } from "../lib/util/turns.ts";

/**
 * Maximum number of pages that are read from the log at a time. Clients that connect have to wait for all of them,
 * because their sessions are stored over the same connection to Redis.
 */
const READS_MAX = 4;
/** Maximum number of connections for which a read waits. */
const WAITING_MAX = 1000;
/** How long a read may wait, in ms. One that has waited for longer when its turn comes is refused. */
const WAIT_MS = 5000;

/** Limits of {@linkcode PageBudget}. */
export interface PageLimits {
  /** Maximum length of all pages together, in characters. One page may be longer if it is the only one. */
  readonly lengthMax: number;
  /**
   * A connection that has not sent any of its pages completely for so long, in ms, is closed if other pages need its
   * memory.
   */
  readonly stalledMs: number;
}

const LIMITS: PageLimits = { lengthMax: 128 << 20, stalledMs: 5000 };

/** What the pages of a {@linkcode PageBudget} are. */
export interface PageKind {
  /** What the client asked for, as error messages say it after `Cannot`, such as `read the history`. */
  readonly verb: string;
  /** The name of the limit in metrics. */
  readonly limit: string;
}

const HISTORY: PageKind = {
  verb: "read the history",
  limit: "history_pages",
};

/** The response that sends a page, as far as it is needed here. */
export interface PageResponse {
  readonly req: { readonly socket: Socket };
  once(event: "close", listener: () => void): unknown;
}

/** The pages that are being sent on one connection. */
interface Sending {
  length: number;
  /** Time of `performance.now()` at which the connection last sent a page completely, or otherwise held its first one. */
  since: number;
}

/**
 * Lets few pages of one kind be read at a time, and counts the pages from the moment at which they are read until they are
 * sent.
 */
export class PageBudget {
  /** Runs the reads of one connection one after the other, so that each connection waits for at most one turn. */
  readonly #turns = new KeyedTurns<Socket>();
  readonly #reads = new Limit(READS_MAX);
  readonly #observe: Observe;
  readonly #limits: PageLimits;
  readonly #kind: PageKind;
  /** The pages that are being sent, by connection. The connections are in the order of their `since`. */
  readonly #sending = new Map<Socket, Sending>();
  /** The connections that have a listener which releases their pages. */
  readonly #watched = new WeakSet<Socket>();
  #length = 0;

  /**
   * Starts without pages. By default the pages are those of histories, and the limits are 128 MiB for all of them, and
   * 5 s. `observe` receives `limited` for each connection that is closed.
   */
  constructor(
    observe: Observe,
    limits: Partial<PageLimits> = {},
    kind: PageKind = HISTORY,
  ) {
    this.#observe = observe;
    this.#limits = { ...LIMITS, ...limits };
    this.#kind = kind;
  }

  /** Length of all pages that are not sent completely yet, in characters. */
  get length(): number {
    return this.#length;
  }

  /**
   * Reads a page for `response` by `read`, when it is the turn of its connection.
   *
   * @throws {ApiError} `overloaded` if too many connections wait, if the read has waited too long, or if there is no
   * memory for the page; `malformed_request` if the connection was closed before its turn
   */
  async read<T>(
    { req: { socket } }: PageResponse,
    read: () => Promise<T>,
  ): Promise<T> {
    const latest = performance.now() + WAIT_MS;
    return await this.#turns.run(socket, async () => {
      if (this.#reads.waiting >= WAITING_MAX) throw this.#overloaded();
      return await this.#reads.run(async () => {
        if (socket.destroyed) throw this.#closed();
        this.#makeRoom(1);
        if (performance.now() > latest || !this.#mayHold(1)) {
          throw this.#overloaded();
        }
        return await read();
      });
    });
  }

  /**
   * Makes the body of `response` as {@linkcode PageBudget.read} reads a page, and counts it as {@linkcode
   * PageBudget.hold} does. Without `response`, only makes the body.
   *
   * @throws {ApiError} as these two methods do
   */
  async make<T extends { readonly body: string }>(
    response: PageResponse | undefined,
    make: () => Promise<T>,
  ): Promise<T> {
    if (response === undefined) return await make();
    const made = await this.read(response, make);
    this.hold(response, made.body.length);
    return made;
  }

  /**
   * Counts a page until `response` has sent it, or its connection is closed. Call this before the page is passed to the
   * response.
   *
   * @throws {ApiError} `overloaded` if there is no memory for the page
   */
  hold(response: PageResponse, length: number): void {
    const { socket } = response.req;
    if (socket.destroyed) return;
    this.#makeRoom(length);
    if (!this.#mayHold(length)) throw this.#overloaded();
    const sending = this.#sendingOn(socket);
    sending.length += length;
    this.#length += length;
    response.once("close", () => this.#sent(socket, sending, length));
    if (this.#watched.has(socket)) return;
    this.#watched.add(socket);
    socket.once("close", () => this.#forget(socket));
  }

  #fits(length: number): boolean {
    return this.#length + length <= this.#limits.lengthMax;
  }

  #mayHold(length: number): boolean {
    return this.#length === 0 || this.#fits(length);
  }

  #sendingOn(socket: Socket): Sending {
    let sending = this.#sending.get(socket);
    if (sending === undefined) {
      sending = { length: 0, since: performance.now() };
      this.#sending.set(socket, sending);
    }
    return sending;
  }

  /** Closes connections that have made no progress for some time, until a page fits. */
  #makeRoom(length: number): void {
    const stalled = performance.now() - this.#limits.stalledMs;
    for (const [socket, { since }] of this.#sending) {
      if (this.#fits(length) || since > stalled) return;
      this.#observe({ kind: "limited", limit: this.#kind.limit });
      this.#forget(socket);
      socket.destroy();
    }
  }

  #sent(socket: Socket, sending: Sending, length: number): void {
    if (this.#sending.get(socket) !== sending) return;
    sending.length -= length;
    this.#length -= length;
    // The new `since` is the latest one, so the connection is added again as the last one.
    this.#sending.delete(socket);
    if (sending.length === 0) return;
    sending.since = performance.now();
    this.#sending.set(socket, sending);
  }

  #forget(socket: Socket): void {
    this.#length -= this.#sending.get(socket)?.length ?? 0;
    this.#sending.delete(socket);
  }

  /** Returns the error that ends a read whose client has closed its connection. No client receives the error. */
  #closed(): ApiError {
    return new ApiError(
      "malformed_request",
      `Cannot ${this.#kind.verb}: the connection was closed before its turn; send the request again`,
    );
  }

  #overloaded(): ApiError {
    return new ApiError(
      "overloaded",
      `Cannot ${this.#kind.verb}: this node already reads or holds too many pages for other requests; try again later`,
    );
  }
}
