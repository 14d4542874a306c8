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

/**
 * Maximum number of free file descriptors that are counted. Counting this many takes 4 ms, and 25 ms the first time.
 */
const MEASURED_MAX = 1024;
/**
 * Share of the file descriptors that are free when the process starts, which is reserved for other purposes than
 * connections of clients.
 */
const RESERVE_PART = 1 / 8;
/**
 * Minimum number of reserved descriptors: four to reconnect to Redis, two for a connection of the process to itself,
 * the rest for files and name look-ups. If fewer than 48 descriptors are free, half of them are reserved instead.
 */
const RESERVE_MIN = 24;
/** Refused connections are reported together, as one number, after this time, in ms. */
const REPORT_MS = 1000;

/** What a {@linkcode ConnectionLimit} needs to know about one of its servers. */
export interface LimitedServer {
  /** Called for each refused connection when its descriptor is free again. */
  readonly onRefused: () => void;
  /**
   * Returns whether this process is connecting to itself, to test the server. The connection that is refused is then its
   * own and is not reported. Returns `true` once for each test.
   */
  readonly takeOwn: () => boolean;
  /**
   * Whether the server may use half of the reserved descriptors, so that operators and backends still reach the process
   * if clients have used up all others.
   */
  readonly usesReserve: boolean;
}

/**
 * Counts the connections of all servers of the process together, because they share its file descriptors. If no
 * descriptor is left for a new connection, refuses the connection: it is accepted and closed at once. Refuses no
 * connection if more than {@linkcode MEASURED_MAX} descriptors are free, or if their number cannot be determined.
 *
 * Lifetime: as long as the servers. Call `close()` to stop reporting refused connections.
 */
export class ConnectionLimit {
  readonly #file: URL;
  readonly #observe: Observe;
  #count = 0;
  /**
   * The number of connections that may be open. If `#found` is `false`, the true limit may be higher; the limit is then
   * measured again when this number is reached.
   */
  #max = 0;
  #found = false;
  #reserve = 0;
  #refused = 0;
  #report: ReturnType<typeof setTimeout> | undefined;

  /**
   * Creates a limit for servers that do not listen yet.
   *
   * @param file A readable file, which is opened many times to count the free descriptors.
   */
  constructor(file: URL, observe: Observe) {
    this.#file = file;
    this.#observe = observe;
    this.measure();
  }

  /** Counts and limits the connections of a server from now on. The server must not listen yet. */
  watch(server: Server, limited: LimitedServer): void {
    const closed = (): void => void this.#count--;
    // This listener has to run before the listener of node:http, which would start to read from a refused connection.
    server.prependListener("connection", (socket: Socket) => {
      this.#count++;
      socket.on("close", closed);
      if (this.#count > this.#max && !this.#found) this.measure();
      const more = limited.usesReserve ? Math.floor(this.#reserve / 2) : 0;
      if (this.#count > this.#max + more) this.#refuse(socket, limited);
    });
  }

  /** The number of open connections. */
  get count(): number {
    return this.#count;
  }

  /**
   * The number of connections that may be open. Infinity if the limit is too high to be counted, or cannot be
   * determined.
   */
  get max(): number {
    return this.#found ? this.#max : Infinity;
  }

  /** Whether the process has no free file descriptor. */
  get exhausted(): boolean {
    return freeDescriptors(this.#file, 1) === 0;
  }

  /**
   * Measures the limit again if it is reached, because other parts of the process may have opened or closed files since
   * the last measurement.
   */
  refresh(): void {
    if (this.#found && this.#count >= this.#max) this.measure();
  }

  /** Counts the free descriptors, up to {@linkcode MEASURED_MAX}, and computes how many connections may be open. */
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

  /** Stops reporting refused connections. */
  close(): void {
    clearTimeout(this.#report);
  }

  #refuse(socket: Socket, { onRefused, takeOwn }: LimitedServer): void {
    socket.on("close", onRefused);
    socket.destroy();
    if (takeOwn()) return;
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
