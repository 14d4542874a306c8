/**
 * A connection to Redis that comes back by itself.
 *
 * @module
 */
import { createClient } from "redis";
import { backoffMs } from "../util/backoff.ts";
import { deadline, DeadlineError, pause } from "../util/deadline.ts";
import type { Observe } from "../observer.ts";

/** A node-redis client, as far as we use it. */
export type RedisClient = ReturnType<typeof open>;

/** How long connecting, greeting included, may take: a paused Redis accepts TCP and then says nothing. */
const CONNECT_TIMEOUT_MS = 3000;
/** How often a live client is asked whether its peer is still there, and how long the answer may take. */
const PING_INTERVAL_MS = 1000;
const PING_TIMEOUT_MS = 3000;
/** For a process that stood still itself: its timers run before it reads what has come meanwhile. */
const PING_GRACE_MS = 200;
/** Longest pause between two tries; half of it is chance, so that nodes do not come back in step. */
const BACKOFF_MS_MAX = 1000;
/** A connection that lives for less than this long counts as one that failed, so often at most in a row. */
const STEADY_MS = 1000;
const BRIEF_FAILURES = 2;

/** What a {@linkcode RedisConnection} is made of. */
export interface ConnectionOptions {
  /** `redis://` or `rediss://`. */
  readonly url: string;
  /** What it is for, in logs and in `CLIENT LIST`. */
  readonly name: string;
  readonly observe: Observe;
  /** Runs on each new client, before anybody else gets it; a rejection closes the client and tries again. */
  readonly prepare?: (client: RedisClient) => Promise<void>;
  /** Runs when a new client is handed out. */
  readonly ready?: () => void;
  /** Runs when a client that was handed out is lost. */
  readonly lost?: () => void;
  /** Connections that have to be to one server; see {@linkcode RedisConnection}. */
  readonly group?: Set<RedisConnection>;
}

/**
 * Keeps one client connected for as long as it is open. node-redis' own reconnecting is switched off: it has no
 * deadline on the greeting, and commands would wait in its queue while it lasts (notes L8 and R3 are what that does).
 * Here a command either goes out on a live connection or fails at once, and every loss is seen in one place.
 *
 * The connections of a `group` are to one server: if a new one leads to another run of another server, because an
 * address has moved, the older ones are closed and follow it. Otherwise a node would append to one server and read
 * from the other.
 */
export class RedisConnection {
  readonly #options: ConnectionOptions;
  readonly #closing = new AbortController();
  readonly #finished: Promise<void>;
  #client: RedisClient | undefined;
  #runId = "";
  #why: unknown;
  #connected = Promise.withResolvers<void>();

  /** Starts connecting at once, and goes on until {@linkcode RedisConnection.close}. */
  constructor(options: ConnectionOptions) {
    this.#options = options;
    options.group?.add(this);
    this.#finished = this.#run();
  }

  /** The live client, or undefined while there is none. */
  get client(): RedisClient | undefined {
    return this.#client;
  }

  /** Which run of which server the last live client was connected to. */
  get runId(): string {
    return this.#runId;
  }

  /** Why there is no live client, as far as is known. */
  get lastError(): unknown {
    return this.#why;
  }

  /** Resolves once there is a live client, or the connection is closed. */
  get connected(): Promise<void> {
    return this.#connected.promise;
  }

  /** Drops the live client, whose peer no longer answers; a new one follows. */
  reset(): void {
    this.#client?.destroy();
  }

  /** Has the others of the group follow to the server that this one has just found. */
  #unite(): void {
    for (const other of this.#options.group ?? []) {
      if (other.client !== undefined && other.runId !== this.#runId) {
        other.reset();
      }
    }
  }

  /** Ends it for good. Commands under way are rejected. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#options.group?.delete(this);
    this.reset();
    await this.#finished;
    this.#connected.resolve();
  }

  async #run(): Promise<void> {
    const { name, observe, lost } = this.#options;
    const { signal } = this.#closing;
    // Making a client attaches some hundred commands to a new class, which is 50 ms of work; a duplicate shares them.
    const template = open(this.#options);
    for (let failures = 0; !signal.aborted; failures++) {
      const client = template.duplicate();
      const ended = new Promise<unknown>((resolve) => {
        let why: unknown;
        client.on("error", (error) => {
          why = error;
          // Without reconnecting, an error is the end, but node-redis says `end` only when its socket had been ready.
          resolve(error);
        });
        client.on("end", () => resolve(why));
      });
      let prepared = false;
      try {
        await deadline(
          client.connect().then(async () => {
            this.#runId = await runIdOf(client);
            await this.#options.prepare?.(client);
          }),
          CONNECT_TIMEOUT_MS,
          "connecting",
        );
        prepared = !signal.aborted;
      } catch (error) {
        this.#why = error;
        if (failures === 0 && !signal.aborted) {
          observe({
            kind: "redis_disconnected",
            connection: name,
            why: reasonOf(error),
          });
        }
      }
      if (prepared) {
        const since = performance.now();
        this.#client = client;
        this.#unite();
        this.#options.ready?.();
        observe({ kind: "redis_connected", connection: name });
        this.#connected.resolve();
        const over = new AbortController();
        const watched = watch(client, over.signal);
        const why = this.#why = await ended ?? new Error("closed");
        over.abort();
        this.#client = undefined;
        this.#connected = Promise.withResolvers();
        if (!signal.aborted) {
          observe({
            kind: "redis_disconnected",
            connection: name,
            why: reasonOf(why),
          });
          lost?.();
        }
        destroy(client);
        await watched;
        const steady = performance.now() - since > STEADY_MS;
        failures = Math.min(failures, steady ? 0 : BRIEF_FAILURES);
      }
      destroy(client);
      await pause(
        backoffMs(failures, BACKOFF_MS_MAX),
        signal,
      );
    }
  }
}

/** @throws {Error} `NOPERM` if the ACL does not permit `INFO`: what the node needs to know is there only */
async function runIdOf(client: RedisClient): Promise<string> {
  const info = String(await client.info("server"));
  return /^run_id:(\w+)/m.exec(info)?.[1] ?? "";
}

/**
 * Drops a client whose peer has gone silent: a half-open connection reports nothing for up to a quarter of an hour, and
 * one that only subscribes reports nothing ever. Any answer will do, a refusal too.
 */
async function watch(client: RedisClient, signal: AbortSignal): Promise<void> {
  for (;;) {
    await pause(PING_INTERVAL_MS, signal);
    if (signal.aborted) return;
    const answered = client.ping();
    for (const timeoutMs of [PING_TIMEOUT_MS, PING_GRACE_MS]) {
      try {
        await deadline(answered, timeoutMs, "a ping");
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
    // A hand-over announced by the server would move the socket without a word to us (notes, socketio.md §3.4).
    maintNotifications: "disabled",
    // What waits here is bounded by us; a bound on each command is a timer and an error with its stack for each.
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
    // It was closed already: what was wanted.
  }
}

function reasonOf(error: unknown): string {
  if (error === undefined) return "closed";
  return error instanceof AggregateError
    ? String(error.errors[0])
    : String(error);
}
