/**
 * A connection to Redis that reconnects automatically.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { Observe } from "../observer.ts";
import { needed } from "../util/needed.ts";
import { backoffMs } from "../util/backoff.ts";
import { deadline, DeadlineError, pause } from "../util/deadline.ts";
import { ConnectionGroup } from "./group.ts";

/** A Redis client: an object of the node-redis package, with the options that {@linkcode RedisConnection} sets. */
export type RedisClient = Awaited<ReturnType<typeof open>>;

/**
 * Maximum time for connecting and preparing a Redis client, in ms. Without this limit, the attempt would never end if
 * Redis is paused, because its kernel still accepts TCP connections.
 */
const CONNECT_TIMEOUT_MS = 3000;
/** Interval between two pings to the Redis server, in ms. */
const PING_INTERVAL_MS = 1000;
/** Maximum time until the reply to a ping, in ms. */
const PING_TIMEOUT_MS = 3000;
/**
 * Additional time for the reply to a ping, in ms. If the process was suspended, its timers run first, and the replies
 * that have arrived are read only afterwards.
 */
const PING_GRACE_MS = 200;
/** The oldest major version of Redis that has what the scripts of the log use, such as `XSETID` with `ENTRIESADDED`. */
const REDIS_MAJOR_MIN = 7;
/** Maximum pause between two attempts to connect, in ms. */
const BACKOFF_MS_MAX = 1000;
/**
 * Duration in ms from which a connection counts as successful. A shorter connection counts as a failed attempt to
 * connect.
 */
const STEADY_MS = 1000;
/**
 * Maximum number of failures in a row that are counted after a short connection, so that the next pause stays short.
 */
const BRIEF_FAILURES_MAX = 2;

/** Options of {@linkcode RedisConnection}. */
export interface ConnectionOptions {
  /** `redis://` or `rediss://`. */
  readonly url: string;
  /** The purpose of the connection, as shown in log lines and in Redis' `CLIENT LIST`. */
  readonly name: string;
  readonly observe: Observe;
  /**
   * Called with each new Redis client before {@linkcode RedisConnection.client} returns the client. If the promise
   * rejects, the Redis client is closed and a new one is connected.
   */
  readonly prepare?: (client: RedisClient) => Promise<void>;
  /** Called when {@linkcode RedisConnection.client} returns a new Redis client. */
  readonly ready?: () => void;
  /** Called when the connection of the Redis client that {@linkcode RedisConnection.client} returned has ended. */
  readonly lost?: () => void;
  /**
   * The group that this connection joins; all connections of a group have to lead to the same Redis server. If absent,
   * the connection gets a group of its own.
   */
  readonly group?: ConnectionGroup;
}

/**
 * Keeps one Redis client connected until {@linkcode RedisConnection.close} is called.
 *
 * Commands are never queued: without a connected client, callers fail at once. The automatic reconnecting of node-redis
 * is switched off, because node-redis queues commands while it reconnects and has no deadline for the handshake.
 *
 * Lifetime: connects in the constructor and reconnects until {@linkcode RedisConnection.close} is called.
 */
export class RedisConnection {
  readonly #options: ConnectionOptions;
  readonly #group: ConnectionGroup;
  readonly #closing = new AbortController();
  readonly #finished: Promise<void>;
  #client: RedisClient | undefined;
  #runId = "";
  #lastError: unknown;
  #connected = Promise.withResolvers<void>();

  /** Starts to connect. {@linkcode RedisConnection.connected} resolves when a Redis client is connected. */
  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#group = options.group ?? new ConnectionGroup(options.observe);
    this.#group.add(this);
    this.#finished = this.#run();
  }

  /** The purpose of the connection, as shown in log lines and in Redis' `CLIENT LIST`. */
  get name(): string {
    return this.#options.name;
  }

  /** The connected Redis client; undefined while there is none. */
  get client(): RedisClient | undefined {
    return this.#client;
  }

  /** The `run_id` of the Redis server to which the current Redis client, or the last one, was connected. */
  get runId(): string {
    return this.#runId;
  }

  /** The error that ended the last Redis client or the last attempt to connect; undefined if there was no error. */
  get lastError(): unknown {
    return this.#lastError;
  }

  /** Resolves when there is a connected Redis client, or when {@linkcode RedisConnection.close} is done. */
  get connected(): Promise<void> {
    return this.#connected.promise;
  }

  /**
   * Closes the current Redis client, for example because its server no longer replies. A new Redis client is then
   * connected.
   */
  reset(): void {
    this.#client?.destroy();
  }

  /** Closes the connection permanently. Commands in flight are rejected. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#group.delete(this);
    this.reset();
    await this.#finished;
    this.#connected.resolve();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const first = await open(this.#options);
    for (let failures = 0; !signal.aborted; failures++) {
      const client = first.duplicate();
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

  /** Connects and prepares a Redis client. Resolves to whether the Redis client can be used. */
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
      if (!signal.aborted) this.#reportLoss(error, failures);
      return false;
    }
  }

  /**
   * Makes a Redis client available until its connection ends. Resolves to how long the Redis client was available, in
   * ms.
   */
  async #serve(
    client: RedisClient,
    ended: Promise<unknown>,
  ): Promise<number> {
    const { ready, lost } = this.#options;
    const since = performance.now();
    this.#client = client;
    ready?.();
    this.#group.connected(this);
    this.#connected.resolve();
    const over = new AbortController();
    const watched = watch(client, over.signal);
    const why = this.#lastError = await ended ?? new Error("closed");
    over.abort();
    this.#client = undefined;
    this.#connected = Promise.withResolvers();
    if (!this.#closing.signal.aborted) {
      this.#reportLoss(why, 0);
      lost?.();
    }
    destroy(client);
    await watched;
    return performance.now() - since;
  }

  /**
   * Reports a failure to the group, and a lost connection to the observer if `failuresBefore`, the number of failures
   * directly before this one, is 0.
   */
  #reportLoss(error: unknown, failuresBefore: number): void {
    const { name, observe } = this.#options;
    if (failuresBefore === 0) {
      observe({ kind: "redis_connection_lost", connection: name });
    }
    this.#group.failed(reasonOf(error));
  }
}

/** Resolves when the connection of a Redis client has ended: to the error that ended it, or to undefined. */
function endOf(client: RedisClient): Promise<unknown> {
  return new Promise((resolve) => {
    let why: unknown;
    client.on("error", (error) => {
      why = error;
      // Reconnecting is off, so every error ends the client. node-redis emits `end` only if the socket had been ready.
      resolve(error);
    });
    client.on("end", () => resolve(why));
  });
}

/**
 * Returns the run id of the server to which a Redis client is connected.
 *
 * @throws {ApiError} `log_failed` if the server is too old.
 * @throws {Error} `NOPERM` if the ACL does not permit `INFO`, because no other command returns the run id.
 */
async function runIdOf(client: RedisClient): Promise<string> {
  const info = String(await client.info("server"));
  const [, version, major] = /^redis_version:((\d+)\S*)/m.exec(info) ?? [];
  if (Number(major) < REDIS_MAJOR_MIN) {
    throw new ApiError(
      "log_failed",
      `Cannot use Redis ${version}: it is older than ${REDIS_MAJOR_MIN}.0; upgrade Redis to ${REDIS_MAJOR_MIN}.0 or newer`,
    );
  }
  return /^run_id:(\w+)/m.exec(info)?.[1] ?? "";
}

/**
 * Pings the server until `signal` is aborted, and closes the Redis client if no reply arrives in time. Even an error
 * counts as a reply. Without pings, a half-open connection would be noticed only after up to 15 minutes, or never if
 * the connection only subscribes.
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

/**
 * A Redis client that never connects. All other Redis clients are made as its duplicates; {@linkcode createTemplate}
 * explains why.
 */
let template: ReturnType<typeof createTemplate> | undefined;

async function open({ url, name }: ConnectionOptions) {
  template ??= createTemplate();
  return (await template).duplicate({
    url,
    name: `roomcast-${name}`,
    socket: {
      reconnectStrategy: false,
      connectTimeout: CONNECT_TIMEOUT_MS,
      keepAliveInitialDelay: 5000,
    },
  });
}

/**
 * Loads node-redis, which a node with the embedded log does not need, and creates the first Redis client. node-redis
 * then compiles hundreds of commands, which takes 50 ms and 24 MB. Each new Redis client with other options, for
 * example another name, would repeat that; a duplicate does not.
 */
async function createTemplate() {
  const { createClient } = await needed(
    "@redis/client",
    import("@redis/client"),
  );
  return createClient({
    RESP: 2,
    disableOfflineQueue: true,
    // Otherwise, if a server announces maintenance, node-redis moves the socket to another server without an event.
    maintNotifications: "disabled",
    // No timeout here, because callers limit the duration of commands, and a timeout would cost a timer and an error
    // object for each command.
    commandOptions: { timeout: 0 },
  });
}

function destroy(client: RedisClient): void {
  try {
    client.destroy();
  } catch {
    // The client is closed already.
  }
}

function reasonOf(error: unknown): string {
  if (error === undefined) return "closed";
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error ? first.message : String(first);
}
