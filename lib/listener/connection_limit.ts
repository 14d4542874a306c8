/**
 * Refuses connections before they use up the file descriptors of the process.
 *
 * Without a free descriptor the process can neither connect to Redis, nor open a file, nor look up a name. In Deno
 * 2.9.6 the listener itself also stops working (`docs/decisions/0012-watched-listener.md`).
 *
 * @module
 */
import type { Server, Socket } from "node:net";
import { freeDescriptors } from "./descriptors.ts";
import type { Observe } from "../observer.ts";

/** Maximum number of free descriptors that are counted. Counting that many takes 4 ms, and 25 ms at start. */
const MEASURED_MAX = 1024;
/** The part of the free descriptors that is reserved at start for everything except connections of clients. */
const RESERVE_PART = 1 / 8;
/**
 * Minimum number of reserved descriptors: for reconnecting to Redis (four), for a connection of the process to itself
 * (two), for files and for name look-ups. If fewer than twice as many are free, half of the free ones are reserved.
 */
const RESERVE_MIN = 24;
/** Interval at which refusals are reported as one number, in ms. */
const REPORT_MS = 1000;

/**
 * Counts the connections of a server. If no descriptors are left for a connection, accepts it and closes it at once.
 * Refuses no connection if the limit of descriptors is more than `MEASURED_MAX` away or cannot be determined.
 *
 * Lifetime: as long as its server. Call `close()` to stop reporting.
 */
export class ConnectionLimit {
  readonly #file: URL;
  readonly #observe: Observe;
  readonly #onRefused: () => void;
  #count = 0;
  /**
   * The number of connections that may be open. Unless `#found` is set, this is a lower estimate: the limit is measured
   * again when it is reached.
   */
  #max = 0;
  #found = false;
  #reserve = 0;
  #refused = 0;
  #report: ReturnType<typeof setTimeout> | undefined;
  #expectsOwn = false;

  /**
   * Starts counting the connections of `server`, which must not listen yet. Opens `file` to count descriptors. Calls
   * `onRefused` for each refused connection once its descriptor is free again.
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
    // This listener has to run before the one of node:http, which would start to read from a refused connection.
    server.prependListener("connection", (socket: Socket) => {
      this.#count++;
      socket.on("close", closed);
      if (this.#count > this.#max && !this.#found) this.measure();
      if (this.#count > this.#max) this.#refuse(socket);
    });
    this.measure();
  }

  /** The number of open connections. */
  get count(): number {
    return this.#count;
  }

  /**
   * The number of connections that may be open; Infinity if the limit is more than `MEASURED_MAX` away or cannot be
   * determined.
   */
  get max(): number {
    return this.#found ? this.#max : Infinity;
  }

  /** Whether no descriptor is free. */
  get exhausted(): boolean {
    return freeDescriptors(this.#file, 1) === 0;
  }

  /** Measures the limit again if it is reached, because other parts of the process may have opened or closed files. */
  refresh(): void {
    if (this.#found && this.#count >= this.#max) this.measure();
  }

  /** Measures the limit of descriptors, if it is at most `MEASURED_MAX` descriptors away. */
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

  /** Sets whether the process is connecting to itself. If that connection is refused, the refusal is not reported. */
  expectOwn(expected: boolean): void {
    this.#expectsOwn = expected;
  }

  /** Stops reporting. */
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
