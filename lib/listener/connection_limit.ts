/**
 * Refuses connections before they use up the file descriptors of the process.
 *
 * Without a free descriptor nothing else works: no connection to Redis, no file, no look-up of a name, and in Deno
 * 2.9.6 the listener itself ends (`docs/decisions/0012-watched-listener.md`).
 *
 * @module
 */
import type { Server, Socket } from "node:net";
import { freeDescriptors } from "./descriptors.ts";
import type { Observe } from "../observer.ts";

/** How many free descriptors are looked for at a time; that takes 4 ms, and 25 ms at start. */
const MEASURED_MAX = 1024;
/** Of the descriptors that are free at start, this part stays free for all that is not a client's connection. */
const RESERVE_PART = 1 / 8;
/**
 * Four connections to Redis that are made again, a connection to itself (two), files, look-ups of names; or half of
 * what is free, if that is less.
 */
const RESERVE_MIN = 24;
/** Refusals are reported together, this long after the first. */
const REPORT_MS = 1000;

/**
 * Counts the connections of a server and refuses those beyond what the process can hold: they are accepted and closed
 * at once. If the limit of descriptors is far away, or cannot be found out, none is refused.
 *
 * Lifetime: as long as its server. Call `close()` to stop reporting.
 */
export class ConnectionLimit {
  readonly #file: URL;
  readonly #observe: Observe;
  readonly #onRefused: () => void;
  #count = 0;
  /** Allowed as far as is known: if `#found`, no more are, otherwise the limit has to be looked for again. */
  #max = 0;
  #found = false;
  #reserve = 0;
  #refused = 0;
  #report: ReturnType<typeof setTimeout> | undefined;
  #expectsOwn = false;

  /**
   * Begins to count the connections of `server`, which does not listen yet. `file` is opened to count descriptors.
   * `onRefused` is called for each connection that was refused, once its descriptor is free again.
   */
  constructor(
    server: Server,
    file: URL,
    observe: Observe,
    onRefused: () => void,
  ) {
    this.#file = file;
    this.#observe = observe;
    this.#onRefused = onRefused;
    const closed = (): void => void this.#count--;
    // Before node:http's own listener, which would begin to read from a connection that is refused.
    server.prependListener("connection", (socket: Socket) => {
      this.#count++;
      socket.on("close", closed);
      if (this.#count > this.#max && !this.#found) this.measure();
      if (this.#count > this.#max) this.#refuse(socket);
    });
    this.measure();
  }

  /** Connections that are open. */
  get count(): number {
    return this.#count;
  }

  /** How many may be open, or Infinity if the limit of descriptors is far away or cannot be found out. */
  get max(): number {
    return this.#found ? this.#max : Infinity;
  }

  /** Whether not even one descriptor is free. */
  get exhausted(): boolean {
    return freeDescriptors(this.#file, 1) === 0;
  }

  /** Looks again for the limit, if it is reached: descriptors may be free that were not, or the other way round. */
  refresh(): void {
    if (this.#found && this.#count >= this.#max) this.measure();
  }

  /** Looks for the limit of descriptors, not farther than `MEASURED_MAX` from where the process is now. */
  measure(): void {
    const free = freeDescriptors(this.#file, MEASURED_MAX);
    if (free === undefined) {
      this.#max = Infinity;
      return;
    }
    this.#reserve ||= Math.floor(
      Math.max(free * RESERVE_PART, Math.min(RESERVE_MIN, free / 2)),
    );
    this.#found = free < MEASURED_MAX;
    this.#max = Math.max(this.#count + free - this.#reserve, 0);
  }

  /** Says whether a connection of the process to itself may come, whose refusal is nothing to report. */
  expectOwn(expected: boolean): void {
    this.#expectsOwn = expected;
  }

  /** Reports no more refusals. */
  close(): void {
    clearTimeout(this.#report);
  }

  #refuse(socket: Socket): void {
    socket.on("close", this.#onRefused);
    socket.destroy();
    if (this.#expectsOwn) {
      this.#expectsOwn = false;
      return;
    }
    this.#refused++;
    this.#report ??= setTimeout(() => {
      this.#observe({
        kind: "connections_refused",
        count: this.#refused,
        connectionsMax: this.#max,
      });
      this.#refused = 0;
      this.#report = undefined;
    }, REPORT_MS);
  }
}
