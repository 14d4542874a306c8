/**
 * Reading the log on Redis: in order, without a hole that nobody is told of.
 *
 * @module
 */
import { check, type Finding, type Question } from "./check.ts";
import { deadline, DeadlineError, pause } from "../util/deadline.ts";
import { IngressGaps, parseChannels } from "../log/gaps.ts";
import type { Keys } from "../redis/keys.ts";
import type { Entry, LogReader } from "../log/log.ts";
import { isJson, type LogEntry, type RawEntry, readEntry } from "./entries.ts";
import type { Observe } from "../observer.ts";
import {
  compareIds,
  formatPosition,
  idBefore,
  newEpoch,
  timestampOf,
} from "../log/position.ts";
import type { RedisClient, RedisConnection } from "../redis/connection.ts";
import { isOutage, toLogError } from "../redis/errors.ts";
import type { Witness } from "./witness.ts";

/** Entries of one read. */
const READ_COUNT = 256;
/** How long the reply to a read may take, beyond the time for which Redis may hold a read that finds nothing. */
const READ_GRACE_MS = 1500;
/** Longest pause after a read that failed; half of it is chance. */
const BACKOFF_MS_MAX = 1000;
/** Most characters of messages read at start, and how long any command then may take. */
const RECENT_BYTES_MAX = 16 << 20;
const COMMAND_TIMEOUT_MS = 2000;

const MOVED =
  "Redis is another server, or was promoted: all nodes have to confirm within 6 s that it lacks nothing";
const REPLICA =
  "Redis is a replica and takes no writes; let REDIS_URL lead to its master";

/** What a {@linkcode RedisLogReader} is made of. */
export interface RedisLogReaderOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly witness: Witness;
  readonly logLength: number;
  readonly historySeconds: number;
  /** How far back reading begins. */
  readonly recoverySeconds: number;
  readonly reader: LogReader;
  /** Takes entries of the Socket.IO adapter, one by one, in order with the messages. */
  readonly cluster?:
    | ((fields: Readonly<Record<string, string>>, id: string) => void)
    | undefined;
  /** Called when a step of the reader is done: some entries were delivered, or the log was checked. */
  readonly stepped: () => void;
  /** Learns what time it is on Redis, in ms since 1970. */
  readonly clock: (redisNow: number) => void;
  readonly observe: Observe;
}

/**
 * Reads the log. It owns its place in it, its deadline and its pauses; nothing that Redis does or says makes it spin,
 * stop or skip unnoticed.
 */
export class RedisLogReader {
  readonly #options: RedisLogReaderOptions;
  readonly #witness: Witness;
  readonly #closing = new AbortController();
  readonly #finished: Promise<void>;
  readonly #probes = new Map<string, () => void>();
  /** Where messages of Redis channels may be missing. */
  readonly gaps: IngressGaps = new IngressGaps();
  #started = false;
  #why: unknown;
  /** What the last check found, and since when the epoch has not been confirmed. */
  #state: Finding["state"] | undefined;
  #unconfirmedAt = 0;
  /** How many messages and other entries the stream has had up to what was read; undefined until a run says it. */
  #total: number | undefined;
  /** The connection last read from; what a new one leads to may not be the same Redis. */
  #readFrom: RedisClient | undefined;
  /** The clock of the Redis that is read from, less that of this process, in ms. */
  #clockSkewMs = 0;

  /** Starts reading, and goes on until {@linkcode RedisLogReader.close}. */
  constructor(options: RedisLogReaderOptions) {
    this.#options = options;
    this.#witness = options.witness;
    this.#finished = this.#read();
  }

  /** Why this node cannot say whether the log is the one it knows; undefined if it can. */
  get why(): unknown {
    return this.#why;
  }

  /** Whether reading has begun. */
  get started(): boolean {
    return this.#started;
  }

  /** Resolves when the probe with this text comes back by the log. Call the second function to give up. */
  probe(nonce: string): [back: Promise<void>, giveUp: () => void] {
    const back = new Promise<void>((resolve) =>
      this.#probes.set(nonce, resolve)
    );
    return [back, () => void this.#probes.delete(nonce)];
  }

  /** Tells Redis that this node leaves, if all that it knows is in the log. Bounded by the caller. */
  async leave(client: RedisClient): Promise<void> {
    const question = this.#question("leave");
    await check(client, this.#options.keys, this.#options, question);
  }

  /** Stops reading; its connection has to be closed as well. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#finished;
  }

  async #read(): Promise<void> {
    const { signal } = this.#closing;
    const { connection, observe } = this.#options;
    for (let failures = 0; !signal.aborted;) {
      const client = connection.client;
      try {
        if (client === undefined) {
          this.#witness.interrupted();
          await connection.connected;
        } else await this.#readOnce(client);
        failures = 0;
      } catch (error) {
        this.#why = error;
        this.#witness.interrupted();
        if (signal.aborted) return;
        if (error instanceof DeadlineError) connection.reset();
        const known = isOutage(toLogError(error, "read the log"));
        if (failures++ === 0 && !known) {
          observe({ kind: "error", where: "reading the log", error });
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
    const { keys } = this.#options;
    const witness = this.#witness;
    if (client !== this.#readFrom) {
      witness.interrupted();
      this.#clockSkewMs = await this.#time(client) - performance.now();
    }
    this.#readFrom = client;
    if (!this.#started) {
      await this.#start(client);
      this.#options.stepped();
    }
    // On another server nothing is read before it is known whether the log there goes on where this node is.
    if (this.#checkDue) {
      const goesOn = await this.#check(client);
      this.#options.stepped();
      if (!goesOn) return;
    }
    const before = witness.offset;
    // Redis takes 0 for "without an end".
    const blockMs = Math.max(
      1,
      Math.ceil(witness.checkDueMs(performance.now())),
    );
    const reply = await deadline(
      client.sendCommand([
        "XREAD",
        "COUNT",
        `${READ_COUNT}`,
        "BLOCK",
        `${blockMs}`,
        "STREAMS",
        keys.log,
        before,
      ]) as Promise<[[string, RawEntry[]]] | null>,
      blockMs + READ_GRACE_MS,
      "reading the log",
    );
    const entries = (reply?.[0][1] ?? []).map(readEntry);
    const whole = this.#joinsOn(entries);
    // Looked at after the read: an id that is still there now was there then, so nothing after it had been trimmed.
    const due = !whole || this.#total === undefined || this.#checkDue;
    if (!due || await this.#check(client, entries[0], whole)) {
      this.#take(entries);
    }
    this.#options.stepped();
  }

  get #checkDue(): boolean {
    return this.#witness.checkDueMs(performance.now()) <= 0;
  }

  /** Whether nothing lies between what was read before and these entries, by the numbers that the runs bear. */
  #joinsOn(entries: readonly LogEntry[]): boolean {
    let total = this.#total;
    for (const entry of entries) {
      // An epoch that begins tells of whatever is missing before it.
      if (this.#beginsEpoch(entry)) return true;
      const expected = total === undefined ? undefined : total + entry.count;
      if (
        expected !== undefined && entry.total !== undefined &&
        entry.total !== expected
      ) return false;
      total = entry.total ?? expected;
    }
    return true;
  }

  /**
   * Settles where reading begins, a concrete id, and reads what came shortly before: a node that has just started then
   * serves those who come from one that has just stopped.
   */
  async #start(client: RedisClient): Promise<void> {
    const witness = this.#witness;
    await this.#check(client);
    await this.#readGaps(client);
    const now = await this.#time(client);
    const recent: Entry[] = [];
    const oldest = now - this.#options.recoverySeconds * 1000;
    let floor = witness.offset, bytes = 0, more = true;
    for (let end = floor; more; end = `(${floor}`) {
      const page = await this.#range(client, end);
      more = page.length === READ_COUNT;
      for (const raw of page) {
        const { id, messages = [], fields, error } = readEntry(raw);
        // An entry is there, so that whatever came after the one before it is.
        floor = id;
        if (error !== undefined) this.#skip(id, error);
        if (fields.epoch === witness.epoch) {
          more = false;
          break;
        }
        for (const entry of messages.toReversed()) {
          if (!isJson(entry.json)) continue;
          recent.push(entry);
          bytes += entry.json.length;
        }
      }
      more &&= bytes < RECENT_BYTES_MAX && timestampOf(floor) > oldest;
    }
    this.#options.reader.started(recent.reverse(), floor);
    this.#started = true;
  }

  async #time(client: RedisClient): Promise<number> {
    const [seconds, microseconds] = await deadline(
      client.sendCommand(["TIME"]) as Promise<string[]>,
      COMMAND_TIMEOUT_MS,
      "asking for the time",
    );
    return Number(seconds) * 1000 + Number(microseconds) / 1000;
  }

  #range(client: RedisClient, end: string): Promise<RawEntry[]> {
    const { keys } = this.#options;
    return deadline(
      client.sendCommand(
        ["XREVRANGE", keys.log, end, "-", "COUNT", `${READ_COUNT}`],
      ) as Promise<RawEntry[]>,
      COMMAND_TIMEOUT_MS,
      "reading the log",
    );
  }

  /** Reads the gaps that were before: those to come are met in the log, in order with the messages. */
  async #readGaps(client: RedisClient): Promise<void> {
    const { keys } = this.#options;
    const entries = await deadline(
      (client.sendCommand(["XRANGE", keys.gaps, "-", "+"]) as Promise<
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
      if (compareIds(id, this.#witness.began) < 0) continue;
      try {
        this.gaps.add(id, parseChannels(list?.[1] ?? ""));
      } catch (error) {
        this.#skip(id, String(error));
      }
    }
  }

  #question(intent?: Question["intent"]): Question {
    return this.#witness.question(newEpoch(), performance.now(), intent);
  }

  /**
   * Makes sure that the log is the one this node knows, and holds what it knows. Returns whether what was read after
   * the node's place, beginning with `next`, counts; `whole` says whether it joins on.
   */
  async #check(
    client: RedisClient,
    next?: LogEntry,
    whole = true,
  ): Promise<boolean> {
    const { keys, clock, observe, reader } = this.#options;
    const witness = this.#witness;
    const { lineage } = witness;
    const askedAt = performance.now();
    const question = this.#question();
    const finding = await deadline(
      check(
        client,
        keys,
        this.#options,
        question,
        askedAt + READ_GRACE_MS + this.#clockSkewMs,
      ),
      READ_GRACE_MS,
      "checking the log",
    );
    clock(finding.now);
    this.#clockSkewMs = finding.now - performance.now();
    // A replica without a log has nothing to begin with.
    if (!this.#started && finding.epoch === "") throw new Error("READONLY");
    const verdict = witness.take(question, finding, askedAt);
    if (verdict.kind === "started") this.#total = finding.total;
    this.#report(finding, question.epoch);
    if (verdict.kind === "epoch") {
      const why = finding.why || "Redis lacks messages that this node knew";
      observe({ kind: "epoch_changed", epoch: witness.epoch, why });
      await this.#restart(client, verdict.offset, verdict.since);
    } else if (verdict.kind === "cut" || !whole) {
      await this.#skipHole(client, next, finding.last);
    }
    if (lineage !== "" && witness.lineage !== lineage) reader.lineageChanged();
    return verdict.kind !== "epoch";
  }

  /** Says once each time that the epoch has to be confirmed, and what came of it. */
  #report({ state, nodes, epoch, why }: Finding, before: string): void {
    const { observe } = this.#options;
    this.#why = state === "replica" ? new Error("READONLY") : undefined;
    if (before === "" && why !== "") {
      observe({ kind: "epoch_changed", epoch, why });
    }
    if (state === this.#state) return;
    const now = performance.now();
    if (state === "unconfirmed") {
      observe({ kind: "epoch_unconfirmed", nodes: nodes.size, why: MOVED });
    } else if (state === "replica") {
      observe({ kind: "redis_is_replica", why: REPLICA });
    } else if (this.#state !== undefined && epoch === before) {
      const durationMs = Math.round(now - this.#unconfirmedAt);
      observe({ kind: "epoch_confirmed", durationMs });
    }
    if (this.#state === "confirmed" || this.#state === undefined) {
      this.#unconfirmedAt = now;
    }
    this.#state = state;
  }

  /** Goes on in another epoch. */
  async #restart(
    client: RedisClient,
    offset: string,
    since: string,
  ): Promise<void> {
    this.#total = undefined;
    this.gaps.clear();
    this.#options.reader.gap("epoch", offset, since);
    await this.#readGaps(client);
  }

  /** Goes on behind entries that were trimmed before they were read: nobody here knows them. */
  async #skipHole(
    client: RedisClient,
    next: LogEntry | undefined,
    last: string,
  ): Promise<void> {
    const witness = this.#witness;
    const since = formatPosition(witness.epoch, witness.offset);
    this.#options.observe({
      kind: "log_trimmed_unread",
      after: witness.offset,
    });
    const id = next?.messages?.[0]?.id ?? next?.id;
    witness.skippedTo(id === undefined ? last : idBefore(id));
    this.#total = undefined;
    this.#options.reader.gap("trimmed", witness.offset, since);
    await this.#readGaps(client);
  }

  #take(entries: readonly LogEntry[]): void {
    const { reader } = this.#options;
    const now = performance.now();
    let messages: Entry[] = [];
    const flush = (): void => {
      if (messages.length > 0) reader.entries(messages);
      messages = [];
    };
    for (const entry of entries) {
      this.#total = entry.total ??
        (this.#total === undefined ? undefined : this.#total + entry.count);
      if (entry.error !== undefined) this.#skip(entry.id, entry.error);
      else if (entry.messages === undefined) {
        flush();
        this.#takeOther(entry);
      } else {
        for (const message of entry.messages) {
          if (isJson(message.json)) messages.push(message);
          else this.#skip(message.id, "Cannot read the message: it is no JSON");
        }
      }
      this.#witness.read(entry.id, entry.messages !== undefined, now);
    }
    flush();
  }

  #takeOther({ id, fields }: LogEntry): void {
    const { reader, cluster, observe } = this.#options;
    const witness = this.#witness;
    try {
      if (fields.probe !== undefined) this.#probes.get(fields.probe)?.();
      else if (fields.node !== undefined) witness.announced(fields.node);
      else if (fields.epoch !== undefined) {
        if (fields.epoch === witness.epoch) return;
        const since = witness.epochBegan(fields.epoch, id);
        this.#total = undefined;
        this.gaps.clear();
        const why = fields.why ?? "another node has begun it";
        observe({ kind: "epoch_changed", epoch: fields.epoch, why });
        reader.gap("epoch", id, since);
      } else if (fields.ingress !== undefined) {
        reader.ingressGap(
          this.gaps.add(id, parseChannels(fields.ingress)),
          id,
          formatPosition(witness.epoch, witness.offset),
        );
      } else if (fields.nsp !== undefined && cluster !== undefined) {
        cluster(fields, id);
      } else {
        throw new TypeError(
          "Cannot read the entry: it is of no kind that we know",
        );
      }
    } catch (error) {
      this.#skip(id, String(error));
    }
  }

  #beginsEpoch({ fields }: LogEntry): boolean {
    return fields.epoch !== undefined && fields.epoch !== this.#witness.epoch;
  }

  #skip(id: string, why: string): void {
    this.#options.observe({ kind: "entry_skipped", id, why });
  }
}
