/**
 * The log on Redis: one stream that every node reads, one a room for its history.
 *
 * @module
 */
import { Appender } from "./appender.ts";
import { CHECK } from "./check_script.ts";
import { deadline, pause } from "../util/deadline.ts";
import { ApiError } from "../errors.ts";
import { containsId } from "./lookup.ts";
import { CLEAR, HISTORY_SCRIPTS } from "./history_scripts.ts";
import { readHistory } from "./history.ts";
import { type HeadState, LogHead } from "../log/head.ts";
import { type Keys, keysOf } from "../redis/keys.ts";
import type {
  Gaps,
  History,
  HistoryRange,
  Log,
  LogReader,
  Page,
  PublishResult,
} from "../log/log.ts";
import { RedisLogReader } from "./reader.ts";
import type { PublishRequest } from "../log/message.ts";
import type { Observe } from "../observer.ts";
import { type RedisClient, RedisConnection } from "../redis/connection.ts";
import { toLogError } from "../redis/errors.ts";
import { loadScripts, runScript, type Script } from "../redis/script.ts";
import { LOG_LENGTH, LOG_SCRIPTS } from "./append_scripts.ts";
import { Witness } from "./witness.ts";

/** How long a probe may take: `/readyz` answers within 300 ms whatever is broken. */
const PROBE_TIMEOUT_MS = 250;
/** An answer of a probe is good for this long, however often it is asked for. */
const PROBE_FRESH_MS = 200;
/** How long any other command may take. */
const COMMAND_TIMEOUT_MS = 2000;
/** How much of that may pass until this node has checked the log. */
const WRITABLE_TIMEOUT_MS = 1500;
const NEVER = new AbortController().signal;

/** What a {@linkcode RedisLog} is made of. */
export interface RedisLogOptions {
  readonly url: string;
  /** Prefix of every key. */
  readonly keyPrefix: string;
  readonly historySize: number;
  readonly historySeconds: number;
  readonly idempotencySeconds: number;
  /** How many replicas must have a publish before it is acknowledged. */
  readonly ackReplicas: number;
  /** How far back reading begins. */
  readonly recoverySeconds: number;
  readonly reader: LogReader;
  /** Takes entries of the Socket.IO adapter, one by one, in order with the messages. */
  readonly cluster?: (
    fields: Readonly<Record<string, string>>,
    id: string,
  ) => void;
  /** Scripts of other parts that use {@linkcode RedisLog.commands}; loaded on each new connection. */
  readonly scripts?: readonly Script[];
  /** The connections of this node, which have to be to one server. */
  readonly group?: Set<RedisConnection>;
  readonly observe: Observe;
}

/** Access to the Redis server that holds the log, for parts that store their own data beside the log. */
export interface LogServer {
  readonly keys: Keys;
  /** The name of this node. */
  readonly node: string;
  /** Returns the name of the server that this node has checked last. */
  readonly server: () => string;
  /** Runs a command in bounded time. @throws {ApiError} `log_…` */
  readonly command: <T>(
    command: (client: RedisClient) => Promise<T>,
  ) => Promise<T>;
  /** Resolves, in bounded time, when a write would not be lost unnoticed; rejects if it would be. */
  readonly writable: () => Promise<void>;
  /** Records that Redis has acknowledged this node's write number `count`. */
  readonly saved: (count: number) => void;
}

/**
 * The log on Redis. Two connections: one for commands, one that waits for entries.
 */
export class RedisLog implements Log {
  readonly #options: RedisLogOptions;
  readonly #keys: Keys;
  readonly #commands: RedisConnection;
  /** The one that publishes wait on: waiting for replicas holds up all that comes after it. */
  readonly #appends: RedisConnection;
  readonly #reading: RedisConnection;
  readonly #appender: Appender;
  readonly #witness = new Witness();
  readonly #reader: RedisLogReader;
  readonly head: LogHead;
  readonly history: History = {
    read: (room, range) => this.#readHistory(room, range),
    clear: (room) => this.#clearHistory(room),
  };
  readonly server: LogServer;
  #probe: { at: number; outcome: Promise<void> } | undefined;
  #warnings: readonly string[] = [];

  /** Starts connecting and reading, and goes on until {@linkcode RedisLog.close}. */
  constructor(options: RedisLogOptions) {
    this.#options = options;
    this.#keys = keysOf(options.keyPrefix);
    const { url, observe, group = new Set() } = options;
    this.#commands = new RedisConnection({
      url,
      name: "commands",
      observe,
      group,
      prepare: (client) => this.#prepare(client),
    });
    this.#reading = new RedisConnection({
      url,
      name: "reader",
      observe,
      group,
    });
    this.#appends = options.ackReplicas === 0
      ? this.#commands
      : new RedisConnection({
        url,
        name: "appends",
        observe,
        group,
        prepare: (client) => loadScripts(client, LOG_SCRIPTS),
      });
    const keys = this.#keys;
    const witness = this.#witness;
    this.#appender = new Appender({
      ...options,
      connection: this.#appends,
      client: () => this.#writable(this.#appends),
      why: () =>
        this.#appends.client === undefined
          ? this.#appends.lastError
          : this.#reader.why,
      acknowledged: (id) => witness.acknowledged(id, performance.now()),
      keys,
      logLength: LOG_LENGTH,
    });
    this.server = {
      command: (command) => this.command(command, "reach the log"),
      writable: () => this.#whenWritable(),
      node: witness.node,
      server: () => witness.server,
      saved: (count) => witness.saved(count),
      keys,
    };
    this.head = new LogHead(this.#headState());
    this.#reader = new RedisLogReader({
      ...options,
      connection: this.#reading,
      keys,
      witness,
      logLength: LOG_LENGTH,
      stepped: () => this.head.moved(),
      clock: (now) => this.#appender.redisNow = now,
    });
  }

  get gaps(): Gaps {
    return this.#reader.gaps;
  }

  /** The connection for commands. */
  get commands(): RedisConnection {
    return this.#commands;
  }

  /** The names of its keys. */
  get keys(): Keys {
    return this.#keys;
  }

  append(publishes: readonly PublishRequest[]): Promise<PublishResult[][]> {
    return this.#appender.append(publishes);
  }

  probe(): Promise<void> {
    const now = performance.now();
    if (this.#probe === undefined || now - this.#probe.at > PROBE_FRESH_MS) {
      // One that is still under way is shared: however many ask, one entry is written.
      const probe = {
        at: Infinity,
        outcome: this.#runProbe().finally(() => probe.at = performance.now()),
      };
      this.#probe = probe;
      probe.outcome.catch(() => {});
    }
    return this.#probe.outcome;
  }

  knows(id: string): boolean {
    return this.#witness.hasRead(id);
  }

  async contains(id: string): Promise<boolean> {
    return await this.command((client) => containsId(client, this.#keys, id));
  }

  async #readHistory(room: string, range: HistoryRange): Promise<Page> {
    const { since, order } = range;
    const page = await this.command((client) =>
      readHistory(client, this.#keys, room, range, this.#options)
    );
    const named = since !== undefined && since.epoch === undefined &&
      order === "asc" && page.complete && !this.knows(since.id);
    return named && !await this.contains(since.id)
      ? { ...page, complete: false, completeSince: undefined }
      : page;
  }

  async #clearHistory(room: string): Promise<void> {
    await this.command((client) =>
      runScript(client, CLEAR, [this.#keys.history(room)], [])
    );
  }

  warnings(): readonly string[] {
    const { warning } = this.#appender;
    return warning === undefined
      ? this.#warnings
      : [...this.#warnings, warning];
  }

  async close(): Promise<void> {
    this.#appender.close();
    const client = this.#writable(this.#commands);
    if (client !== undefined) {
      // Where that fails, the others take it for a node that was killed.
      await deadline(
        this.#reader.leave(client),
        COMMAND_TIMEOUT_MS / 4,
        "leaving",
      ).catch(() => {});
    }
    const closed = this.#reader.close();
    const connections = [this.#commands, this.#appends, this.#reading];
    await Promise.all(connections.map((connection) => connection.close()));
    await closed;
  }

  #headState(): HeadState {
    const witness = this.#witness;
    const isStarted = (): boolean => this.#reader.started;
    return {
      get epoch() {
        return isStarted() ? witness.epoch : "";
      },
      get id() {
        return witness.offset;
      },
      get began() {
        return witness.began;
      },
      get confirmed() {
        return witness.confirmed;
      },
      get lineage() {
        return witness.lineage;
      },
    };
  }

  /**
   * The client for what changes the log, or what is kept beside it: only to the server whose log this node has checked,
   * so that it can tell what has become of it.
   */
  #writable({ client, runId }: RedisConnection): RedisClient | undefined {
    return this.#witness.mayAcknowledge(runId, performance.now())
      ? client
      : undefined;
  }

  /** Makes sure, in bounded time, that what is written now is accounted for. @throws {Error} if it would not be */
  async #whenWritable(): Promise<void> {
    const end = performance.now() + WRITABLE_TIMEOUT_MS;
    while (this.#writable(this.#commands) === undefined) {
      if (performance.now() > end || this.#commands.client === undefined) {
        throw this.#commands.lastError ?? this.#reader.why ??
          new Error("not confirmed");
      }
      await pause(20, NEVER);
    }
  }

  /** Runs a command of another's, in bounded time. @throws {ApiError} `log_…` */
  async command<T>(
    command: (client: RedisClient) => Promise<T>,
    verb = "read the log",
  ): Promise<T> {
    try {
      const client = this.#commands.client;
      if (client === undefined) {
        throw this.#commands.lastError ?? new Error("not connected");
      }
      return await deadline(command(client), COMMAND_TIMEOUT_MS, "reading");
    } catch (error) {
      throw toLogError(error, verb);
    }
  }

  async #runProbe(): Promise<void> {
    if (
      this.#commands.client === undefined || this.#reading.client === undefined
    ) {
      throw toLogError(
        this.#commands.lastError ?? this.#reading.lastError ??
          new Error("not connected"),
        "reach the log",
      );
    }
    const nonce = crypto.randomUUID();
    const [back, giveUp] = this.#reader.probe(nonce);
    let isBack = false;
    void back.then(() => isBack = true);
    try {
      // An append that fails shows in that nothing comes back.
      await deadline(
        Promise.all([back, this.append([{ rooms: [], json: nonce }])]),
        PROBE_TIMEOUT_MS,
        "a probe",
      );
    } catch {
      const { why } = this.#reader;
      if (why !== undefined) throw toLogError(why, "reach the log");
      if (isBack && this.#options.ackReplicas > 0) {
        throw new ApiError(
          "log_not_replicated",
          "Cannot acknowledge publishes: Redis has fewer replicas in step than ACK_REPLICAS; attach a replica",
        );
      }
      throw new ApiError(
        "log_timeout",
        "Cannot reach the log: what was written has not come back; look at Redis",
      );
    } finally {
      giveUp();
    }
  }

  async #prepare(client: RedisClient): Promise<void> {
    await loadScripts(client, [
      ...LOG_SCRIPTS,
      ...HISTORY_SCRIPTS,
      CHECK,
      ...this.#options.scripts ?? [],
    ]);
    await this.#inspect(client);
  }

  /** Says what can lose messages, each time it turns out, which is once a cause. */
  async #inspect(client: RedisClient): Promise<void> {
    const info = await client.sendCommand(["INFO"]).then(String, () => "");
    const warnings = [];
    if (/^aof_enabled:0/m.test(info)) {
      warnings.push(
        "Redis keeps no append-only file: what was acknowledged since its last snapshot is lost when it stops; " +
          "set appendonly yes",
      );
    }
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? "noeviction";
    if (policy !== "noeviction") {
      warnings.push(
        `Redis may evict our keys when its memory is full (maxmemory-policy ${policy}): messages can vanish; ` +
          "set maxmemory-policy noeviction",
      );
    }
    for (const why of warnings) {
      if (!this.#warnings.includes(why)) {
        this.#options.observe({ kind: "redis_config_warning", why });
      }
    }
    this.#warnings = warnings;
  }
}
