/**
 * The log on Redis: one stream that every node reads, and one stream per room for its history.
 *
 * @module
 */
import { type HeadState, LogHead } from "../log/head.ts";
import type {
  Gaps,
  History,
  HistoryRange,
  Log,
  LogReader,
  Page,
  PublishResult,
} from "../log/log.ts";
import type { PublishRequest } from "../log/message.ts";
import type { Observe } from "../observer.ts";
import { RedisClock } from "../redis/clock.ts";
import { type RedisClient, RedisConnection } from "../redis/connection.ts";
import { toLogError } from "../redis/errors.ts";
import { ConnectionGroup } from "../redis/group.ts";
import { type Keys, keysOf } from "../redis/keys.ts";
import type { LogServer } from "../redis/log_server.ts";
import { loadScripts, runScript, type Script } from "../redis/script.ts";
import { deadline, pause } from "../util/deadline.ts";
import { LOG_LENGTH, LOG_SCRIPTS } from "./append_scripts.ts";
import { Appender } from "./appender.ts";
import { CHECK } from "./check_script.ts";
import { readHistory } from "./history.ts";
import { CLEAR, HISTORY_SCRIPTS } from "./history_scripts.ts";
import { containsId } from "./lookup.ts";
import { Probe } from "./probe.ts";
import { RedisLogReader } from "./reader.ts";
import { configWarnings } from "./server_config.ts";
import { Witness } from "./witness.ts";

/** Maximum duration of a command, in ms. */
const COMMAND_TIMEOUT_MS = 2000;
/** How long a command that writes waits until this node may write, in ms. The wait is part of `COMMAND_TIMEOUT_MS`. */
const WRITABLE_TIMEOUT_MS = 1500;
/** Maximum time for unregistering this node in Redis, in ms. */
const LEAVE_TIMEOUT_MS = 500;

/** Options of {@linkcode RedisLog}. */
export interface RedisLogOptions {
  readonly url: string;
  /** Prefix of every key in Redis (`KEY_PREFIX`). */
  readonly keyPrefix: string;
  readonly historySize: number;
  readonly historySeconds: number;
  readonly idempotencySeconds: number;
  /** How many replicas of Redis must have a message before its publish is acknowledged (`ACK_REPLICAS`). */
  readonly ackReplicas: number;
  /** Age in s of the oldest messages that a starting node reads, so that it can serve clients that reconnect. */
  readonly recoverySeconds: number;
  readonly reader: LogReader;
  /** Called with the fields and the id of each entry that a Socket.IO adapter has added, in order with the messages. */
  readonly cluster?: (
    fields: Readonly<Record<string, string>>,
    id: string,
  ) => void;
  /**
   * Scripts that other parts of Roomcast run over {@linkcode RedisLog.commands}. They are loaded on each new
   * connection.
   */
  readonly scripts?: readonly Script[];
  /** The group that this log's Redis connections join; all connections of a group have to lead to the same server. */
  readonly group?: ConnectionGroup;
  readonly observe: Observe;
}

/**
 * Keeps the log on Redis: creates the parts that append, read and check, and connects them.
 *
 * The log has a connection for commands and one for reading. If `ackReplicas` is set, publishes have a third
 * connection, because waiting for replicas blocks all later commands of the same connection. Lifetime: connects and
 * reads from the constructor until {@linkcode RedisLog.close}.
 */
export class RedisLog implements Log {
  readonly #options: RedisLogOptions;
  readonly #group: ConnectionGroup;
  readonly #witness = new Witness();
  readonly #appends: RedisConnection;
  readonly #reading: RedisConnection;
  readonly #appender: Appender;
  readonly #reader: RedisLogReader;
  readonly #probe: Probe;
  #warnings: readonly string[] = [];
  /** The connection for all commands except blocking reads. */
  readonly commands: RedisConnection;
  /** The names of this log's keys in Redis. */
  readonly keys: Keys;
  readonly head: LogHead;
  readonly history: History = {
    read: (room, range) => this.#readHistory(room, range),
    clear: (room) => this.#clearHistory(room),
  };
  /** Lets other parts of Roomcast store data on the Redis server that holds the log. */
  readonly server: LogServer;

  /** Starts to connect to Redis and to read the log. */
  constructor(options: RedisLogOptions) {
    this.#options = options;
    this.#group = options.group ?? new ConnectionGroup(options.observe);
    const { historySize, historySeconds, ackReplicas } = options;
    const witness = this.#witness;
    const clock = new RedisClock();
    const keys = this.keys = keysOf(options.keyPrefix);
    this.commands = this.#connect(
      "commands",
      (client) => this.#prepare(client),
    );
    this.#reading = this.#connect("reader");
    this.#appends = ackReplicas === 0
      ? this.commands
      : this.#connect("appends", (client) => loadScripts(client, LOG_SCRIPTS));
    this.#appender = new Appender({
      historySize,
      historySeconds,
      idempotencySeconds: options.idempotencySeconds,
      ackReplicas,
      connection: this.#appends,
      client: () => this.#writable(this.#appends),
      why: () => this.#whyNotWritable(),
      acknowledged: (id) => witness.acknowledged(id, performance.now()),
      clock,
      keys,
      logLength: LOG_LENGTH,
    });
    this.#reader = new RedisLogReader({
      historySeconds,
      recoverySeconds: options.recoverySeconds,
      reader: options.reader,
      cluster: options.cluster,
      observe: options.observe,
      connection: this.#reading,
      keys,
      witness,
      clock,
      logLength: LOG_LENGTH,
      stepped: () => this.head.moved(),
    });
    this.head = new LogHead(headState(witness, this.#reader));
    this.#probe = new Probe({
      appender: this.#appender,
      reader: this.#reader,
      connections: [this.commands, this.#reading],
      ackReplicas,
    });
    this.server = {
      keys,
      node: witness.node,
      server: () => witness.server,
      command: (command) => this.command(command, "reach the log"),
      writable: () => this.#whenWritable(),
      saved: (count) => witness.saved(count),
    };
  }

  get gaps(): Gaps {
    return this.#reader.gaps;
  }

  append(publishes: readonly PublishRequest[]): Promise<PublishResult[][]> {
    return this.#appender.append(publishes);
  }

  probe(): Promise<void> {
    return this.#probe.run();
  }

  knows(id: string): boolean {
    return this.#witness.hasRead(id);
  }

  async contains(id: string): Promise<boolean> {
    return await this.command((client) => containsId(client, this.keys, id));
  }

  warnings(): readonly string[] {
    const { warning } = this.#appender;
    return warning === undefined
      ? this.#warnings
      : [...this.#warnings, warning];
  }

  /** Stops accepting publishes. All publishes in flight fail as `draining`. */
  refusePublishes(): void {
    this.#appender.close();
  }

  async close(): Promise<void> {
    this.refusePublishes();
    const client = this.#writable(this.commands);
    if (client !== undefined) {
      // If this fails, the other nodes treat this node like one that was killed.
      const left = this.#reader.leave(client);
      await deadline(left, LEAVE_TIMEOUT_MS, "leaving").catch(() => {});
    }
    const closed = this.#reader.close();
    const connections = [this.commands, this.#appends, this.#reading];
    await Promise.all(connections.map((connection) => connection.close()));
    await closed;
  }

  /**
   * Runs a command over {@linkcode RedisLog.commands} with a time limit. `verb` names the operation in the error.
   *
   * @throws {ApiError} With a code `log_…`, if Redis is unreachable or refuses the command.
   */
  async command<T>(
    command: (client: RedisClient) => Promise<T>,
    verb = "read the log",
  ): Promise<T> {
    try {
      const { client, lastError } = this.commands;
      if (client === undefined) throw lastError ?? new Error("not connected");
      return await deadline(command(client), COMMAND_TIMEOUT_MS, "reading");
    } catch (error) {
      throw toLogError(error, verb);
    }
  }

  async #readHistory(room: string, range: HistoryRange): Promise<Page> {
    const { since, order } = range;
    const page = await this.command((client) =>
      readHistory(client, this.keys, room, range, this.#options)
    );
    // An id without an epoch may belong to a log that Redis has lost, so the page counts as complete only if the id is
    // found.
    const isUnproven = since !== undefined && since.epoch === undefined &&
      order === "asc" && page.complete && !this.knows(since.id);
    return isUnproven && !await this.contains(since.id)
      ? { ...page, complete: false, completeSince: undefined }
      : page;
  }

  async #clearHistory(room: string): Promise<void> {
    await this.command((client) =>
      runScript(client, CLEAR, [this.keys.history(room)], [])
    );
  }

  /**
   * Returns the connection's Redis client if this node may write over the connection. Returns undefined if the
   * connection leads to a server whose log this node has not checked, because the node could not detect later that a
   * write was lost.
   */
  #writable({ client, runId }: RedisConnection): RedisClient | undefined {
    return this.#witness.mayAcknowledge(runId, performance.now())
      ? client
      : undefined;
  }

  #whyNotWritable(): unknown {
    const { client, lastError } = this.#appends;
    return client === undefined ? lastError : this.#reader.why;
  }

  /**
   * Waits until this node may write over {@linkcode RedisLog.commands}.
   *
   * @throws {Error} If the node may not write within {@linkcode WRITABLE_TIMEOUT_MS}.
   */
  async #whenWritable(): Promise<void> {
    const end = performance.now() + WRITABLE_TIMEOUT_MS;
    while (this.#writable(this.commands) === undefined) {
      if (performance.now() > end || this.commands.client === undefined) {
        throw this.commands.lastError ?? this.#reader.why ??
          new Error("not confirmed");
      }
      await pause(20);
    }
  }

  #connect(
    name: string,
    prepare?: (client: RedisClient) => Promise<void>,
  ): RedisConnection {
    const { url, observe } = this.#options;
    return new RedisConnection({
      url,
      name,
      observe,
      group: this.#group,
      ...(prepare && { prepare }),
    });
  }

  async #prepare(client: RedisClient): Promise<void> {
    const { scripts = [], observe } = this.#options;
    await loadScripts(
      client,
      [...LOG_SCRIPTS, ...HISTORY_SCRIPTS, CHECK, ...scripts],
    );
    const warnings = await configWarnings(client);
    for (const why of warnings) {
      if (!this.#warnings.includes(why)) {
        observe({ kind: "redis_config_warning", why });
      }
    }
    this.#warnings = warnings;
  }
}

/**
 * Returns the state of the log as witness and reader know it. The epoch stays empty until the reader has read the
 * recent messages, although the witness may know the epoch earlier.
 */
function headState(witness: Witness, reader: RedisLogReader): HeadState {
  return {
    get epoch() {
      return reader.started ? witness.epoch : "";
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
