/**
 * Watches whether this process still accepts connections, and repairs its listener if it does not.
 *
 * In Deno 2.9.6, if `accept()` fails once, for example because no file descriptor is free, the process never accepts a
 * connection again. The failure is hard to see: nothing is logged, the kernel still completes handshakes, and connected
 * clients are not affected. Therefore the process regularly connects to itself and checks that a connection is
 * accepted. See `docs/decisions/0012-watched-listener.md`.
 *
 * Depends on one private part of Deno 2.9.6, `server._handle.listen`. `tests/e2e/listener_test.ts` fails if this part
 * changes. Without it, a failed listener is closed and opened again.
 *
 * @module
 */
import { type AddressInfo, Server } from "node:net";
import { setImmediate } from "node:timers";
import type { ConnectionLimit } from "./connection_limit.ts";
import { isExhausted } from "./descriptors.ts";
import type { Observe } from "../observer.ts";
import { pause } from "../util/deadline.ts";
import { connectToSelf } from "./own_connection.ts";

/** Default pause between checks, in ms. With this pause, a dead listener is found within 3.1 s. */
const INTERVAL_MS = 2000;
/** How long the process may take to accept a connection from itself, in ms. */
const ACCEPT_TIMEOUT_MS = 1000;
/**
 * Time that each check waits in addition to its timeout, in ms, so that the event loop gets one more turn. If the loop
 * was blocked for long, timers run before the waiting connections are accepted.
 */
const GRACE_MS = 50;
/** Maximum number of attempts to listen again on the same port. */
const REOPEN_TRIES = 5;
/** Pause between two attempts to listen again on the same port, in ms. */
const REOPEN_PAUSE_MS = 200;
/** Maximum length of the queue of connections that are not accepted yet. The value is the default of node:net. */
const BACKLOG = 511;
/**
 * Result of a check. `dead`: no connection was accepted. `full`: no file descriptor is free. An object: the check
 * itself failed, for the reason `why`.
 */
type Verdict = "accepting" | "dead" | "full" | { readonly why: string };

/** Options of {@linkcode ListenerWatch}. */
export interface ListenerOptions {
  /** The server to watch, which must not listen yet. */
  readonly server: Server;
  /**
   * Makes the server listen on `port`; rejects if that fails. Called when the listener is opened for the first time,
   * and whenever it has to be reopened.
   */
  readonly listen: (port: number) => Promise<AddressInfo>;
  /** Counts and limits the connections of all servers of the process. */
  readonly connections: ConnectionLimit;
  /** Whether the server may use half of the reserved file descriptors; `false` if not given. */
  readonly usesReserve?: boolean;
  /** Called once if the listener is dead and cannot be reopened. The process should then exit and be restarted. */
  readonly onLost: () => void;
  readonly observe: Observe;
  /** Pause between checks, in ms; 2,000 if not given. */
  readonly intervalMs?: number;
}

/**
 * Opens the listener of a server, limits the server's connections, and repairs the listener if it fails.
 *
 * Lifetime: checks start in {@linkcode ListenerWatch.open} and end in {@linkcode ListenerWatch.close}.
 */
export class ListenerWatch {
  readonly #connections: ConnectionLimit;
  readonly #options: ListenerOptions;
  /** The address on which the server listens, from {@linkcode ListenerWatch.open} on. */
  #address: AddressInfo = { address: "", family: "", port: 0 };
  #timer: ReturnType<typeof setTimeout> | undefined;
  #rearming: ReturnType<typeof setImmediate> | undefined;
  #closed = false;
  /** Called when a connection is accepted, while a check waits for one. */
  #onAccepted: (() => void) | undefined;
  /** Whether this process is about to connect to itself. */
  #expectsOwn = false;
  /** Ends the check that is running; undefined if no check is running. */
  #endCheck: (() => void) | undefined;
  /**
   * Whether a check has ever succeeded. Until then, a firewall may be the reason why the process cannot connect to
   * itself.
   */
  #hasSucceeded = false;
  /** Whether `listener_unwatched` has been reported since the last successful check. */
  #reportedUnwatched = false;
  #failing: { readonly since: number } | undefined;

  /** Starts to count connections. Does not open the listener. */
  constructor(options: ListenerOptions) {
    const { server, connections, usesReserve = false } = options;
    this.#options = options;
    this.#connections = connections;
    connections.watch(server, {
      onRefused: () => this.#rearmSoon(),
      takeOwn: () => {
        const isOwn = this.#expectsOwn;
        this.#expectsOwn = false;
        return isOwn;
      },
      usesReserve,
    });
    server.on("connection", () => this.#onAccepted?.());
  }

  /** Whether the last check of the listener found no failure. */
  get accepting(): boolean {
    return this.#failing === undefined;
  }

  /** Opens the listener on `port` and starts the checks. Rejects if the server cannot listen on its address. */
  async open(port: number): Promise<AddressInfo> {
    const { server, listen, observe } = this.#options;
    const address = await listen(port);
    this.#address = address;
    // Without a listener for it, an error of the server would end the process.
    server.on("error", (error) => {
      observe({ kind: "error", where: "the listener", error });
    });
    this.#schedule(0);
    return address;
  }

  /** Stops the checks. The listener stays open. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#endCheck?.();
  }

  /**
   * Calls {@linkcode rearm} in the next turn of the event loop, after connections were refused. The refused connections
   * may have used all descriptors within one turn of the event loop. If so, `accept()` has failed, and no connection
   * would be accepted any more. Otherwise `rearm()` has no effect.
   */
  #rearmSoon(): void {
    this.#rearming ??= setImmediate(() => {
      this.#rearming = undefined;
      rearm(this.#options.server);
    });
  }

  #schedule(ms: number): void {
    if (!this.#closed) this.#timer = setTimeout(() => void this.#tick(), ms);
  }

  async #tick(): Promise<void> {
    try {
      this.#connections.refresh();
      const verdict = await this.#check();
      if (!this.#closed) await this.#judge(verdict);
    } catch (error) {
      this.#options.observe({ kind: "error", where: "the listener", error });
    }
    this.#schedule(this.#options.intervalMs ?? INTERVAL_MS);
  }

  async #judge(verdict: Verdict): Promise<void> {
    const { observe } = this.#options;
    if (verdict === "accepting") {
      this.#reportedUnwatched = false;
      return this.#recovered("nothing");
    }
    if (verdict === "full") {
      if (this.#failing === undefined) observe({ kind: "listener_full" });
      this.#failing ??= { since: performance.now() };
      return this.#connections.measure();
    }
    if (verdict === "dead" && this.#hasSucceeded) return await this.#mend();
    if (this.#reportedUnwatched) return;
    this.#reportedUnwatched = true;
    const why = verdict === "dead" ? "nothing is accepted" : verdict.why;
    observe({ kind: "listener_unwatched", why });
  }

  /**
   * Repairs a dead listener. First calls {@linkcode rearm}, which keeps the connections in the listener's queue, and if
   * that does not help, opens the listener again.
   */
  async #mend(): Promise<void> {
    const { server, observe, onLost } = this.#options;
    observe({ kind: "listener_failed" });
    this.#failing ??= { since: performance.now() };
    this.#connections.measure();
    const means = [
      ["rearmed", () => rearm(server)],
      ["reopened", () => this.#reopen()],
    ] as const;
    for (const [how, mend] of means) {
      if (!await mend()) continue;
      const verdict = await this.#check();
      if (this.#closed) return;
      if (verdict === "accepting") return this.#recovered(how);
      // It is not known whether the repair has succeeded. The next check decides.
      if (verdict !== "dead") return;
    }
    observe({ kind: "listener_lost" });
    this.close();
    onLost();
  }

  #recovered(how: "nothing" | "rearmed" | "reopened"): void {
    if (this.#failing === undefined) return;
    const durationMs = Math.round(performance.now() - this.#failing.since);
    this.#failing = undefined;
    this.#options.observe({ kind: "listener_recovered", how, durationMs });
  }

  /**
   * Closes the listener and opens it again on the same port. Accepted connections stay open. The kernel resets the
   * connections in its queue, and their clients connect again. Resolves to whether the server listens again.
   */
  async #reopen(): Promise<boolean> {
    const { server, listen } = this.#options;
    const { port } = this.#address;
    // `close()` of node:http is not used, because it would close idle connections as well.
    Server.prototype.close.call(server);
    for (let tries = 1; !this.#closed; tries++) {
      try {
        await listen(port);
        return true;
      } catch {
        // The `error` listener of the server has already reported this error.
        if (tries === REOPEN_TRIES) return false;
      }
      await pause(REOPEN_PAUSE_MS);
    }
    return false;
  }

  /**
   * Connects to this process and waits until the server accepts this or another connection. An open connection alone
   * does not prove that the server accepts connections, because the kernel completes the handshake without the process.
   */
  async #check(): Promise<Verdict> {
    let connected = false, accepted = false;
    const socket = connectToSelf(this.#address);
    let timer: ReturnType<typeof setTimeout> | undefined;
    this.#expectsOwn = true;
    const error = await new Promise<string | undefined>((resolve) => {
      const succeed = (): void => {
        if (connected && accepted) resolve(undefined);
      };
      this.#onAccepted = () => {
        accepted = true;
        succeed();
      };
      socket.on("connect", () => {
        connected = true;
        succeed();
      });
      socket.on("error", (error) => resolve(codeOf(error)));
      this.#endCheck = () => resolve(undefined);
      timer = setTimeout(() => {
        timer = setTimeout(() => resolve(undefined), GRACE_MS);
      }, ACCEPT_TIMEOUT_MS);
    });
    clearTimeout(timer);
    this.#onAccepted = this.#endCheck = undefined;
    this.#expectsOwn = false;
    this.#hasSucceeded ||= connected && accepted;
    try {
      if (accepted) return "accepting";
      if (isExhausted({ code: error })) return "full";
      if (error !== undefined && error !== "ECONNREFUSED") {
        return { why: error };
      }
      // Free descriptors are counted while this connection is open, because the process needs a free descriptor to
      // accept it.
      return this.#connections.exhausted ? "full" : "dead";
    } finally {
      socket.destroy();
    }
  }
}

function codeOf(error: Error & { code?: string }): string {
  return error.code ?? error.message;
}

/**
 * Makes Deno accept connections again, by calling `listen()` on the socket that already listens. That has no other
 * effect and, unlike reopening, keeps the connections in the kernel's queue. Returns `false` if that fails or if the
 * private part of Deno is missing.
 */
function rearm(server: Server): boolean {
  const { _handle: handle } = server as unknown as {
    _handle: { listen?(this: unknown, backlog: number): number } | null;
  };
  const { listen } = handle ?? {};
  return listen !== undefined && listen.call(handle, BACKLOG) === 0;
}
