/**
 * What one node knows of the log, and its word that the log still holds it.
 *
 * The node knows the last entry that it has read, and the entries that it has acknowledged to publishers and not yet
 * met as a reader. Both have to be in the log, whatever server the log is on: otherwise the epoch has ended, and every
 * client is told. See `docs/decisions/0014-epochs-and-fail-over.md`.
 *
 * No I/O and no clock of its own: callers pass the time, in ms of one monotonic clock.
 *
 * @module
 */
import type { Finding, Question } from "./check.ts";
import { Deque } from "../util/deque.ts";
import { Peers } from "./peers.ts";
import { compareIds, formatPosition, ID_ZERO } from "../log/position.ts";

/** Ids of entries that are remembered after they were read: an acknowledgement may arrive after the entry. */
const READ_IDS_MAX = 8192;
/**
 * Entries that may be acknowledged and not yet read, and of those the ones that the next check asks for by name; at
 * either bound nothing more is acknowledged.
 */
const UNREAD_MAX = 65_536;
const DOUBTFUL_MAX = 1000;
/**
 * How long after a check the next one is due, in ms: usually; while other nodes have yet to confirm the epoch or to
 * read that this node has joined; and while Redis takes no writes, as a replica.
 */
const CHECK_MS = 1000;
const CHECK_PENDING_MS = 50;
const CHECK_REFUSED_MS = 500;
/** Nothing is acknowledged by a node whose last check is older than this, in ms: other nodes may count it as gone. */
const LEASE_MS = 3000;

/** What a finding means for this node. */
export type Verdict =
  | { readonly kind: "started" | "same" }
  | { readonly kind: "cut"; readonly after: string }
  /** The log goes on after `offset` in another epoch; `since` is the position of the last entry before. */
  | {
    readonly kind: "epoch";
    readonly offset: string;
    readonly since: string;
  };

/** One node's knowledge of the log. */
export class Witness {
  /** This node's name among the nodes. */
  readonly node = crypto.randomUUID();
  readonly #peers = new Peers(this.node);
  #epoch = "";
  #began = ID_ZERO;
  #offset = ID_ZERO;
  #offsetIsEntry = false;
  /** The server of the last finding, its run, and the server for which this node last saw its epoch confirmed. */
  #server = "";
  #runId = "";
  #confirmedFor = "";
  #lineage = "";
  /** Whether the epoch is confirmed, as far as this node knows since its last check. */
  #confirmed = false;
  #checkedAt = -Infinity;
  #checkDue = -Infinity;
  #writable = false;
  #joinedAt = "";
  #admitted = false;
  /** When it last learned of a message that it has read, and when it last acknowledged another. */
  #learnedAt = -Infinity;
  #acknowledgedAt = -Infinity;
  /** Ids of entries that were read lately; the list says which of them goes next. */
  readonly #readIds = new Set<string>();
  readonly #readList: string[] = [];
  #readNext = 0;
  /** Acknowledged and not yet read, oldest first. */
  #unread = new Deque<string>();
  /** Acknowledged entries that the next check has to find. */
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

  /** Sessions that were saved under another lineage are not to be trusted. */
  get lineage(): string {
    return this.#lineage;
  }

  /** The server of the last check; empty before the first. */
  get server(): string {
    return this.#server;
  }

  /** Whether it is proven that the log here is the one that clients know, as of the last check. */
  get confirmed(): boolean {
    return this.#confirmed;
  }

  /** Time until the next check is due, in ms; not positive if it is due. */
  checkDueMs(now: number): number {
    return this.#checkDue - now;
  }

  /** Whether an entry with this id was read lately. */
  hasRead(id: string): boolean {
    return this.#readIds.has(id) || id === this.#offset;
  }

  /** Whether every other living node knows of this one, so that it may acknowledge. */
  get admitted(): boolean {
    return this.#admitted;
  }

  /** Whether what a Redis with the run id `runId` has appended may be acknowledged. */
  mayAcknowledge(runId: string, now: number): boolean {
    return this.#admitted && this.#writable &&
      this.#runId === runId && this.#unread.size < UNREAD_MAX &&
      this.#doubtful.length < DOUBTFUL_MAX && now - this.#checkedAt < LEASE_MS;
  }

  /** An entry was read; the next ones come after it. `message`: it holds messages. */
  read(id: string, message: boolean, now: number): void {
    this.#offset = id;
    this.#offsetIsEntry = true;
    if (message) this.#learnedAt = now;
    this.#remember(id);
    let first = this.#unread.first;
    while (first !== undefined && compareIds(first, id) <= 0) {
      // Reading has passed an entry that was acknowledged, and has not met it.
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

  /** A publish is about to be acknowledged, with the entry that holds it. */
  acknowledged(id: string, now: number): void {
    if (this.hasRead(id)) {
      this.#learnedAt = now;
      return;
    }
    this.#acknowledgedAt = now;
    const newest = this.#unread.last;
    if (id === newest) return;
    // Ids that go back mean that the log went back, and each branch of it has to be asked for.
    if (newest !== undefined && compareIds(id, newest) < 0) this.#doubt(newest);
    if (compareIds(id, this.#offset) > 0) this.#unread.push(id);
    else this.#doubt(id);
  }

  /** Redis has acknowledged that sessions were saved for the `count`th time. */
  saved(count: number): void {
    this.#saves = Math.max(this.#saves, count);
  }

  /**
   * Reading was interrupted. What was acknowledged until now is asked for by itself in the next check: what is
   * acknowledged from now on may be on another server.
   */
  interrupted(): void {
    this.#confirmed = false;
    this.#checkDue = -Infinity;
    const newest = this.#unread.last;
    if (newest !== undefined && this.#doubtful.at(-1) !== newest) {
      this.#doubt(newest);
    }
  }

  /** An entry of the log says that another node has joined, and waits until this one confirms that it knows. */
  announced(node: string): void {
    if (node === this.node) return;
    this.#peers.announced(node);
    this.#checkDue = -Infinity;
  }

  /** An entry of the log says that an epoch began with it. */
  epochBegan(epoch: string, id: string): string {
    return this.#begin(epoch, id, id, true);
  }

  /** Reading goes on after `offset`, which is no entry: what lies before it was trimmed. */
  skippedTo(offset: string): void {
    this.#offset = offset;
    this.#offsetIsEntry = false;
  }

  /** What to ask Redis. */
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

  /** Takes what Redis answered to `question`, which was asked at `askedAt`. */
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
    // The entry by which this node announced itself may be lost before the others have read it.
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
    // A replica can begin no epoch, so what it lacks has to be asked for again when there is a master.
    if (this.#writable) {
      const asked = new Set(acknowledged);
      this.#doubtful = this.#doubtful.filter((id) => !asked.has(id));
    }
    if (verdict.kind === "epoch") {
      if (this.#writable) this.#giveUp(acknowledged.at(-1));
      // Only this node's clients are told here. If a master lacks this entry, too, all have to be told.
      else this.#doubt(offset);
    }
    return verdict;
  }

  /** Forgets what was acknowledged up to an entry: the gap tells of it. */
  #giveUp(newest: string | undefined): void {
    const unread = this.#unread.slice();
    const kept = newest === undefined ? 0 : unread.indexOf(newest) + 1;
    this.#unread = new Deque();
    for (const id of unread.slice(kept)) this.#unread.push(id);
  }

  #judge({ epoch, began, last, lastIsEntry, wrong }: Finding): Verdict {
    // A replica that has received nothing from its master yet says nothing about the log.
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
      // What lies before it on this server may hold again what was delivered already.
      since = this.#begin(epoch, began, began, true);
    } else if (wrong === "back") {
      // The epoch goes on without what this node knew: it cannot confirm it any more.
      this.#confirmedFor = "";
      since = this.#begin(epoch, last, last, lastIsEntry);
    } else if (another && compareIds(began, after) <= 0) {
      // Not from where it began: a log that was restored is an old one, and its messages have been delivered.
      since = this.#begin(epoch, began, last, lastIsEntry);
    } else {
      // A new epoch further on is met there, in order with the messages around it.
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
    // Entries that reading has passed are all missing or none is: the first of them decide.
    if (this.#doubtful.length < DOUBTFUL_MAX) this.#doubtful.push(id);
  }
}

/** A time before the first message counts as long ago. */
function ageOf(time: number, now: number): number {
  return Math.min(now - time, 1e12);
}
