/**
 * Limits the memory of pages of histories that HTTP clients have asked for and have not read yet.
 *
 * A page may have 1 MiB, and a client may send a hundred requests on one connection without reading a response.
 *
 * @module
 */
import type { Socket } from "node:net";
import { ApiError } from "../lib/errors.ts";
import type { Observe } from "../lib/observer.ts";

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

/** Counts the pages of histories from the moment at which they are read until they are sent. */
export class PageBudget {
  readonly #observe: Observe;
  readonly #limits: PageLimits;
  /** The pages that are being sent, by connection. The connections are in the order of their `since`. */
  readonly #sending = new Map<Socket, Sending>();
  /** The connections that have a listener which releases their pages. */
  readonly #watched = new WeakSet<Socket>();
  #length = 0;

  /**
   * Starts without pages. By default the limits are 128 MiB for all pages, and 5 s. `observe` receives `limited` for
   * each connection that is closed.
   */
  constructor(observe: Observe, limits: PageLimits = LIMITS) {
    this.#observe = observe;
    this.#limits = limits;
  }

  /** Length of all pages that are not sent completely yet, in characters. */
  get length(): number {
    return this.#length;
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
    if (this.#length > 0 && !this.#fits(length)) throw overloaded();
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
      this.#observe({ kind: "limited", limit: "history_pages" });
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
}

function overloaded(): ApiError {
  return new ApiError(
    "overloaded",
    "Cannot read the history: this node already holds too many pages for clients that read slowly; try again later",
  );
}
