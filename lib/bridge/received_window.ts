/**
 * The messages that one Redis subscription has received and that are not yet known to be in the log.
 *
 * @module
 */
import { Deque } from "../util/deque.ts";

/**
 * A place in the order in which Redis sends published messages: `number` messages after a marker. A marker is a
 * uniquely named message that a node publishes on the control channel. Redis sends every subscriber the same messages
 * and markers in the same order. A bridge position therefore means the same to all nodes that have received its marker,
 * although published messages carry no id.
 */
export interface BridgePosition {
  /** The marker's name; empty if the bridge has never appended to this log. */
  readonly marker: string;
  /** How many messages and refused payloads follow the marker up to this position. */
  readonly number: number;
  /** A hash of the `CHANNELS` whose messages are counted. Bridge positions with different hashes cannot be compared. */
  readonly channelGroup: string;
}

/**
 * What a node has received from Redis: a message, a payload that was refused, or a marker. All nodes count the same
 * items. `receivedAt` is a time of `performance.now()`.
 */
export type ReceivedItem =
  & { readonly receivedAt: number }
  & (
    | { readonly kind: "message"; readonly room: string; readonly json: string }
    | { readonly kind: "refused"; readonly reason: string }
    | { readonly kind: "marker"; readonly marker: string }
  );

/** Estimated memory of an item without its room and message, in bytes. */
const ITEM_BYTES = 200;

/**
 * Holds all items that one subscription has received since a marker, in order. Items are dropped once they are known to
 * be in the log.
 */
export class ReceivedWindow {
  readonly #channelGroup: string;
  readonly #items = new Deque<ReceivedItem>();
  readonly #markers = new Set<string>();
  #marker: string;
  #number = 0;
  #bytes = 0;

  /** Creates an empty window. The first item that is added must be the first one received after `marker`. */
  constructor(marker: string, channelGroup: string) {
    this.#marker = marker;
    this.#channelGroup = channelGroup;
  }

  /** The bridge position directly before the first item that the window still holds. */
  get start(): BridgePosition {
    return {
      marker: this.#marker,
      number: this.#number,
      channelGroup: this.#channelGroup,
    };
  }

  /** Number of items in the window. */
  get size(): number {
    return this.#items.size;
  }

  /** Estimated memory of the window's items, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest item; undefined if the window is empty. */
  get first(): ReceivedItem | undefined {
    return this.#items.first;
  }

  /** Adds an item at the end of the window; items must be added in the order in which they were received. */
  push(item: ReceivedItem): void {
    this.#items.push(item);
    this.#bytes += bytesOf(item);
    if (item.kind === "marker") this.#markers.add(item.marker);
  }

  /**
   * Returns the oldest items of the window without removing them: at most `countMax` items of together at most
   * `bytesMax` bytes. The first item is returned even if it exceeds `bytesMax`.
   */
  batch(countMax: number, bytesMax: number): ReceivedItem[] {
    const items: ReceivedItem[] = [];
    let bytes = 0;
    while (items.length < countMax) {
      const item = this.#items.at(items.length);
      if (item === undefined) break;
      bytes += bytesOf(item);
      if (items.length > 0 && bytes > bytesMax) break;
      items.push(item);
    }
    return items;
  }

  /**
   * Drops the items up to `position`, because the log already has them. Drops nothing if the position lies before the
   * window's start. Drops all items up to the next marker if the position lies after the last received item, because
   * the log is then ahead of this subscription.
   *
   * @returns `false` if the window does not contain the position's marker, or if the position belongs to other
   * `CHANNELS`. Nothing is dropped then.
   */
  advanceTo(position: BridgePosition): boolean {
    if (position.channelGroup !== this.#channelGroup) return false;
    if (position.marker !== this.#marker) {
      if (!this.#markers.has(position.marker)) return false;
      while (this.#marker !== position.marker) this.#shift();
    }
    while (this.#number < position.number && this.first?.kind !== "marker") {
      if (!this.#shift()) break;
    }
    return true;
  }

  #shift(): boolean {
    const item = this.#items.shift();
    if (item === undefined) return false;
    this.#bytes -= bytesOf(item);
    if (item.kind === "marker") {
      this.#markers.delete(item.marker);
      this.#marker = item.marker;
      this.#number = 0;
    } else this.#number++;
    return true;
  }
}

function bytesOf(item: ReceivedItem): number {
  return ITEM_BYTES +
    (item.kind === "message" ? 2 * (item.json.length + item.room.length) : 0);
}
