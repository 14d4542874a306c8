/**
 * The witness: keeps the ids of entries that one node has read or acknowledged, so that a check of the log can show
 * whether Redis still has them.
 *
 * The ids are that of the last entry that the node has read, and those of entries that the node has acknowledged to
 * publishers and not read yet. All these entries have to be in the log, whichever server holds the log. Otherwise the
 * epoch ends, and every client receives a gap. See `docs/decisions/0014-epochs-and-fail-over.md`.
 *
 * The witness does no I/O and reads no clock: callers pass the time, in ms of `performance.now()`.
 *
 * @module
 */
import type { Finding, Question } from "./check.ts";
import { Deque } from "../util/deque.ts";
import { Peers } from "./peers.ts";
import { RecentIds } from "./recent_ids.ts";
import { compareIds, formatPosition, ID_ZERO } from "../log/position.ts";

/** How many ids of read entries are remembered. An entry may be read before its publishes are acknowledged. */
const READ_IDS_MAX = 8192;
/** Maximum number of acknowledged entries not read yet; at the limit, this node acknowledges no further message. */
const UNREAD_MAX = 65_536;
/** Maximum number of entries for which the next check asks; at the limit, no further message is acknowledged. */
const DOUBTFUL_MAX = 1000;
/** Time between two checks of the log, in ms. */
const CHECK_MS = 1000;
/** Time between two checks of the log while this node waits for other nodes, in ms. */
const CHECK_PENDING_MS = 50;
/** Time between two checks of the log while Redis refuses writes, in ms. */
const CHECK_REFUSED_MS = 500;
/** Maximum age of the last check of the log with which this node still acknowledges messages, in ms. */
const LEASE_MS = 3000;

/** What this node has to do after a check of the log. */
export type Verdict =
  | { readonly kind: "started" | "same" }
  | { readonly kind: "cut"; readonly after: string }
  /** Continue after the id `offset` in another epoch. `since` is the position of the last entry that was read. */
  | {
    readonly kind: "epoch";
    readonly offset: string;
    readonly since: string;
  };

/**
 * Keeps the ids of entries that one node has read or acknowledged, and decides when the node may acknowledge messages.
 */
export class Witness {
  /** This node's name, unique among the nodes. */
  readonly node = crypto.randomUUID();
  readonly #peers = new Peers(this.node);
  #epoch = "";
  #began = ID_ZERO;
  #offset = ID_ZERO;
  #offsetIsEntry = false;
  /** The Redis server of the last check, as `<run id>:<replication id>`. */
  #server = "";
  /** The run id of the Redis server of the last check. */
  #runId = "";
  /** The Redis server for which this node last saw the epoch confirmed. */
  #confirmedFor = "";
  #lineage = "";
  /** Whether the last check has confirmed the epoch and reading was not interrupted since then. */
  #confirmed = false;
  #checkedAt = -Infinity;
  #checkDue = -Infinity;
  #writable = false;
  #joinedAt = "";
  #admitted = false;
  /** When this node last read a message. */
  #learnedAt = -Infinity;
  /** When this node last acknowledged a message that it had not read. */
  #acknowledgedAt = -Infinity;
  /** Ids of the entries that this node has read last. */
  readonly #readIds = new RecentIds(READ_IDS_MAX);
  /** Ids of entries that this node has acknowledged and not read yet, oldest first. */
  #unread = new Deque<string>();
  /** Ids of acknowledged entries that may be missing, so that the next check asks Redis for each of them. */
  #doubtful: string[] = [];
  #saves = 0;

  /** The epoch that this node reads; empty before the first check. */
  get epoch(): string {
    return this.#epoch;
  }

  /** The id of the entry with which the epoch began. */
  get began(): string {
    return this.#began;
  }

  /** The id up to which this node has read the log. */
  get offset(): string {
    return this.#offset;
  }

  /** The name under which sessions are saved; it changes if Redis may have lost saved sessions. */
  get lineage(): string {
    return this.#lineage;
  }

  /** The Redis server of the last check, as `<run id>:<replication id>`; empty before the first check. */
  get server(): string {
    return this.#server;
  }

  /** Whether it is confirmed that the log still has all messages that clients have received. */
  get confirmed(): boolean {
    return this.#confirmed;
  }

  /** Returns the time until the next check of the log is due, in ms; zero or less if a check is due now. */
  checkDueMs(now: number): number {
    return this.#checkDue - now;
  }

  /** Returns whether this node has recently read an entry with this id. */
  hasRead(id: string): boolean {
    return this.#readIds.has(id) || id === this.#offset;
  }

  /** Whether all other running nodes know of this node. Only then may this node acknowledge messages. */
  get admitted(): boolean {
    return this.#admitted;
  }

  /** Returns whether this node may acknowledge messages that the Redis server with this run id has appended. */
  mayAcknowledge(runId: string, now: number): boolean {
    return this.#admitted && this.#writable &&
      this.#runId === runId && this.#unread.size < UNREAD_MAX &&
      this.#doubtful.length < DOUBTFUL_MAX && now - this.#checkedAt < LEASE_MS;
  }

  /** Records that this node has read the entry with this id. `message` says whether the entry contains messages. */
  read(id: string, message: boolean, now: number): void {
    this.#offset = id;
    this.#offsetIsEntry = true;
    if (message) this.#learnedAt = now;
    this.#readIds.add(id);
    let first = this.#unread.first;
    while (first !== undefined && compareIds(first, id) <= 0) {
      // The acknowledged entry `first` should have been read before the entry `id`, but was not.
      if (first !== id) this.#doubt(first);
      this.#unread.shift();
      first = this.#unread.first;
    }
  }

  /** Records that messages in the entry with this id, or in earlier entries, are about to be acknowledged. */
  acknowledged(id: string, now: number): void {
    if (this.hasRead(id)) {
      this.#learnedAt = now;
      return;
    }
    this.#acknowledgedAt = now;
    const newest = this.#unread.last;
    if (id === newest) return;
    // If ids decrease, the log has lost entries, so the next check asks for the entry with the greater id too.
    if (newest !== undefined && compareIds(id, newest) < 0) this.#doubt(newest);
    if (compareIds(id, this.#offset) > 0) this.#unread.push(id);
    else this.#doubt(id);
  }

  /** Records that Redis has acknowledged this node's save of sessions with the number `count`, counted from 1. */
  saved(count: number): void {
    this.#saves = Math.max(this.#saves, count);
  }

  /**
   * Records that reading was interrupted, for example by a reconnect. The next check also asks for the newest entry
   * that was acknowledged so far, because entries acknowledged from now on may be on another server.
   */
  interrupted(): void {
    this.#confirmed = false;
    this.#checkDue = -Infinity;
    const newest = this.#unread.last;
    if (newest !== undefined && this.#doubtful.at(-1) !== newest) {
      this.#doubt(newest);
    }
  }

  /**
   * Records that an entry of the log announces the node `node`, which waits until all other nodes have read the entry.
   */
  announced(node: string): void {
    if (node === this.node) return;
    this.#peers.announced(node);
    this.#checkDue = -Infinity;
  }

  /**
   * Records that the entry with this id begins an epoch. Returns the position up to which this node had read before.
   */
  epochBegan(epoch: string, id: string): string {
    return this.#begin(epoch, id, id, true);
  }

  /**
   * Records that entries up to the id `offset` were trimmed before this node read them, so that reading continues after
   * that id. The log need not have an entry with this id.
   */
  skippedTo(offset: string): void {
    this.#offset = offset;
    this.#offsetIsEntry = false;
  }

  /** Returns the arguments of a check of the log. If the check begins an epoch, `candidate` becomes its name. */
  question(
    candidate: string,
    now: number,
    intent: Question["intent"] = this.#joinedAt === "" ? "join" : "stay",
  ): Question {
    const newest = this.#unread.last;
    return {
      candidate,
      node: this.node,
      epoch: this.#epoch,
      offset: this.#offset,
      offsetIsEntry: this.#offsetIsEntry,
      acknowledged: newest === undefined
        ? [...this.#doubtful]
        : [...this.#doubtful, newest],
      saves: this.#saves,
      server: this.#confirmedFor,
      knowledgeAgeMs: ageOf(this.#learnedAt, now),
      acknowledgedAgeMs: ageOf(this.#acknowledgedAt, now),
      known: this.#peers.known,
      silent: this.#peers.silent(this.#offset, now),
      intent,
    };
  }

  /** Handles the result of a check that began at `askedAt`. Returns what this node has to do. */
  take(
    { acknowledged, offset }: Question,
    finding: Finding,
    askedAt: number,
  ): Verdict {
    this.#checkedAt = askedAt;
    this.#server = finding.server;
    this.#runId = finding.server.slice(0, finding.server.indexOf(":"));
    this.#confirmed = finding.state === "confirmed";
    this.#writable = finding.state !== "replica";
    if (this.#confirmed) this.#confirmedFor = finding.server;
    if (finding.lineage !== "") this.#lineage = finding.lineage;
    const verdict = this.#judge(finding);
    // The entry that announced this node may have been lost before the other nodes read it.
    if (verdict.kind === "epoch" && !this.#admitted) this.#joinedAt = "";
    if (finding.joinedAt !== "") {
      this.#joinedAt = finding.joinedAt;
      this.#admitted = false;
    }
    if (this.#writable) {
      if (!finding.nodes.has(this.node)) {
        this.#joinedAt = "";
        this.#admitted = false;
      }
      this.#peers.update(finding.nodes, finding.last, askedAt);
      this.#admitted ||= this.#joinedAt !== "" &&
        this.#peers.haveRead(this.#joinedAt, finding.now, askedAt);
    }
    this.#checkDue = askedAt + (
      !this.#writable || this.#joinedAt === ""
        ? CHECK_REFUSED_MS
        : this.#confirmed && this.#admitted
        ? CHECK_MS
        : CHECK_PENDING_MS
    );
    // A replica cannot begin an epoch, so the next check has to ask a master for the entries that the replica lacks.
    if (this.#writable) {
      const asked = new Set(acknowledged);
      this.#doubtful = this.#doubtful.filter((id) => !asked.has(id));
    }
    if (verdict.kind === "epoch") {
      if (this.#writable) this.#dropAcknowledged(acknowledged.at(-1));
      // Ask a master for this entry later: if the master lacks it too, all nodes' clients have to receive a gap.
      else this.#doubt(offset);
    }
    return verdict;
  }

  /** Drops the ids of acknowledged entries up to `newest`, because clients now receive a gap for these entries. */
  #dropAcknowledged(newest: string | undefined): void {
    const unread = this.#unread.slice();
    const kept = newest === undefined ? 0 : unread.indexOf(newest) + 1;
    this.#unread = new Deque();
    for (const id of unread.slice(kept)) this.#unread.push(id);
  }

  #judge({ epoch, began, last, lastIsEntry, wrong }: Finding): Verdict {
    // An empty epoch means that a replica does not have its master's data yet. It proves nothing about the log.
    if (epoch === "") return { kind: "same" };
    if (this.#epoch === "") {
      this.#epoch = epoch;
      this.#began = began;
      this.#offset = last;
      this.#offsetIsEntry = lastIsEntry;
      return { kind: "started" };
    }
    const after = this.#offset;
    if (wrong === "cut") return { kind: "cut", after };
    const another = epoch !== this.#epoch;
    let since: string;
    if (wrong === "lost" && another) {
      // Continue at the epoch's beginning, because earlier entries may have been delivered before.
      since = this.#begin(epoch, began, began, true);
    } else if (wrong === "back") {
      // This Redis lacks entries that this node had read, so the node must not confirm this epoch for another server.
      this.#confirmedFor = "";
      since = this.#begin(epoch, last, last, lastIsEntry);
    } else if (another && compareIds(began, after) <= 0) {
      // Continue at the log's end, because the messages of a restored log were delivered before.
      since = this.#begin(epoch, began, last, lastIsEntry);
    } else {
      // An epoch that begins after the last read entry is read from the log, in order with the messages.
      return { kind: "same" };
    }
    return { kind: "epoch", offset: this.#offset, since };
  }

  #begin(
    epoch: string,
    began: string,
    offset: string,
    isEntry: boolean,
  ): string {
    const since = formatPosition(this.#epoch, this.#offset);
    this.#epoch = epoch;
    this.#began = began;
    this.#offset = offset;
    this.#offsetIsEntry = isEntry;
    return since;
  }

  #doubt(id: string): void {
    this.#checkDue = -Infinity;
    // Of the acknowledged entries that reading has passed, all or none are missing, so asking for the first ones is
    // enough.
    if (this.#doubtful.length < DOUBTFUL_MAX) this.#doubtful.push(id);
  }
}

/** Returns the time from `time` to `now` in ms, at most 1e12, because `time` may be -Infinity. */
function ageOf(time: number, now: number): number {
  return Math.min(now - time, 1e12);
}
