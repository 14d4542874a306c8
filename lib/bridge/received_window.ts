/**
 * The messages that one Redis subscription has received and that are not yet in the log.
 *
 * @module
 */
import { Deque } from "../util/deque.ts";

/**
 * A position in the order that all subscribers share: `number` messages after a marker. Redis sends every subscriber
 * the same messages and markers in the same order. A position therefore means the same to all nodes that have received
 * its marker, although messages carry no id.
 */
export interface BridgePosition {
  /** The marker's name; empty if the log has no position yet. */
  readonly marker: string;
  readonly number: number;
  /** Identifies the list of channels whose messages are counted. Positions of different groups cannot be compared. */
  readonly channelGroup: string;
}

/** A received item that takes up a position: a message, a payload that was refused, or a marker. */
export type ReceivedItem =
  & { readonly receivedAt: number }
  & (
    | { readonly kind: "message"; readonly room: string; readonly json: string }
    | { readonly kind: "refused"; readonly reason: string }
    | { readonly kind: "marker"; readonly marker: string }
  );

/** Estimated memory of an item without its text, in bytes. */
const ITEM_BYTES = 200;

/**
 * Holds the items that one subscription has received since a marker, without a gap, and that are not yet known to be in
 * the log.
 */
export class ReceivedWindow {
  readonly #channelGroup: string;
  readonly #items = new Deque<ReceivedItem>();
  readonly #markers = new Set<string>();
  #marker: string;
  #number = 0;
  #bytes = 0;

  /** Starts an empty window directly after `marker`. */
  constructor(marker: string, channelGroup: string) {
    this.#marker = marker;
    this.#channelGroup = channelGroup;
  }

  /** The position directly before the first item of this window. */
  get start(): BridgePosition {
    return {
      marker: this.#marker,
      number: this.#number,
      channelGroup: this.#channelGroup,
    };
  }

  /** Number of items that are not yet known to be in the log. */
  get size(): number {
    return this.#items.size;
  }

  /** Estimated memory of the window's items, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest item. */
  get first(): ReceivedItem | undefined {
    return this.#items.first;
  }

  /** Adds the item that was received next. */
  push(item: ReceivedItem): void {
    this.#items.push(item);
    this.#bytes += bytesOf(item);
    if (item.kind === "marker") this.#markers.add(item.marker);
  }

  /** Returns the oldest items: at most `countMax`, and at most `bytesMax` bytes unless the first alone exceeds them. */
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
   * Drops the items up to `position`, which the log already has. A position before the window drops nothing, and one
   * beyond its end drops everything up to the next marker, because the log may be ahead of this subscription.
   *
   * @returns `false`, with nothing dropped, if the position's marker is unknown here or belongs to another channel group.
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
