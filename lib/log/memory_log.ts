/**
 * The embedded log: a log in the memory of a node without Redis, which is lost when the process ends.
 *
 * @module
 */
import { Deque } from "../util/deque.ts";
import { IngressGaps } from "./gaps.ts";
import { type HeadState, LogHead } from "./head.ts";
import { fingerprint, keyReused } from "./idempotency.ts";
import {
  type Entry,
  type Gaps,
  type History,
  type HistoryRange,
  type Log,
  type LogReader,
  type Page,
  PAGE_BYTES_MAX,
  type PublishResult,
} from "./log.ts";
import { metaBytes, type PublishRequest } from "./message.ts";
import {
  compareIds,
  formatPosition,
  ID_ZERO,
  laterId,
  newEpoch,
  timestampOf,
} from "./position.ts";

/**
 * Maximum memory of all histories together, in bytes. At the limit, messages of the rooms that have been idle for
 * longest are dropped.
 */
const BYTES_MAX = 256 << 20;
/** An id that is greater than all others. */
const NEVER = "9e15-0";
/** Estimated memory of a message without its room and text, in bytes. */
const ENTRY_BYTES = 200;
/**
 * Maximum number of ids that are remembered for idempotency keys; a key has one for each room of its publish. If there
 * are more, the oldest keys are dropped.
 */
const KEYED_IDS_MAX = 1_000_000;

/** Options of {@linkcode MemoryLog}. */
export interface MemoryLogOptions {
  readonly historySize: number;
  readonly historySeconds: number;
  readonly idempotencySeconds: number;
  readonly reader: LogReader;
  /** Replaces {@linkcode KEYED_IDS_MAX}. */
  readonly keyedIdsMax?: number;
}

/** A room's history, which drops its oldest messages. */
class RoomHistory {
  readonly entries = new Deque<Entry>();
  /** The id up to which messages of the room have been dropped. */
  cut: string;

  /** Creates an empty history of a room whose messages up to the id `cut` may have been dropped. */
  constructor(cut: string) {
    this.cut = cut;
  }

  /** Drops the oldest message, if there is one. Returns the number of freed bytes. */
  shift(): number {
    const entry = this.entries.shift();
    if (entry === undefined) return 0;
    this.cut = entry.id;
    return sizeOf(entry);
  }
}

/** An earlier publish with an idempotency key, by which a repetition is recognized. */
interface KeyedPublish {
  readonly fingerprint: string;
  /** The ids of the publish's messages, in the order of its rooms. */
  readonly ids: readonly string[];
  /** Time of `performance.now()` at which the idempotency key expires. */
  readonly expires: number;
}

/**
 * Keeps the log of a node without Redis in the memory of the process.
 *
 * Limits: {@linkcode BYTES_MAX} bytes for all histories together, and `historySize` and `historySeconds` for each room.
 */
export class MemoryLog implements Log {
  readonly #options: MemoryLogOptions;
  /** Always empty: the embedded log has no Redis channels. */
  readonly gaps: Gaps = new IngressGaps();
  readonly head: LogHead;
  readonly history: History = {
    read: (room, range) => Promise.resolve(this.#read(room, range)),
    clear: (room) => Promise.resolve(this.#clear(room)),
  };
  readonly #epoch = newEpoch();
  /** The histories by room, beginning with the room that has been idle for longest. */
  readonly #rooms = new Map<string, RoomHistory>();
  /** The earlier publishes that had an idempotency key, by key, oldest first. */
  readonly #keys = new Map<string, KeyedPublish>();
  /** Number of ids in `#keys`. */
  #keyedIds = 0;
  #bytes = 0;
  /** The id with which the log begins. All messages get greater ids. */
  readonly #began = `${Date.now()}-0`;
  #last = this.#began;
  /**
   * The greatest id up to which messages of a removed history were dropped; {@linkcode ID_ZERO} if no history was
   * removed.
   */
  #droppedUpTo = ID_ZERO;

  /** Creates an empty log with a new epoch. */
  constructor(options: MemoryLogOptions) {
    this.#options = options;
    this.head = new LogHead(this.#state());
    options.reader.started([], this.#began);
  }

  append(publishes: readonly PublishRequest[]): Promise<PublishResult[][]> {
    const entries: Entry[] = [];
    const answer = publishes.map((publish) => this.#append(publish, entries));
    this.#options.reader.entries(entries);
    this.head.moved();
    return Promise.resolve(answer);
  }

  probe(): Promise<void> {
    return Promise.resolve();
  }

  knows(): boolean {
    return true;
  }

  contains(): Promise<boolean> {
    return Promise.resolve(true);
  }

  #read(name: string, { since, order, limit }: HistoryRange): Page {
    const room = this.#rooms.get(name);
    if (room !== undefined) this.#dropOld(room);
    const cut = room?.cut ?? this.#droppedUpTo;
    const completeSince = laterId(cut, this.#provenSince(room));
    const from = since?.id ?? ID_ZERO;
    const side = order === "asc" ? 1 : -1;
    const kept = limit === 0 ? undefined : room?.entries.slice();
    const range = (kept ?? []).filter(({ id }) =>
      since === undefined || compareIds(id, from) * side > 0
    );
    const messages = firstOf(
      order === "asc" ? range : range.toReversed(),
      limit,
    );
    const more = range.length > messages.length;
    const end = order === "asc" && more
      ? messages.at(-1)?.id ?? this.#last
      : this.#last;
    const known = since === undefined ||
      ((since.epoch === undefined || since.epoch === this.#epoch) &&
        // An id from before this log's beginning belongs to another log.
        compareIds(from, this.#began) >= 0 &&
        compareIds(from, this.#last) <= 0);
    return {
      messages,
      more,
      position: formatPosition(this.#epoch, end),
      complete: known &&
        (order === "asc" && since !== undefined
          ? compareIds(from, completeSince) >= 0
          : (order === "desc" && more) || cut === ID_ZERO),
      completeSince: known ? completeSince : undefined,
    };
  }

  /** Returns an id after which the room certainly lost no message when its history was removed from `#rooms`. */
  #provenSince(room: RoomHistory | undefined): string {
    const oldest = room?.entries.first?.id ?? this.#droppedUpTo;
    return compareIds(oldest, this.#droppedUpTo) < 0
      ? oldest
      : this.#droppedUpTo;
  }

  #clear(name: string): void {
    const room = this.#rooms.get(name);
    while (room !== undefined && room.entries.size > 0) {
      this.#bytes -= room.shift();
    }
  }

  warnings(): readonly string[] {
    return [];
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #state(): HeadState {
    const epoch = this.#epoch, began = this.#began;
    const id = (): string => this.#last;
    return {
      epoch,
      began,
      confirmed: true,
      lineage: epoch,
      get id() {
        return id();
      },
    };
  }

  /**
   * Appends a publish and adds its new messages to `appended`. A publish that repeats an earlier one adds no messages.
   */
  #append(publish: PublishRequest, appended: Entry[]): PublishResult[] {
    const { key, rooms, json, meta } = publish;
    const print = key === undefined ? "" : fingerprint(publish);
    const known = key === undefined ? undefined : this.#find(key);
    if (known !== undefined) {
      return rooms.map((room, index) =>
        known.fingerprint === print
          ? { room, id: known.ids[index] ?? ID_ZERO, duplicate: true }
          : { room, error: keyReused() }
      );
    }
    const entries = rooms.map((room) =>
      this.#add({ id: this.#nextId(), room, json, ...(meta && { meta }) })
    );
    if (key !== undefined) {
      this.#keep(
        key,
        print,
        entries.map(({ id }) => id),
      );
    }
    appended.push(...entries);
    return entries.map(({ room, id }) => ({ room, id, duplicate: false }));
  }

  #add(entry: Entry): Entry {
    const room = this.#rooms.get(entry.room) ??
      new RoomHistory(
        this.#isOld(this.#droppedUpTo) ? ID_ZERO : this.#droppedUpTo,
      );
    this.#rooms.delete(entry.room);
    this.#rooms.set(entry.room, room);
    room.entries.push(entry);
    this.#bytes += sizeOf(entry);
    if (room.entries.size > this.#options.historySize) {
      this.#bytes -= room.shift();
    }
    this.#enforceLimits();
    return entry;
  }

  /**
   * Drops messages until all histories together fit into {@linkcode BYTES_MAX}. Also removes an empty history from
   * `#rooms` if its last dropped message is older than `historySeconds`, or if memory has to be freed.
   */
  #enforceLimits(): void {
    for (const [name, idlest] of this.#rooms) {
      this.#dropOld(idlest);
      while (this.#bytes > BYTES_MAX && idlest.entries.size > 0) {
        this.#bytes -= idlest.shift();
      }
      const forgettable = idlest.entries.size === 0 &&
        (this.#bytes > BYTES_MAX || this.#isOld(idlest.cut));
      if (!forgettable) break;
      if (compareIds(idlest.cut, this.#droppedUpTo) > 0) {
        this.#droppedUpTo = idlest.cut;
      }
      this.#rooms.delete(name);
    }
  }

  /** Drops the messages of a room that are older than `historySeconds`. */
  #dropOld(room: RoomHistory): void {
    while (this.#isOld(room.entries.first?.id ?? NEVER)) {
      this.#bytes -= room.shift();
    }
  }

  /** Returns whether a message with this id is older than `historySeconds`. */
  #isOld(id: string): boolean {
    return timestampOf(id) < Date.now() - this.#options.historySeconds * 1000;
  }

  /** Returns the next id, which is greater than the last one even if the clock was set back. */
  #nextId(): string {
    const now = Date.now();
    const [ms = 0, seq = 0] = this.#last.split("-").map(Number);
    return this.#last = now > ms ? `${now}-0` : `${ms}-${seq + 1}`;
  }

  #find(key: string): KeyedPublish | undefined {
    const known = this.#keys.get(key);
    return known !== undefined && known.expires > performance.now()
      ? known
      : undefined;
  }

  #keep(key: string, fingerprint: string, ids: string[]): void {
    const { keyedIdsMax = KEYED_IDS_MAX } = this.#options;
    this.#dropKey(key);
    this.#keyedIds += ids.length;
    const now = performance.now();
    this.#keys.set(key, {
      fingerprint,
      ids,
      expires: now + this.#options.idempotencySeconds * 1000,
    });
    for (const [oldest, { expires }] of this.#keys) {
      if (expires > now && this.#keyedIds <= keyedIdsMax) break;
      this.#dropKey(oldest);
    }
  }

  #dropKey(key: string): void {
    this.#keyedIds -= this.#keys.get(key)?.ids.length ?? 0;
    this.#keys.delete(key);
  }
}

function sizeOf(entry: Entry): number {
  return ENTRY_BYTES + 2 * (entry.json.length + entry.room.length) +
    metaBytes(entry.meta);
}

/**
 * Returns the first entries: at most `limit`, and none after the entry with which their JSON reaches {@linkcode
 * PAGE_BYTES_MAX} characters.
 */
function firstOf(entries: readonly Entry[], limit: number): Entry[] {
  let bytes = 0, count = 0;
  while (count < Math.min(limit, entries.length) && bytes < PAGE_BYTES_MAX) {
    bytes += entries[count++]?.json.length ?? 0;
  }
  return entries.slice(0, count);
}
