/**
 * The ring: what this node has lately delivered.
 *
 * @module
 */
import { Deque } from "../util/deque.ts";
import type { Entry } from "../log/log.ts";
import { compareIds, ID_ZERO, timestampOf } from "../log/position.ts";

/** What a message costs besides its text: the entry, its places in two lists, its frame. */
const ENTRY_BYTES = 400;

/** One room's messages, and what was last asked of them. */
class RoomBuffer extends Deque<Entry> {
  asked:
    | { readonly id: string; readonly entries: readonly Entry[] }
    | undefined;
}

/**
 * The recent part of the log as this node has delivered it, by room, bounded in bytes. A client that comes back is
 * replayed from here in one synchronous step with its joining, so that nothing falls between; and however many come
 * back at once, Redis is not asked.
 */
export class Ring {
  readonly #bytesMax: number;
  readonly #rooms = new Map<string, RoomBuffer>();
  /** All entries, oldest first: the order in which they go. */
  #all = new Deque<Entry>();
  #bytes = 0;
  #floor = ID_ZERO;

  /** Makes an empty ring of at most `bytesMax` bytes, counted as two a character and something for the rest. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Every message after this id is in the ring. */
  get floor(): string {
    return this.#floor;
  }

  /** Bytes held, as counted for the bound. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The time between the oldest and the newest message held, in ms. */
  get spanMs(): number {
    const { first, last } = this.#all;
    return first === undefined || last === undefined
      ? 0
      : timestampOf(last.id) - timestampOf(first.id);
  }

  /** Forgets everything: continuity ended at `floor`, and goes on after it. */
  reset(floor: string): void {
    this.#rooms.clear();
    this.#all = new Deque();
    this.#bytes = 0;
    this.#floor = floor;
  }

  /** Adds the newest message; at the bound the oldest go. */
  push(entry: Entry): void {
    let room = this.#rooms.get(entry.room);
    if (room === undefined) {
      this.#rooms.set(entry.room, room = new RoomBuffer());
    }
    room.push(entry);
    this.#all.push(entry);
    this.#bytes += sizeOf(entry);
    while (this.#bytes > this.#bytesMax) this.#drop();
  }

  /** Whether every message after `id` is here. */
  covers(id: string): boolean {
    return compareIds(id, this.#floor) >= 0;
  }

  /** Whether the message with this id is here. */
  has(id: string): boolean {
    return this.#all.at(countUpTo(this.#all, id) - 1)?.id === id;
  }

  /**
   * The messages of a room after `id`, oldest first. Whole only where {@linkcode Ring.covers} says so. Asked the same
   * again, it answers with the same list: those who come back together mostly come from the same place.
   */
  after(name: string, id: string): readonly Entry[] {
    const room = this.#rooms.get(name);
    if (room === undefined) return [];
    if (room.asked?.id !== id || room.asked.entries.at(-1) !== room.last) {
      room.asked = { id, entries: room.slice(countUpTo(room, id)) };
    }
    return room.asked.entries;
  }

  #drop(): void {
    const entry = this.#all.shift();
    if (entry === undefined) return;
    this.#bytes -= sizeOf(entry);
    this.#floor = entry.id;
    const room = this.#rooms.get(entry.room);
    room?.shift();
    if (room !== undefined) room.asked = undefined;
    if (room?.size === 0) this.#rooms.delete(entry.room);
  }
}

/** How many of the entries have ids up to `id`, found by halving. */
function countUpTo(entries: Deque<Entry>, id: string): number {
  let low = 0, high = entries.size;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareIds(entries.at(middle)?.id ?? ID_ZERO, id) <= 0) {
      low = middle + 1;
    } else high = middle;
  }
  return low;
}

function sizeOf(entry: Entry): number {
  return ENTRY_BYTES + 4 * entry.json.length + 2 * entry.room.length;
}
