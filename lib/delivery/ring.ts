/**
 * The ring: the messages that this node delivered most recently.
 *
 * @module
 */
import type { Entry } from "../log/log.ts";
import { metaBytes } from "../log/message.ts";
import { compareIds, ID_ZERO, timestampOf } from "../log/position.ts";
import { Deque } from "../util/deque.ts";

/** Estimated memory of a message in the ring without the message's texts, in bytes. */
const ENTRY_BYTES = 400;

/** The messages of one room in the ring. */
class RoomBuffer extends Deque<Entry> {
  /** The last result of {@linkcode Ring.after} for this room, and the id for which it was returned. */
  cachedSlice:
    | { readonly id: string; readonly entries: readonly Entry[] }
    | undefined;
}

/**
 * Holds the messages that this node has delivered most recently, by room.
 *
 * A reconnecting client gets the messages that it missed from the ring, in the same synchronous step in which it joins
 * its rooms, so that no message is delivered in between. Redis is therefore not read for these messages, however many
 * clients reconnect at once.
 *
 * Guarantees: every message after the id {@linkcode Ring.floor} is in the ring. Limits: at most `bytesMax` bytes; the
 * oldest messages are removed if there are more.
 */
export class Ring {
  readonly #bytesMax: number;
  readonly #rooms = new Map<string, RoomBuffer>();
  /** The messages of all rooms, oldest first. The oldest message is removed first. */
  #all = new Deque<Entry>();
  #bytes = 0;
  #dropped = 0;
  #floor = ID_ZERO;

  /**
   * Creates an empty ring.
   *
   * @param bytesMax Maximum of {@linkcode Ring.bytes}. Messages count as {@linkcode entryBytes} says.
   */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The id after which every message is in the ring. */
  get floor(): string {
    return this.#floor;
  }

  /** Estimated memory of the messages in the ring, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Number of bytes of the messages that were removed so far. Rises as long as the node runs. */
  get droppedBytes(): number {
    return this.#dropped;
  }

  /** The time between the oldest and the newest message in the ring, in ms. */
  get spanMs(): number {
    const { first, last } = this.#all;
    return first === undefined || last === undefined
      ? 0
      : timestampOf(last.id) - timestampOf(first.id);
  }

  /**
   * Removes all messages and sets the ring's `floor`. If the log already has messages after `floor`, the caller has to
   * add them to the ring.
   */
  reset(floor: string): void {
    this.#rooms.clear();
    this.#all = new Deque();
    this.#dropped += this.#bytes;
    this.#bytes = 0;
    this.#floor = floor;
  }

  /**
   * Adds a message, which must be newer than all messages in the ring. Removes the oldest messages if the ring then
   * exceeds its limit.
   */
  push(entry: Entry): void {
    let room = this.#rooms.get(entry.room);
    if (room === undefined) {
      this.#rooms.set(entry.room, room = new RoomBuffer());
    }
    room.push(entry);
    this.#all.push(entry);
    this.#bytes += entryBytes(entry);
    while (this.#bytes > this.#bytesMax) this.#drop();
  }

  /** Returns whether every message after `id` is in the ring. */
  covers(id: string): boolean {
    return compareIds(id, this.#floor) >= 0;
  }

  /** Returns whether the message with this id is in the ring. */
  has(id: string): boolean {
    return this.#all.at(countUpTo(this.#all, id) - 1)?.id === id;
  }

  /**
   * Returns the messages of a room after `id`, oldest first. The array is complete only if the ring covers `id`. The
   * same arguments return the same array until the room gets or loses a message, because clients that reconnect
   * together mostly ask for the same messages.
   */
  after(name: string, id: string): readonly Entry[] {
    const room = this.#rooms.get(name);
    if (room === undefined) return [];
    const cached = room.cachedSlice;
    if (cached?.id === id && cached.entries.at(-1) === room.last) {
      return cached.entries;
    }
    const entries = room.slice(countUpTo(room, id));
    room.cachedSlice = { id, entries };
    return entries;
  }

  #drop(): void {
    const entry = this.#all.shift();
    if (entry === undefined) return;
    const bytes = entryBytes(entry);
    this.#bytes -= bytes;
    this.#dropped += bytes;
    this.#floor = entry.id;
    const room = this.#rooms.get(entry.room);
    room?.shift();
    if (room !== undefined) room.cachedSlice = undefined;
    if (room?.size === 0) this.#rooms.delete(entry.room);
  }
}

/** Returns how many entries have an id that is not greater than `id`. The entries must be in the order of their ids. */
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

/**
 * Returns the estimated memory of a message and its frames, in bytes: 400 bytes, plus 4 bytes for each character of its
 * JSON, and 2 bytes for each character of its room's name. Its meta counts as `metaBytes()` says.
 */
export function entryBytes(entry: Entry): number {
  return ENTRY_BYTES + 4 * entry.json.length + 2 * entry.room.length +
    metaBytes(entry.meta);
}
