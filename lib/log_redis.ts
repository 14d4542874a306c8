/**
 * The log on Redis: one stream that every node reads, one a room for its history.
 *
 * @module
 */
import { Appender } from "./appender.ts";
import { deadline, DeadlineError, pause } from "./deadline.ts";
import { Fault } from "./errors.ts";
import { readHistory } from "./history_redis.ts";
import { type Keys, keysOf } from "./keys.ts";
import type {
  Appended,
  Entry,
  Head,
  HistoryRange,
  Log,
  Page,
  Reader,
} from "./log.ts";
import type { Publish } from "./message.ts";
import type { Observe } from "./observer.ts";
import {
  atOf,
  compareIds,
  formatPosition,
  ID_ZERO,
  idBefore,
  newEpoch,
} from "./position.ts";
import { Connection, type RedisClient } from "./redis.ts";
import { RedisSessions, type Sessions } from "./sessions.ts";
import { isOutage, toLogFault } from "./redis_faults.ts";
import { BRIDGE_SCRIPTS } from "./bridge_scripts.ts";
import { Gaps, parseChannels } from "./gaps.ts";
import { CHECK, CLEAR, load, LOG_SCRIPTS, run } from "./redis_scripts.ts";
import { isJson, readRun } from "./runs.ts";

/** Messages the log keeps, roughly: a node that stood still for longer tells its clients `trimmed`. */
export const LOG_LENGTH = 100_000;
/** Entries of one read. */
const READ_COUNT = 256;
/** How long Redis may hold a read that finds nothing, and how much longer we wait for it. */
const READ_BLOCK_MS = 1000;
const READ_GRACE_MS = 1500;
/** How often, at most, the reader makes sure that the log is still the one it knows. */
const CHECK_INTERVAL_MS = 1000;
/** A node that is this far behind may find the log trimmed under it, and looks. */
const BEHIND_MS = 50;
/** Longest pause after a read that failed; half of it is chance. */
const BACKOFF_MS_MAX = 1000;
/** Most characters of messages read at start, and how far back. */
const RECENT_BYTES_MAX = 16 << 20;
/** How long a probe may take: `/readyz` answers within 300 ms whatever is broken. */
const PROBE_TIMEOUT_MS = 250;
/** An answer of a probe is good for this long, however often it is asked for. */
const PROBE_FRESH_MS = 200;
/** How long any other command may take. */
const COMMAND_TIMEOUT_MS = 2000;

/** What a {@linkcode RedisLog} is made of. */
export interface RedisLogOptions {
  readonly url: string;
  /** Prefix of every key. */
  readonly keyPrefix: string;
  readonly historySize: number;
  readonly historySeconds: number;
  readonly idempotencySeconds: number;
  /** How far back reading begins. */
  readonly recoverySeconds: number;
  readonly reader: Reader;
  /** Takes entries of the Socket.IO adapter, one by one, in order with the messages. */
  readonly cluster?: (
    fields: Readonly<Record<string, string>>,
    id: string,
  ) => void;
  readonly observe: Observe;
}

type RawEntry = [id: string, fields: string[] | null];

/**
 * The log on Redis. Two connections: one for commands, one that waits for entries. Reading owns its place in the log,
 * its deadline and its pauses; nothing that Redis does or says makes it spin, stop or skip unnoticed.
 */
export class RedisLog implements Log {
  readonly #options: RedisLogOptions;
  readonly #keys: Keys;
  readonly #commands: Connection;
  readonly #reading: Connection;
  readonly #appender: Appender;
  readonly #closing = new AbortController();
  readonly #finished: Promise<void>;
  readonly sessions: Sessions;
  readonly gaps: Gaps = new Gaps();
  readonly #probes = new Map<string, () => void>();
  #probe: { at: number; outcome: Promise<void> } | undefined;
  #warnings: readonly string[] = [];
  #epoch = "";
  #began = ID_ZERO;
  #started = false;
  #offset = ID_ZERO;
  /** Whether an entry with the id of `#offset` was seen, so that it must be there or trimmed. */
  #seen = false;
  #checkedAt = 0;
  /** The connection last read from; what a new one leads to may not be the same Redis. */
  #readFrom: RedisClient | undefined;

  /** Starts connecting and reading, and goes on until {@linkcode RedisLog.close}. */
  constructor(options: RedisLogOptions) {
    this.#options = options;
    this.#keys = keysOf(options.keyPrefix);
    const { url, observe } = options;
    this.#commands = new Connection({
      url,
      name: "commands",
      observe,
      prepare: (client) => this.#prepare(client),
    });
    this.#reading = new Connection({ url, name: "reader", observe });
    this.#appender = new Appender({
      ...options,
      connection: this.#commands,
      keys: this.#keys,
      logLength: LOG_LENGTH,
    });
    this.sessions = new RedisSessions(
      (command) => this.command(command, "reach the log"),
      this.#keys.session,
    );
    this.#finished = this.#read();
  }

  get head(): Head {
    return {
      epoch: this.#started ? this.#epoch : "",
      id: this.#offset,
      began: this.#began,
    };
  }

  /** The connection for commands. */
  get commands(): Connection {
    return this.#commands;
  }

  /** The names of its keys. */
  get keys(): Keys {
    return this.#keys;
  }

  append(publishes: readonly Publish[]): Promise<Appended[][]> {
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

  async history(room: string, range: HistoryRange): Promise<Page> {
    return await this.command((client) =>
      readHistory(client, this.#keys, room, range, this.#options)
    );
  }

  async clearHistory(room: string): Promise<void> {
    await this.command((client) =>
      run(client, CLEAR, [this.#keys.history(room)], [])
    );
  }

  warnings(): readonly string[] {
    return this.#warnings;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#appender.close();
    await Promise.all([this.#commands.close(), this.#reading.close()]);
    await this.#finished;
  }

  /** Runs a command of another's, in bounded time. @throws {Fault} `log_…` */
  async command<T>(
    command: (client: RedisClient) => Promise<T>,
    verb = "read the log",
  ): Promise<T> {
    try {
      const client = this.#commands.client;
      if (client === undefined) {
        throw this.#commands.why ?? new Error("not connected");
      }
      return await deadline(command(client), COMMAND_TIMEOUT_MS, "reading");
    } catch (error) {
      throw toLogFault(error, verb);
    }
  }

  async #runProbe(): Promise<void> {
    if (
      this.#commands.client === undefined || this.#reading.client === undefined
    ) {
      throw toLogFault(
        this.#commands.why ?? this.#reading.why ?? new Error("not connected"),
        "reach the log",
      );
    }
    const nonce = crypto.randomUUID();
    const back = new Promise<void>((resolve) =>
      this.#probes.set(nonce, resolve)
    );
    try {
      // An append that fails shows in that nothing comes back.
      await deadline(
        Promise.all([back, this.append([{ rooms: [], json: nonce }])]),
        PROBE_TIMEOUT_MS,
        "a probe",
      );
    } catch {
      throw new Fault(
        "log_timeout",
        "Cannot reach the log: what was written has not come back; look at Redis",
      );
    } finally {
      this.#probes.delete(nonce);
    }
  }

  async #prepare(client: RedisClient): Promise<void> {
    await load(client, [...LOG_SCRIPTS, ...BRIDGE_SCRIPTS]);
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
        this.#options.observe({ kind: "redis_unsafe", why });
      }
    }
    this.#warnings = warnings;
  }

  async #read(): Promise<void> {
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted;) {
      const client = this.#reading.client;
      try {
        if (client === undefined) await this.#reading.connected;
        else await this.#readOnce(client);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof DeadlineError) this.#reading.reset();
        const known = isOutage(toLogFault(error, "read the log"));
        if (failures++ === 0 && !known) {
          this.#options.observe({
            kind: "error",
            where: "reading the log",
            error,
          });
        }
        await pause(
          Math.min(50 * 2 ** failures, BACKOFF_MS_MAX) *
            (0.5 + Math.random() / 2),
          signal,
        );
      }
    }
  }

  async #readOnce(client: RedisClient): Promise<void> {
    if (!this.#started) await this.#start(client);
    if (client !== this.#readFrom) this.#checkedAt = -Infinity;
    this.#readFrom = client;
    const before = this.#offset;
    const reply = await deadline(
      client.sendCommand(
        [
          "XREAD",
          "COUNT",
          `${READ_COUNT}`,
          "BLOCK",
          `${READ_BLOCK_MS}`,
          "STREAMS",
          this.#keys.log,
          before,
        ],
      ) as Promise<[[string, RawEntry[]]] | null>,
      READ_BLOCK_MS + READ_GRACE_MS,
      "reading the log",
    );
    const entries = reply?.[0][1] ?? [];
    // Looked at after the read: an id that is still there now was there then, so nothing after it had been trimmed.
    const due = entries.length === READ_COUNT ||
      this.#appender.redisNow - atOf(entries[0]?.[0] ?? "9e15-0") > BEHIND_MS ||
      performance.now() - this.#checkedAt > CHECK_INTERVAL_MS;
    if (
      due &&
      !await this.#check(client, before, this.#firstId(entries[0]))
    ) return;
    this.#take(entries);
  }

  /**
   * Settles where reading begins, a concrete id, and reads what came shortly before: a node that has just started then
   * serves those who come from one that has just stopped.
   */
  async #start(client: RedisClient): Promise<void> {
    this.#epoch = "";
    await this.#check(client, this.#offset);
    await this.#readGaps(client);
    const recent: Entry[] = [];
    const oldest = this.#appender.redisNow -
      this.#options.recoverySeconds * 1000;
    let floor = this.#offset, bytes = 0, more = true;
    for (let end = floor; more; end = `(${floor}`) {
      const page = await deadline(
        client.sendCommand([
          "XREVRANGE",
          this.#keys.log,
          end,
          "-",
          "COUNT",
          `${READ_COUNT}`,
        ]) as Promise<RawEntry[]>,
        COMMAND_TIMEOUT_MS,
        "reading the log",
      );
      more = page.length === READ_COUNT;
      for (const [id, list] of page) {
        // An entry is there, so that whatever came after the one before it is.
        floor = id;
        if (isEpoch(list, this.#epoch)) {
          more = false;
          break;
        }
        for (const entry of this.#messagesOrSkip(id, list).toReversed()) {
          if (!isJson(entry.json)) continue;
          recent.push(entry);
          bytes += entry.json.length;
        }
      }
      more &&= bytes < RECENT_BYTES_MAX && atOf(floor) > oldest;
    }
    this.#options.reader.started(recent.reverse(), floor);
    this.#started = true;
  }

  /** Reads the gaps that were before: those to come are met in the log, in order with the messages. */
  async #readGaps(client: RedisClient): Promise<void> {
    const entries = await deadline(
      (client.sendCommand(["XRANGE", this.#keys.gaps, "-", "+"]) as Promise<
        RawEntry[]
      >).catch((error): RawEntry[] => {
        // Something else is under our key; the next gap puts that right.
        if (!String(error).includes("WRONGTYPE")) throw error;
        this.#skip("0-0", String(error));
        return [];
      }),
      COMMAND_TIMEOUT_MS,
      "reading the gaps",
    );
    for (const [id, list] of entries) {
      // What was before the epoch began is another log's.
      if (compareIds(id, this.#began) < 0) continue;
      try {
        this.gaps.add(id, parseChannels(list?.[1] ?? ""));
      } catch (error) {
        this.#options.observe({
          kind: "entry_skipped",
          id,
          why: String(error),
        });
      }
    }
  }

  /**
   * Makes sure that the log is the one we know and holds what we have read.
   * Answers whether what was read after `offset`, beginning with `next`, counts.
   */
  async #check(
    client: RedisClient,
    offset: string,
    next?: string,
  ): Promise<boolean> {
    const reply = await deadline(
      run(client, CHECK, [this.#keys.log, this.#keys.epoch], [
        newEpoch(),
        this.#epoch,
        offset,
        this.#seen ? "1" : "",
      ]),
      READ_GRACE_MS,
      "checking the log",
    );
    const [now, epoch, began, last, wrong] = reply as [
      number,
      string,
      string,
      string,
      string,
    ];
    this.#appender.redisNow = Number(now);
    this.#checkedAt = performance.now();
    if (this.#epoch === "") {
      this.#epoch = epoch;
      this.#began = began;
      this.#offset = last;
      return true;
    }
    // A new epoch further on in the log is met there, in order with the messages around it.
    const changed = epoch !== this.#epoch && compareIds(began, offset) <= 0;
    if (changed || wrong === "back") {
      // Not from where it began: a log that was restored is an old one, and its messages have been delivered.
      this.#begin(epoch, changed ? began : last, last);
      // The last id there was need not be that of an entry any more.
      if (!changed) this.#seen = false;
      await this.#readGaps(client);
      return false;
    }
    if (wrong === "cut" && epoch === this.#epoch) {
      this.#options.observe({ kind: "log_cut", after: offset });
      // It goes on behind the hole: what lies in the hole is known to nobody here.
      this.#offset = next === undefined ? last : idBefore(next);
      this.#seen = false;
      await this.#readGaps(client);
      this.#options.reader.gap(
        "trimmed",
        this.#offset,
        formatPosition(epoch, offset),
      );
    }
    return true;
  }

  #begin(epoch: string, id: string, offset: string): void {
    const since = formatPosition(this.#epoch, this.#offset);
    this.#epoch = epoch;
    this.gaps.clear();
    this.#began = id;
    this.#offset = offset;
    this.#seen = offset === id;
    this.#options.observe({ kind: "epoch_changed", epoch });
    this.#options.reader.gap("epoch", offset, since);
  }

  #take(raw: readonly RawEntry[]): void {
    let entries: Entry[] = [];
    const flush = (): void => {
      if (entries.length > 0) this.#options.reader.entries(entries);
      entries = [];
    };
    for (const [id, list] of raw) {
      try {
        const messages = messagesOf(id, list);
        if (messages === undefined) {
          flush();
          this.#takeOther(id, Object.fromEntries(pairs(list ?? [])));
        } else {
          for (const entry of messages) {
            if (isJson(entry.json)) entries.push(entry);
            else this.#skip(entry.id, "Cannot read the message: it is no JSON");
          }
        }
      } catch (error) {
        this.#skip(id, String(error));
      }
      this.#offset = id;
      this.#seen = true;
    }
    flush();
  }

  /** The id of the first message of an entry: that of a run is its last message's. */
  #firstId(entry: RawEntry | undefined): string | undefined {
    if (entry === undefined) return undefined;
    try {
      return messagesOf(...entry)?.[0]?.id ?? entry[0];
    } catch {
      return entry[0];
    }
  }

  #messagesOrSkip(id: string, list: RawEntry[1]): Entry[] {
    try {
      return messagesOf(id, list) ?? [];
    } catch (error) {
      this.#skip(id, String(error));
      return [];
    }
  }

  #skip(id: string, why: string): void {
    this.#options.observe({ kind: "entry_skipped", id, why });
  }

  #takeOther(id: string, fields: Readonly<Record<string, string>>): void {
    if (fields.probe !== undefined) this.#probes.get(fields.probe)?.();
    else if (fields.epoch !== undefined) {
      if (fields.epoch !== this.#epoch) this.#begin(fields.epoch, id, id);
    } else if (fields.ingress !== undefined) {
      this.#options.reader.ingressGap(
        this.gaps.add(id, parseChannels(fields.ingress)),
        id,
        formatPosition(this.#epoch, this.#offset),
      );
    } else if (
      fields.nsp !== undefined && this.#options.cluster !== undefined
    ) this.#options.cluster(fields, id);
    else {throw new TypeError(
        "Cannot read the entry: it is of no kind that we know",
      );}
  }
}

function pairs(list: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < list.length; i += 2) {
    pairs.push([list[i] ?? "", list[i + 1] ?? ""]);
  }
  return pairs;
}

function isEpoch(list: RawEntry[1], epoch: string): boolean {
  return list?.[0] === "epoch" && list[1] === epoch;
}

/** The messages of an entry: of a run, or a lone one as other programs may write it; undefined where it is neither. */
function messagesOf(id: string, list: RawEntry[1]): Entry[] | undefined {
  if (list?.[0] === "run") return readRun(id, list).entries;
  if (list?.[0] !== "room") return undefined;
  const { room = "", message = "" } = Object.fromEntries(pairs(list));
  return [{ id, room, json: message }];
}
