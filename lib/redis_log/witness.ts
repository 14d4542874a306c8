/**
 * The witness: keeps the ids of entries that one node knows, so that the node can confirm that the log still holds
 * them.
 *
 * A node knows the last entry that it has read, and the entries that it has acknowledged to publishers and not read
 * yet. All of them have to be in the log, whichever server holds the log. Otherwise the epoch has ended, and every
 * client receives a gap. See `docs/decisions/0014-epochs-and-fail-over.md`.
 *
 * The witness does no I/O and reads no clock: callers pass the time, in ms of one monotonic clock.
 *
 * @module
 */
import type { Finding, Question } from "./check.ts";
import { Deque } from "../util/deque.ts";
import { Peers } from "./peers.ts";
import { compareIds, formatPosition, ID_ZERO } from "../log/position.ts";

/** Number of ids of read entries that are kept, because the reply to a publish may arrive after its entry was read. */
const READ_IDS_MAX = 8192;
/**
 * Maximum number of entries that are acknowledged and not read yet, and of those that the next check asks for by id. At
 * either limit this node acknowledges no further message.
 */
const UNREAD_MAX = 65_536;
const DOUBTFUL_MAX = 1000;
/**
 * Time from a check to the next, in ms. `CHECK_PENDING_MS` applies until other nodes have confirmed the epoch and read
 * that this node has joined; `CHECK_REFUSED_MS` applies while Redis is a replica and takes no writes.
 */
const CHECK_MS = 1000;
const CHECK_PENDING_MS = 50;
const CHECK_REFUSED_MS = 500;
/** Maximum age of the last check, in ms. A node with an older one acknowledges nothing: others may have dropped it. */
const LEASE_MS = 3000;

/** The consequence of a check for this node. */
export type Verdict =
  | { readonly kind: "started" | "same" }
  | { readonly kind: "cut"; readonly after: string }
  /** The log continues after `offset` in another epoch. `since` is the position of the last entry before that. */
  | {
    readonly kind: "epoch";
    readonly offset: string;
    readonly since: string;
  };

/** Keeps the entries that one node knows, and decides which messages the node may acknowledge. */
export class Witness {
  /** The name of this node. */
  readonly node = crypto.randomUUID();
  readonly #peers = new Peers(this.node);
  #epoch = "";
  #began = ID_ZERO;
  #offset = ID_ZERO;
  #offsetIsEntry = false;
  /** The server of the last check, its run id, and the server for which this node last saw the epoch confirmed. */
  #server = "";
  #runId = "";
  #confirmedFor = "";
  #lineage = "";
  /** Whether the epoch was confirmed at the last check, and reading has not been interrupted since. */
  #confirmed = false;
  #checkedAt = -Infinity;
  #checkDue = -Infinity;
  #writable = false;
  #joinedAt = "";
  #admitted = false;
  /** Time at which this node last read a message, and time at which it last acknowledged an unread one. */
  #learnedAt = -Infinity;
  #acknowledgedAt = -Infinity;
  /** Ids of recently read entries. The list is used as a ring, to drop the oldest. */
  readonly #readIds = new Set<string>();
  readonly #readList: string[] = [];
  #readNext = 0;
  /** Entries that are acknowledged and not read yet, oldest first. */
  #unread = new Deque<string>();
  /** Acknowledged entries that the next check asks for by id. */
  #doubtful: string[] = [];
  #saves = 0;

  /** The log's epoch; empty before the first check. */
  get epoch(): string {
    return this.#epoch;
  }

  /** The id at which the epoch began. */
  get began(): string {
    return this.#began;
  }

  /** The id up to which this node has read. */
  get offset(): string {
    return this.#offset;
  }

  /** Changes if saved sessions may be lost. Sessions of another lineage may lack their newest rooms. */
  get lineage(): string {
    return this.#lineage;
  }

  /** The server of the last check; empty before the first check. */
  get server(): string {
    return this.#server;
  }

  /** Whether the last check has confirmed that the log still has all messages that clients have received. */
  get confirmed(): boolean {
    return this.#confirmed;
  }

  /** Returns the time until the next check is due, in ms; zero or less if it is due. */
  checkDueMs(now: number): number {
    return this.#checkDue - now;
  }

  /** Returns whether an entry with this id was read recently. */
  hasRead(id: string): boolean {
    return this.#readIds.has(id) || id === this.#offset;
  }

  /** Whether every other live node knows this node, so that this node may acknowledge messages. */
  get admitted(): boolean {
    return this.#admitted;
  }

  /** Returns whether messages that the Redis with the run id `runId` has appended may be acknowledged. */
  mayAcknowledge(runId: string, now: number): boolean {
    return this.#admitted && this.#writable &&
      this.#runId === runId && this.#unread.size < UNREAD_MAX &&
      this.#doubtful.length < DOUBTFUL_MAX && now - this.#checkedAt < LEASE_MS;
  }

  /** Records that an entry was read. `message` says whether it holds messages. */
  read(id: string, message: boolean, now: number): void {
    this.#offset = id;
    this.#offsetIsEntry = true;
    if (message) this.#learnedAt = now;
    this.#remember(id);
    let first = this.#unread.first;
    while (first !== undefined && compareIds(first, id) <= 0) {
      // An acknowledged entry should have been read before this one, but was not.
      if (first !== id) this.#doubt(first);
      this.#unread.shift();
      first = this.#unread.first;
    }
  }

  #remember(id: string): void {
    const oldest = this.#readList[this.#readNext];
    if (oldest !== undefined) this.#readIds.delete(oldest);
    this.#readList[this.#readNext] = id;
    this.#readNext = (this.#readNext + 1) % READ_IDS_MAX;
    this.#readIds.add(id);
  }

  /** Records that a publish is about to be acknowledged, with the id of the entry that holds it. */
  acknowledged(id: string, now: number): void {
    if (this.hasRead(id)) {
      this.#learnedAt = now;
      return;
    }
    this.#acknowledgedAt = now;
    const newest = this.#unread.last;
    if (id === newest) return;
    // If ids decrease, the log has lost entries, and the next check has to ask for entries of both branches.
    if (newest !== undefined && compareIds(id, newest) < 0) this.#doubt(newest);
    if (compareIds(id, this.#offset) > 0) this.#unread.push(id);
    else this.#doubt(id);
  }

  /** Records that Redis has acknowledged save number `count` of sessions. */
  saved(count: number): void {
    this.#saves = Math.max(this.#saves, count);
  }

  /**
   * Records that reading was interrupted. The next check asks for the newest acknowledged entry by id, because entries
   * that are acknowledged from now on may be on another server.
   */
  interrupted(): void {
    this.#confirmed = false;
    this.#checkDue = -Infinity;
    const newest = this.#unread.last;
    if (newest !== undefined && this.#doubtful.at(-1) !== newest) {
      this.#doubt(newest);
    }
  }

  /** Records that an entry of the log announces another node, which waits until this node has read the entry. */
  announced(node: string): void {
    if (node === this.node) return;
    this.#peers.announced(node);
    this.#checkDue = -Infinity;
  }

  /** Records that an epoch begins with this entry of the log. Returns the position of the last entry before it. */
  epochBegan(epoch: string, id: string): string {
    return this.#begin(epoch, id, id, true);
  }

  /** Records that reading continues after `offset`, which is not an entry, because entries before it were trimmed. */
  skippedTo(offset: string): void {
    this.#offset = offset;
    this.#offsetIsEntry = false;
  }

  /** Returns the arguments of a check. */
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

  /** Takes the result of a check that began at `askedAt`. Returns the consequence for this node. */
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
      // Only this node's clients receive a gap for an entry that a replica lacks. If a master lacks the entry too, all
      // clients do.
      else this.#doubt(offset);
    }
    return verdict;
  }

  /** Drops the acknowledged entries up to `newest`, because the gap reports their loss. */
  #dropAcknowledged(newest: string | undefined): void {
    const unread = this.#unread.slice();
    const kept = newest === undefined ? 0 : unread.indexOf(newest) + 1;
    this.#unread = new Deque();
    for (const id of unread.slice(kept)) this.#unread.push(id);
  }

  #judge({ epoch, began, last, lastIsEntry, wrong }: Finding): Verdict {
    // A replica that has not received its master's data yet proves nothing about the log.
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
      // Earlier entries on this server may have been delivered already.
      since = this.#begin(epoch, began, began, true);
    } else if (wrong === "back") {
      // The log lacks entries that this node knew, so the node cannot confirm this epoch any more.
      this.#confirmedFor = "";
      since = this.#begin(epoch, last, last, lastIsEntry);
    } else if (another && compareIds(began, after) <= 0) {
      // Continue at the end and not at the epoch's beginning, because messages of a restored log were delivered before.
      since = this.#begin(epoch, began, last, lastIsEntry);
    } else {
      // An epoch that begins after `offset` is read from the log, in order with the messages around it.
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
    // The entries that reading has passed are either all missing or none is, so it is enough to ask for the first ones.
    if (this.#doubtful.length < DOUBTFUL_MAX) this.#doubtful.push(id);
  }
}

/** Returns the age of a time that may be -Infinity. */
function ageOf(time: number, now: number): number {
  return Math.min(now - time, 1e12);
}
