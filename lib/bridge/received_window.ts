/**
 * A slice of the order that all subscribers of one Redis share.
 *
 * @module
 */
import { Deque } from "../util/deque.ts";

/**
 * A place in the common order: `number` messages after a marker. Redis hands every subscriber the same messages and
 * markers in the same order, so that all who heard a marker mean the same by a place after it, although messages carry
 * no id.
 */
export interface BridgePosition {
  /** The marker's name; empty: nowhere, nothing is known yet. */
  readonly marker: string;
  readonly number: number;
  /** Who counts alike: nodes that take the same channels. */
  readonly group: string;
}

/** Something heard that has a place: a message, one that cannot be taken, or a marker. */
export type ReceivedItem =
  & { readonly heardAt: number }
  & (
    | { readonly kind: "message"; readonly room: string; readonly json: string }
    | { readonly kind: "refused"; readonly reason: string }
    | { readonly kind: "marker"; readonly marker: string }
  );

/** What an item costs besides its text, roughly. */
const ITEM_BYTES = 200;

/**
 * What one subscription has heard since a marker, without a hole, as far as it is not known to be in the log.
 */
export class ReceivedWindow {
  readonly #group: string;
  readonly #pending = new Deque<ReceivedItem>();
  readonly #markers = new Set<string>();
  #marker: string;
  #number = 0;
  #bytes = 0;

  /** Begins after `marker`; `group` is that of its places. */
  constructor(marker: string, group: string) {
    this.#marker = marker;
    this.#group = group;
  }

  /** The place after which what is not yet in the log begins. */
  get place(): BridgePosition {
    return { marker: this.#marker, number: this.#number, group: this.#group };
  }

  /** How many items are not yet known to be in the log. */
  get size(): number {
    return this.#pending.size;
  }

  /** Roughly what they take, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest of them. */
  get first(): ReceivedItem | undefined {
    return this.#pending.first;
  }

  /** Adds what was heard next. */
  push(item: ReceivedItem): void {
    this.#pending.push(item);
    this.#bytes += bytesOf(item);
    if (item.kind === "marker") this.#markers.add(item.marker);
  }

  /** The oldest items, at most `countMax`, and no more than fit into `bytesMax`, but one at least. */
  batch(countMax: number, bytesMax: number): ReceivedItem[] {
    const items: ReceivedItem[] = [];
    let bytes = 0;
    while (items.length < countMax) {
      const item = this.#pending.at(items.length);
      if (item === undefined) break;
      bytes += bytesOf(item);
      if (items.length > 0 && bytes > bytesMax) break;
      items.push(item);
    }
    return items;
  }

  /**
   * Learns that the log has everything up to `place`, and forgets it. Answers false, and forgets nothing, where the
   * place is not within this slice, or is counted by others than ours. A place already passed is old news.
   */
  advanceTo(place: BridgePosition): boolean {
    if (place.group !== this.#group) return false;
    if (place.marker !== this.#marker) {
      if (!this.#markers.has(place.marker)) return false;
      while (this.#marker !== place.marker) this.#shift();
    }
    // The log may be ahead of what this subscription has heard.
    while (this.#number < place.number && this.first?.kind !== "marker") {
      if (!this.#shift()) break;
    }
    return true;
  }

  #shift(): boolean {
    const item = this.#pending.shift();
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
