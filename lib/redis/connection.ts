/**
 * A connection to Redis that reconnects by itself.
 *
 * @module
 */
import { createClient } from "redis";
import type { Observe } from "../observer.ts";
import { backoffMs } from "../util/backoff.ts";
import { deadline, DeadlineError, pause } from "../util/deadline.ts";

/** A client of node-redis, as far as Roomcast uses it. */
export type RedisClient = ReturnType<typeof open>;

/** Longest time for connecting and preparing a client, in ms: a paused Redis accepts TCP and then sends nothing. */
const CONNECT_TIMEOUT_MS = 3000;
/** How often a client pings its server, and how long the reply may take, in ms. */
const PING_INTERVAL_MS = 1000;
const PING_TIMEOUT_MS = 3000;
/** Extra time for a process that was itself suspended, because its timers run before it reads what has arrived. */
const PING_GRACE_MS = 200;
/** Longest pause between two attempts, in ms. */
const BACKOFF_MS_MAX = 1000;
/** A connection that ends within this time, in ms, counts as a failed attempt, at most so many times in a row. */
const STEADY_MS = 1000;
const BRIEF_FAILURES_MAX = 2;

/** What a {@linkcode RedisConnection} needs. */
export interface ConnectionOptions {
  /** `redis://` or `rediss://`. */
  readonly url: string;
  /** The purpose of the connection, as shown in the log and in `CLIENT LIST`. */
  readonly name: string;
  readonly observe: Observe;
  /** Called with each new client before others get it. If it rejects, the client is closed and another attempt made. */
  readonly prepare?: (client: RedisClient) => Promise<void>;
  /** Called when a new client is available. */
  readonly ready?: () => void;
  /** Called when a client that was available is lost. */
  readonly lost?: () => void;
  /** The connections that have to lead to one server; see {@linkcode RedisConnection}. */
  readonly group?: Set<RedisConnection>;
}

/**
 * Keeps one client connected until it is closed.
 *
 * A command either is sent on a live connection or fails at once, and every loss is noticed in one place. The
 * reconnecting of node-redis is switched off for that, because it has no deadline for the handshake and keeps commands
 * in its queue while it lasts.
 *
 * The connections of a `group` lead to one server. If a new client finds another server, for example because an address
 * has moved, the older clients are closed and follow it. Otherwise a node would append to one server and read from the
 * other.
 *
 * Lifetime: connects in the constructor and reconnects until {@linkcode RedisConnection.close} is called.
 */
export class RedisConnection {
  readonly #options: ConnectionOptions;
  readonly #closing = new AbortController();
  readonly #finished: Promise<void>;
  #client: RedisClient | undefined;
  #runId = "";
  #lastError: unknown;
  #connected = Promise.withResolvers<void>();

  /** Starts to connect. */
  constructor(options: ConnectionOptions) {
    this.#options = options;
    options.group?.add(this);
    this.#finished = this.#run();
  }

  /** The live client, or undefined while there is none. */
  get client(): RedisClient | undefined {
    return this.#client;
  }

  /** The run id of the server to which the last live client was connected. */
  get runId(): string {
    return this.#runId;
  }

  /** Why there is no live client, as far as is known. */
  get lastError(): unknown {
    return this.#lastError;
  }

  /** Resolves when there is a live client, or when the connection is closed. */
  get connected(): Promise<void> {
    return this.#connected.promise;
  }

  /** Closes the live client because its server no longer replies. A new one follows. */
  reset(): void {
    this.#client?.destroy();
  }

  /** Closes the connection for good. Commands in flight are rejected. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#options.group?.delete(this);
    this.reset();
    await this.#finished;
    this.#connected.resolve();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    // The first client of a kind compiles about a hundred commands, which takes 50 ms. Its duplicates share them.
    const template = open(this.#options);
    for (let failures = 0; !signal.aborted; failures++) {
      const client = template.duplicate();
      const ended = endOf(client);
      if (await this.#prepare(client, failures)) {
        const livedMs = await this.#serve(client, ended);
        const isSteady = livedMs > STEADY_MS;
        failures = Math.min(failures, isSteady ? 0 : BRIEF_FAILURES_MAX);
      }
      destroy(client);
      await pause(backoffMs(failures, BACKOFF_MS_MAX), signal);
    }
  }

  /** Connects a client and prepares it. Returns whether it can be used. Reports the first of several failures. */
  async #prepare(client: RedisClient, failures: number): Promise<boolean> {
    const { signal } = this.#closing;
    try {
      await deadline(
        client.connect().then(async () => {
          this.#runId = await runIdOf(client);
          await this.#options.prepare?.(client);
        }),
        CONNECT_TIMEOUT_MS,
        "connecting",
      );
      return !signal.aborted;
    } catch (error) {
      this.#lastError = error;
      if (failures === 0 && !signal.aborted) this.#reportLoss(error);
      return false;
    }
  }

  /** Makes a client available until it ends. Returns for how long it was, in ms. */
  async #serve(
    client: RedisClient,
    ended: Promise<unknown>,
  ): Promise<number> {
    const { name, observe, ready, lost } = this.#options;
    const since = performance.now();
    this.#client = client;
    this.#unite();
    ready?.();
    observe({ kind: "redis_connected", connection: name });
    this.#connected.resolve();
    const over = new AbortController();
    const watched = watch(client, over.signal);
    const why = this.#lastError = await ended ?? new Error("closed");
    over.abort();
    this.#client = undefined;
    this.#connected = Promise.withResolvers();
    if (!this.#closing.signal.aborted) {
      this.#reportLoss(why);
      lost?.();
    }
    destroy(client);
    await watched;
    return performance.now() - since;
  }

  /** Closes the other clients of the group that lead to another server than the new one. */
  #unite(): void {
    for (const other of this.#options.group ?? []) {
      if (other.client !== undefined && other.runId !== this.#runId) {
        other.reset();
      }
    }
  }

  #reportLoss(error: unknown): void {
    const { name, observe } = this.#options;
    observe({
      kind: "redis_disconnected",
      connection: name,
      why: reasonOf(error),
    });
  }
}

/** Resolves with the reason, if there is one, when a client has ended. */
function endOf(client: RedisClient): Promise<unknown> {
  return new Promise((resolve) => {
    let why: unknown;
    client.on("error", (error) => {
      why = error;
      // Without reconnecting an error is the end, but node-redis emits `end` only if its socket had been ready.
      resolve(error);
    });
    client.on("end", () => resolve(why));
  });
}

/** @throws {Error} `NOPERM` If the ACL does not permit `INFO`, which alone names the server's run. */
async function runIdOf(client: RedisClient): Promise<string> {
  const info = String(await client.info("server"));
  return /^run_id:(\w+)/m.exec(info)?.[1] ?? "";
}

/**
 * Closes a client whose server no longer replies. A half-open connection reports nothing for up to 15 minutes, and one
 * that only subscribes never does. Any reply counts, even an error.
 */
async function watch(client: RedisClient, signal: AbortSignal): Promise<void> {
  for (;;) {
    await pause(PING_INTERVAL_MS, signal);
    if (signal.aborted) return;
    const replied = client.ping();
    for (const timeoutMs of [PING_TIMEOUT_MS, PING_GRACE_MS]) {
      try {
        await deadline(replied, timeoutMs, "a ping");
        break;
      } catch (error) {
        if (!(error instanceof DeadlineError)) break;
        if (timeoutMs === PING_GRACE_MS) destroy(client);
      }
    }
  }
}

function open({ url, name }: ConnectionOptions) {
  return createClient({
    url,
    name: `roomcast-${name}`,
    RESP: 2,
    disableOfflineQueue: true,
    // Otherwise a server that announces maintenance makes node-redis move the socket to another server, unnoticed.
    maintNotifications: "disabled",
    // Callers limit how long commands take. A timeout per command would cost a timer and an error object for each.
    commandOptions: { timeout: 0 },
    socket: {
      reconnectStrategy: false,
      connectTimeout: CONNECT_TIMEOUT_MS,
      keepAliveInitialDelay: 5000,
    },
  });
}

function destroy(client: RedisClient): void {
  try {
    client.destroy();
  } catch {
    // It is closed already.
  }
}

function reasonOf(error: unknown): string {
  if (error === undefined) return "closed";
  return error instanceof AggregateError
    ? String(error.errors[0])
    : String(error);
}
