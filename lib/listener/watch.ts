/**
 * Watches whether this process still accepts connections, and opens its listener again if it does not.
 *
 * In Deno 2.9.6 one `accept()` that fails, as it does when no file descriptor is free, ends the accepting for good:
 * nothing is logged, the kernel goes on completing handshakes, and clients that are connected notice nothing. So the
 * process connects to itself, and expects to see a connection accepted. See `docs/decisions/0012-watched-listener.md`.
 *
 * Depends on one private part of Deno 2.9.6, `server._handle.listen`; without it the listener is reopened.
 *
 * @module
 */
import { type AddressInfo, connect, Server } from "node:net";
import { setImmediate } from "node:timers";
import { ConnectionLimit } from "./connection_limit.ts";
import { isExhausted } from "./descriptors.ts";
import type { Observe } from "../observer.ts";

/** Pause between checks. With the time a check may take, a dead listener is found within 3.1 s. */
const INTERVAL_MS = 2000;
/** How long a connection to itself may wait to be accepted. */
const ACCEPT_TIMEOUT_MS = 1000;
/** One more turn of the event loop: after a standstill timers are due before anything is accepted. */
const GRACE_MS = 50;
/** Attempts to listen again on the same port, and the pause between them. */
const REOPEN_TRIES = 5;
const REOPEN_PAUSE_MS = 200;
/** As node:net sets it by default. */
const BACKLOG = 511;
/** Addresses that mean all of a machine's, and how the machine reaches itself. */
const LOOPBACK: Readonly<Record<string, string>> = {
  "0.0.0.0": "127.0.0.1",
  "::": "::1",
};

/** What a check came to: `dead` if nothing was accepted, `full` if no descriptor is free, otherwise why none is known. */
type Verdict = "accepting" | "dead" | "full" | { readonly why: string };

/** What {@linkcode ListenerWatch} is made of. */
export interface ListenerOptions {
  /** Does not listen yet. */
  readonly server: Server;
  /** Makes the server listen on a port; rejects if it cannot. Called again if the listener has to be reopened. */
  readonly listen: (port: number) => Promise<AddressInfo>;
  /** A file that can be read: it is opened to count descriptors. */
  readonly file: URL;
  /** Called once if the listener is dead and cannot be reopened: the process is to end, and to be started again. */
  readonly onLost: () => void;
  readonly observe: Observe;
}

/**
 * Opens a server's listener, limits its connections and watches over it.
 *
 * Lifetime: checks begin at {@linkcode ListenerWatch.open} and end at {@linkcode ListenerWatch.close}.
 */
export class ListenerWatch {
  /** Counts the connections. */
  readonly connections: ConnectionLimit;
  readonly #options: ListenerOptions;
  #address: AddressInfo | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #rearming: ReturnType<typeof setImmediate> | undefined;
  #closed = false;
  /** Called when a connection is accepted, while a check waits for one. */
  #onAccepted: (() => void) | undefined;
  /** Ends a check that waits. */
  #endCheck: (() => void) | undefined;
  /** Whether a check has ever succeeded: before that, silence may be a firewall's. */
  #proven = false;
  /** Whether it has been reported that checks tell nothing. */
  #blind = false;
  #failing: { readonly since: number } | undefined;

  /** Begins to count connections; opens nothing yet. */
  constructor(options: ListenerOptions) {
    const { server, file, observe } = options;
    this.#options = options;
    this.connections = new ConnectionLimit(
      server,
      file,
      observe,
      () => this.#rearmSoon(),
    );
    server.on("connection", () => this.#onAccepted?.());
  }

  /** Whether connections are accepted, as far as is known. */
  get accepting(): boolean {
    return this.#failing === undefined;
  }

  /** Begins to listen and to watch. Rejects if the address cannot be had. */
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

  /** Stops watching; the listener stays as it is. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#endCheck?.();
    this.connections.close();
  }

  /**
   * Connections were refused: if so many came in one turn of the event loop that all descriptors were in use, that has
   * ended the accepting, and this revives it. Otherwise it does nothing.
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
      this.connections.refresh();
      // It throws if the process lacks the permission to connect to itself.
      const verdict = await this.#check().catch((error) => ({
        why: codeOf(error),
      }));
      if (!this.#closed) await this.#judge(verdict);
    } catch (error) {
      this.#options.observe({ kind: "error", where: "the listener", error });
    }
    this.#schedule(INTERVAL_MS);
  }

  async #judge(verdict: Verdict): Promise<void> {
    const { observe } = this.#options;
    if (verdict === "accepting") {
      this.#blind = false;
      return this.#recovered("nothing");
    }
    if (verdict === "full") {
      if (this.#failing === undefined) observe({ kind: "listener_full" });
      this.#failing ??= { since: performance.now() };
      return this.connections.measure();
    }
    if (verdict === "dead" && this.#proven) return await this.#mend();
    if (this.#blind) return;
    this.#blind = true;
    const why = verdict === "dead" ? "nothing is accepted" : verdict.why;
    observe({ kind: "listener_unwatched", why });
  }

  /** Revives a dead listener, by the gentler means first. */
  async #mend(): Promise<void> {
    const { server, observe, onLost } = this.#options;
    observe({ kind: "listener_failed" });
    this.#failing ??= { since: performance.now() };
    this.connections.measure();
    const means = [
      ["rearmed", () => rearm(server)],
      ["reopened", () => this.#reopen()],
    ] as const;
    for (const [how, mend] of means) {
      if (!await mend()) continue;
      const verdict = await this.#check();
      if (this.#closed) return;
      if (verdict === "accepting") return this.#recovered(how);
      // Not to be known now: the next check tells.
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
   * Closes the listener and opens it on the same port; connections stay. Those that the kernel has queued are reset,
   * and their clients connect again.
   */
  async #reopen(): Promise<boolean> {
    const { server, listen } = this.#options;
    const { port = 0 } = this.#address ?? {};
    // Not as node:http closes it: that would end idle connections as well.
    Server.prototype.close.call(server);
    for (let tries = 1; !this.#closed; tries++) {
      try {
        await listen(port);
        return true;
      } catch {
        // The server's listener for errors has reported it.
        if (tries === REOPEN_TRIES) return false;
      }
      await new Promise((resolve) => setTimeout(resolve, REOPEN_PAUSE_MS));
    }
    return false;
  }

  /**
   * Connects to itself. That the connection opens proves nothing, because the kernel completes the handshake by itself:
   * what counts is that the server sees a connection, whosever it is.
   */
  async #check(): Promise<Verdict> {
    const { address = "", port = 0 } = this.#address ?? {};
    let connected = false, accepted = false;
    const socket = connect({ host: LOOPBACK[address] ?? address, port });
    let timer: ReturnType<typeof setTimeout> | undefined;
    this.connections.expectOwn(true);
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
    this.connections.expectOwn(false);
    this.#proven ||= connected && accepted;
    try {
      if (accepted) return "accepting";
      if (isExhausted({ code: error })) return "full";
      if (error !== undefined && error !== "ECONNREFUSED") {
        return { why: error };
      }
      // Not earlier: the descriptor of this connection is one that accepting it would not have either.
      return this.connections.exhausted ? "full" : "dead";
    } finally {
      socket.destroy();
    }
  }
}

function codeOf(error: Error & { code?: string }): string {
  return error.code ?? error.message;
}

/**
 * Has Deno look at the listening socket again: to listen anew on one that listens already changes nothing but that.
 * Unlike reopening it keeps the connections that the kernel has queued. Returns false if that cannot be done.
 */
function rearm(server: Server): boolean {
  const { _handle: handle } = server as unknown as {
    _handle: { listen?(this: unknown, backlog: number): number } | null;
  };
  const { listen } = handle ?? {};
  return listen !== undefined && listen.call(handle, BACKLOG) === 0;
}
