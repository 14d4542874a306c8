/**
 * Reads the log on Redis in order, and reports where messages may be missing.
 *
 * @module
 */
import { IngressGaps, parseChannels } from "../log/gaps.ts";
import type { Entry, LogReader } from "../log/log.ts";
import { compareIds, formatPosition, idBefore } from "../log/position.ts";
import type { Observe } from "../observer.ts";
import type { RedisClock } from "../redis/clock.ts";
import type { RedisClient, RedisConnection } from "../redis/connection.ts";
import { toLogError } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { backoffMs } from "../util/backoff.ts";
import { DeadlineError, pause } from "../util/deadline.ts";
import { Continuity } from "./continuity.ts";
import { isJson, type LogEntry, NOT_JSON } from "./entries.ts";
import { PageSize } from "./page_size.ts";
import { readGaps, readNew, readRecent, readTime } from "./reads.ts";
import type { Witness } from "./witness.ts";

/** Maximum pause after a failed read of the log, in ms. */
const BACKOFF_MS_MAX = 1000;

/** Options of {@linkcode RedisLogReader}. */
export interface RedisLogReaderOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly witness: Witness;
  readonly clock: RedisClock;
  readonly logLength: number;
  readonly historySeconds: number;
  /** Age in s of the oldest messages that a starting node reads, so that it can serve clients that reconnect. */
  readonly recoverySeconds: number;
  readonly reader: LogReader;
  /** Called with the fields and the id of each entry that a Socket.IO adapter has added, in order with the messages. */
  readonly cluster?:
    | ((fields: Readonly<Record<string, string>>, id: string) => void)
    | undefined;
  /** Called each time after entries were delivered or the log was checked. */
  readonly stepped: () => void;
  readonly observe: Observe;
}

/**
 * Reads the log on Redis continuously, and passes its messages to a {@linkcode LogReader}.
 *
 * Guarantees: messages are delivered once and in order, and a gap is reported if some may be missing. A failed read is
 * repeated after a pause. Lifetime: reads from the constructor until {@linkcode RedisLogReader.close}.
 */
export class RedisLogReader {
  readonly #options: RedisLogReaderOptions;
  readonly #witness: Witness;
  readonly #continuity: Continuity;
  readonly #closing = new AbortController();
  readonly #finished: Promise<void>;
  readonly #probes = new Map<string, () => void>();
  readonly #pageSize = new PageSize();
  /** The ids before which some messages of Redis channels may be missing from the log. */
  readonly gaps: IngressGaps = new IngressGaps();
  #started = false;
  /**
   * How many messages and entries without messages were ever added to the log, up to the last entry that this node has
   * read; undefined if that number is not known.
   */
  #total: number | undefined;
  /** The Redis client of the last read. A later client may be connected to another server. */
  #readFrom: RedisClient | undefined;

  /** Starts to read the log. {@linkcode RedisLogReader.started} is true once the recent messages are read. */
  constructor(options: RedisLogReaderOptions) {
    this.#options = options;
    this.#witness = options.witness;
    this.#continuity = new Continuity(options);
    this.#finished = this.#read();
  }

  /**
   * The reason why this node cannot tell whether the log still has everything that the node has read; undefined if it
   * can.
   */
  get why(): unknown {
    return this.#continuity.why;
  }

  /** Whether this node has checked the log for the first time and has read the log's recent messages. */
  get started(): boolean {
    return this.#started;
  }

  /**
   * Returns a promise that resolves when this node reads the probe with the text `nonce` from the log, and a function
   * that gives up waiting. Call the function when the promise is no longer needed.
   */
  probe(nonce: string): [read: Promise<void>, stop: () => void] {
    const read = new Promise<void>((resolve) =>
      this.#probes.set(nonce, resolve)
    );
    return [read, () => void this.#probes.delete(nonce)];
  }

  /** Records in Redis that this node stops, so that other nodes do not wait for it. Has no time limit of its own. */
  async leave(client: RedisClient): Promise<void> {
    await this.#continuity.leave(client);
  }

  /** Stops reading. A read in flight ends only when the caller also closes the connection. */
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
          this.#continuity.interrupted();
          await connection.connected;
        } else await this.#readOnce(client);
        failures = 0;
      } catch (error) {
        this.#continuity.interrupted(error);
        if (signal.aborted) return;
        if (error instanceof DeadlineError) connection.reset();
        const isReported = toLogError(error, "read the log").isOutage;
        if (failures++ === 0 && !isReported) {
          observe({ kind: "error", where: "reading the log", error });
        }
        await pause(backoffMs(failures, BACKOFF_MS_MAX), signal);
      }
    }
  }

  async #readOnce(client: RedisClient): Promise<void> {
    const { clock, keys, stepped } = this.#options;
    if (client !== this.#readFrom) {
      this.#continuity.interrupted();
      clock.set(await readTime(client));
    }
    this.#readFrom = client;
    if (!this.#started) {
      await this.#start(client);
      stepped();
    }
    // After a reconnect, check the log before reading it, because the log of another server may not continue the one
    // that this node has read.
    if (this.#checkDueMs() <= 0) {
      const continues = await this.#check(client);
      stepped();
      if (!continues) return;
    }
    const entries = await readNew(client, keys.log, {
      after: this.#witness.offset,
      waitMs: this.#checkDueMs(),
      size: this.#pageSize,
    });
    const joins = this.#joinsOn(entries);
    // Check after the read: if the last entry that this node had read exists now, the entry also existed during the
    // read, so nothing between that entry and the new ones was trimmed.
    const isDue = !joins || this.#total === undefined ||
      this.#checkDueMs() <= 0;
    if (!isDue || await this.#check(client, entries[0], joins)) {
      this.#take(entries);
    }
    stepped();
  }

  #checkDueMs(): number {
    return this.#witness.checkDueMs(performance.now());
  }

  /**
   * Returns whether `entries` directly follow the last entry that this node has read. The totals that entries contain
   * show this.
   */
  #joinsOn(entries: readonly LogEntry[]): boolean {
    let total = this.#total;
    for (const entry of entries) {
      // The entry that begins a new epoch makes the reader report a gap anyway.
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

  /** Determines the id at which reading begins, and reads the messages of the last `recoverySeconds` before that id. */
  async #start(client: RedisClient): Promise<void> {
    const { keys, recoverySeconds, reader } = this.#options;
    const witness = this.#witness;
    await this.#check(client);
    await this.#readGaps(client);
    const { recent, floor } = await readRecent(client, keys.log, {
      end: witness.offset,
      epoch: witness.epoch,
      seconds: recoverySeconds,
      skip: (id, why) => this.#skip(id, why),
    });
    reader.started(recent, floor);
    this.#started = true;
  }

  /**
   * Reads the gaps of Redis channels that were recorded in this epoch so far. Later gaps are read from the log, in
   * order with the messages.
   */
  async #readGaps(client: RedisClient): Promise<void> {
    const skip = (id: string, why: string): void => this.#skip(id, why);
    const gaps = await readGaps(client, this.#options.keys, skip);
    for (const [id, channels] of gaps) {
      if (compareIds(id, this.#witness.began) < 0) continue;
      try {
        this.gaps.add(id, parseChannels(channels));
      } catch (error) {
        this.#skip(id, String(error));
      }
    }
  }

  /**
   * Checks the log, and reports a gap if entries are missing. `next` is the first of the entries that were just read,
   * and `joins` says whether `next` directly follows the last entry that this node had read before.
   *
   * @returns `false` if this node continues in another epoch. The entries that were just read must then be discarded.
   */
  async #check(
    client: RedisClient,
    next?: LogEntry,
    joins = true,
  ): Promise<boolean> {
    const { reader } = this.#options;
    const { lineage } = this.#witness;
    const answer = await this.#continuity.ask(client, !this.#started);
    const { finding } = answer;
    const verdict = this.#continuity.take(answer);
    if (verdict.kind === "started") this.#total = finding.total;
    if (verdict.kind === "epoch") {
      this.#total = undefined;
      this.gaps.clear();
      reader.gap("epoch", verdict.offset, verdict.since);
      await this.#readGaps(client);
    } else if (verdict.kind === "cut" || !joins) {
      await this.#skipTrimmed(client, next, finding.last);
    }
    if (lineage !== "" && this.#witness.lineage !== lineage) {
      reader.lineageChanged();
    }
    return verdict.kind !== "epoch";
  }

  /** Continues after entries that were trimmed before this node could read them, and reports a gap. */
  async #skipTrimmed(
    client: RedisClient,
    next: LogEntry | undefined,
    last: string,
  ): Promise<void> {
    const { observe, reader } = this.#options;
    const witness = this.#witness;
    const since = formatPosition(witness.epoch, witness.offset);
    observe({ kind: "log_trimmed_unread", after: witness.offset });
    const id = next?.messages?.[0]?.id ?? next?.id;
    witness.skippedTo(id === undefined ? last : idBefore(id));
    this.#total = undefined;
    reader.gap("trimmed", witness.offset, since);
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
          else this.#skip(message.id, NOT_JSON);
        }
      }
      this.#witness.read(entry.id, entry.messages !== undefined, now);
    }
    flush();
  }

  /** Handles an entry without messages. */
  #takeOther({ id, fields }: LogEntry): void {
    const { reader, cluster } = this.#options;
    const witness = this.#witness;
    try {
      if (fields.probe !== undefined) this.#probes.get(fields.probe)?.();
      else if (fields.node !== undefined) witness.announced(fields.node);
      else if (fields.epoch !== undefined) {
        this.#takeEpoch(fields.epoch, id, fields.why);
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
          "Cannot read the entry: its kind is unknown, so another program or a newer Roomcast wrote it; run one version on all nodes",
        );
      }
    } catch (error) {
      this.#skip(id, String(error));
    }
  }

  #takeEpoch(
    epoch: string,
    id: string,
    why = "another node has begun it",
  ): void {
    const { observe, reader } = this.#options;
    if (epoch === this.#witness.epoch) return;
    const since = this.#witness.epochBegan(epoch, id);
    this.#total = undefined;
    this.gaps.clear();
    observe({ kind: "epoch_changed", epoch, why });
    reader.gap("epoch", id, since);
  }

  #beginsEpoch({ fields }: LogEntry): boolean {
    return fields.epoch !== undefined && fields.epoch !== this.#witness.epoch;
  }

  #skip(id: string, why: string): void {
    this.#options.observe({ kind: "entry_skipped", id, why });
  }
}
