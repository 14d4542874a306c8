/**
 * Reports to Redis which rooms and users this node serves.
 *
 * @module
 */
import type { Observe } from "../observer.ts";
import { Attempts } from "../redis/attempts.ts";
import type { LogServer } from "../redis/log_server.ts";
import { runScript } from "../redis/script.ts";
import { deadline, pause } from "../util/deadline.ts";
import { randomText } from "../util/random.ts";
import type { LocalRooms, NodeState } from "./occupancy.ts";
import { BEAT, LEAVE, nodeKeys, roomKeys, WRITE } from "./scripts.ts";

/** Time between two heartbeats, in ms. */
const BEAT_INTERVAL_MS = 2000;
/** How long a change waits, in ms, so that several changes are written together. */
const WRITE_DELAY_MS = 250;
/** Pause between two writes if more changes wait than one write takes, in ms. */
const NEXT_WRITE_MS = 20;
/** Pause after a failure, in ms. */
const RETRY_MS = 500;
/** Maximum number of rooms and users that are written with one run of a script, which takes a few ms. */
const CHANGES_MAX = 1000;
/**
 * Maximum number of rooms and users whose changes wait while Redis cannot be reached. If there are more, the node
 * discards them, and writes everything again later.
 */
const WAITING_MAX = 200_000;
/** How long the keys stay in Redis if nobody writes to them, in s. */
const LIFETIME_SECONDS = 900;
/**
 * Time in which everything is written again, in ms. This keeps the keys from expiring, and adds entries that another
 * program has deleted.
 */
const REFRESH_MS = 300_000;
/** Maximum time for telling Redis that the node has left, in ms. */
const LEAVE_TIMEOUT_MS = 500;
/** Bytes of a tag; as text it has 8 characters. */
const TAG_BYTES = 6;

/** Options of {@linkcode Reporter}. */
export interface ReporterOptions {
  readonly server: LogServer;
  readonly local: LocalRooms;
  /** Returns the state of this node. */
  readonly state: () => NodeState;
  /** Called with some of the tags whose entries have to be deleted. */
  readonly onGone: (tags: readonly string[]) => void;
  readonly observe: Observe;
}

/** For each room, the users whose entries in Redis are out of date. */
type Changes = Map<string, Set<string>>;

/**
 * Writes what has changed on this node, some of it at a time, and a heartbeat. If Redis has lost what the node wrote,
 * the node writes everything again under a new tag.
 *
 * A change only says which room and which user to write. What to write is looked up when it is written. Therefore a
 * change may be written late, or once more after a failure.
 *
 * Lifetime: the constructor starts to write. Call `close()` to stop.
 */
export class Reporter {
  readonly #options: ReporterOptions;
  readonly #closing = new AbortController();
  readonly #steps: Attempts;
  readonly #finished: Promise<void>;
  #tag = randomText(TAG_BYTES);
  /** Whether Redis has had a heartbeat under the tag. */
  #isKnown = false;
  /** The number of the last write that Redis has confirmed, and that of the last one that was sent. */
  #written = 0;
  #sent = 0;
  #changes: Changes = new Map();
  /** Number of rooms and users in `#changes`. */
  #waiting = 0;
  /** Whether more than {@linkcode WAITING_MAX} have changed, so that `#changes` is not complete. */
  #hasDiscarded = false;
  /** Ends the pause before the next heartbeat, because something has changed or the reporter is closed. */
  #wake = new AbortController();
  #nextBeat = 0;
  #refreshing: Iterator<readonly [string | undefined, Iterable<string>]>;

  /** Starts to write heartbeats. */
  constructor(options: ReporterOptions) {
    this.#options = options;
    const { signal } = this.#closing;
    this.#steps = new Attempts("counting clients", options.observe, signal);
    this.#refreshing = options.local.memberships()[Symbol.iterator]();
    this.#finished = this.#run();
  }

  /** Records that a client with this user, if it has one, has joined or left a room on this node. */
  changed(room: string, user: string | undefined): void {
    // Each call of `abort()` creates an error, also if the signal is aborted already. That takes several microseconds.
    if (!this.#wake.signal.aborted) this.#wake.abort();
    if (this.#hasDiscarded) return;
    this.#mark(room, user);
    if (!this.#steps.isFailing || this.#waiting <= WAITING_MAX) return;
    this.#hasDiscarded = true;
    this.#discardChanges();
  }

  /** Stops, and tells Redis that the node has left. Never rejects. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake.abort();
    await this.#finished;
    if (!this.#isKnown) return;
    // If this fails, the other nodes treat this node like one that was killed.
    const left = this.#retire(this.#tag);
    await deadline(left, LEAVE_TIMEOUT_MS, "leaving").catch(() => {});
  }

  #mark(room: string, user: string | undefined): void {
    let users = this.#changes.get(room);
    if (users === undefined) {
      this.#changes.set(room, users = new Set());
      this.#waiting++;
    }
    if (user === undefined || users.has(user)) return;
    users.add(user);
    this.#waiting++;
  }

  #discardChanges(): void {
    this.#changes = new Map();
    this.#waiting = 0;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      // A change that is reported during the step, like `close()`, ends the pause after it.
      this.#wake = new AbortController();
      if (!await this.#steps.run(() => this.#step())) {
        await pause(RETRY_MS, signal);
      } else if (this.#changes.size > 0) {
        await pause(NEXT_WRITE_MS, signal);
      } else {
        const waitMs = Math.max(0, this.#nextBeat - performance.now());
        await pause(waitMs, this.#wake.signal);
        if (this.#changes.size > 0) await pause(WRITE_DELAY_MS, signal);
      }
    }
  }

  /** Writes what is due. */
  async #step(): Promise<void> {
    if (performance.now() >= this.#nextBeat) await this.#beat();
    // Redis accepts writes only under a tag that has had a heartbeat.
    if (this.#isKnown && this.#changes.size > 0) await this.#write();
  }

  async #beat(): Promise<void> {
    const { server: { command, keys }, state, onGone } = this.#options;
    const gone = await command((client) =>
      runScript(client, BEAT, [
        ...nodeKeys(keys),
        keys.occupancyRooms,
        keys.occupancyReported(this.#tag),
      ], [
        this.#tag,
        JSON.stringify(state()),
        String(this.#written),
        String(this.#sent),
        this.#isKnown ? "" : "1",
        String(LIFETIME_SECONDS),
      ])
    ) as "lost" | string[];
    if (gone === "lost" || this.#hasDiscarded) return await this.#startAgain();
    this.#isKnown = true;
    this.#nextBeat = performance.now() + BEAT_INTERVAL_MS;
    this.#refreshSome();
    if (gone.length > 0) onGone(gone);
  }

  async #write(): Promise<void> {
    const { server: { command, keys }, state } = this.#options;
    const taken = this.#take();
    const number = ++this.#sent;
    try {
      const reply = await command((client) =>
        runScript(client, WRITE, [
          keys.occupancyVersions,
          keys.occupancyRooms,
          keys.occupancyReported(this.#tag),
          keys.occupancyStates,
          ...roomKeys(keys, taken.keys()),
        ], [
          this.#tag,
          String(this.#written),
          String(number - 1),
          String(number),
          String(LIFETIME_SECONDS),
          JSON.stringify(state()),
          ...this.#format(taken),
        ])
      );
      if (reply === "lost") return await this.#startAgain();
      this.#written = number;
    } catch (error) {
      for (const [room, users] of taken) {
        this.changed(room, undefined);
        for (const user of users) this.changed(room, user);
      }
      throw error;
    }
  }

  /** Removes some changes from those that wait, and returns them. */
  #take(): Changes {
    const taken: Changes = new Map();
    let free = CHANGES_MAX;
    for (const [room, users] of this.#changes) {
      if (free <= 0) break;
      free--;
      const some = new Set<string>();
      for (const user of users) {
        if (free-- <= 0) break;
        some.add(user);
        users.delete(user);
      }
      taken.set(room, some);
      this.#waiting -= some.size;
      if (users.size > 0) continue;
      this.#changes.delete(room);
      this.#waiting--;
    }
    return taken;
  }

  /** Returns the arguments of `WRITE` for some rooms and users, with their state now. */
  *#format(taken: Changes): Generator<string> {
    const { local } = this.#options;
    for (const [room, users] of taken) {
      const present: string[] = [], absent: string[] = [];
      for (const user of users) {
        (local.isIn(user, room) ? present : absent).push(user);
      }
      yield* [room, String(local.clientsIn(room))];
      yield* [String(present.length), String(absent.length)];
      yield* present;
      yield* absent;
    }
  }

  /** Writes everything again under a new tag. Call this when Redis has lost something that this node wrote. */
  async #startAgain(): Promise<void> {
    const { local, observe } = this.#options;
    const old = this.#tag;
    this.#tag = randomText(TAG_BYTES);
    this.#isKnown = false;
    this.#written = this.#sent = 0;
    this.#nextBeat = 0;
    this.#hasDiscarded = false;
    this.#discardChanges();
    for (const [user, rooms] of local.memberships()) {
      for (const room of rooms) this.#mark(room, user);
    }
    observe({ kind: "occupancy_restored", rooms: this.#changes.size });
    await this.#retire(old);
  }

  async #retire(tag: string): Promise<void> {
    const { server: { command, keys } } = this.#options;
    await command((client) =>
      runScript(client, LEAVE, [
        keys.occupancy,
        keys.occupancyStates,
        keys.occupancyVersions,
        keys.occupancyGone,
      ], [tag, String(LIFETIME_SECONDS)])
    );
  }

  /** Marks the next clients, so that all of them are written again within {@linkcode REFRESH_MS}. */
  #refreshSome(): void {
    const { local, state } = this.#options;
    const beats = REFRESH_MS / BEAT_INTERVAL_MS;
    for (let i = Math.ceil(state().clients / beats); i > 0; i--) {
      const { done, value } = this.#refreshing.next();
      if (done) {
        this.#refreshing = local.memberships()[Symbol.iterator]();
        return;
      }
      const [user, rooms] = value;
      for (const room of rooms) this.changed(room, user);
    }
  }
}
