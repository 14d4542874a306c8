/**
 * The steps that the bridge's sequencer can choose, and the result of an append.
 *
 * @module
 */
import type {
  BridgePosition,
  ReceivedItem,
  ReceivedWindow,
} from "./received_window.ts";

/**
 * What this node does next. Steps run one at a time: call `Sequencer.next()` again only after the result of the last
 * step has been reported.
 */
export type Step =
  /** Wait for `ms`, or until something is received. `ms` is `Infinity` if nothing is left to do. */
  | { readonly kind: "wait"; readonly ms: number }
  /**
   * Publish `marker` and read the log's bridge position, atomically. `outOfSync` is set if the subscription has
   * received no marker of this node yet, so that Redis must not list this node as synchronized.
   */
  | {
    readonly kind: "publish_marker";
    readonly marker: string;
    readonly outOfSync: boolean;
  }
  /**
   * Append those of `items` that the log does not have yet. The first of `items`, which are taken from `window`,
   * directly follows the bridge position `after`.
   */
  | {
    readonly kind: "append";
    readonly after: BridgePosition;
    readonly items: readonly ReceivedItem[];
    readonly window: ReceivedWindow;
  }
  /**
   * Let the log continue at `to` and record a gap, if the log is still at `from` and no node is synchronized, because
   * then no node has the items in between. The sequencer chooses this step only after two of this node's markers found
   * the log at the same bridge position. A synchronized node would have announced itself by a heartbeat after the first
   * marker.
   */
  | {
    readonly kind: "resume";
    readonly from: BridgePosition;
    readonly to: BridgePosition;
  };

/** The result of appending items at a bridge position. */
export interface CompareResult {
  /**
   * - `appended`: the log now has all items up to `position`, whichever node has appended them.
   * - `elsewhere`: the marker of the log's bridge position is not the given one, so nothing was appended.
   * - `back`: the log's bridge position lies before the first given item, so the log has lost items that it had.
   */
  readonly outcome: "appended" | "elsewhere" | "back";
  /** The bridge position up to which the log has all items after the script has run. */
  readonly position: BridgePosition;
  /** The error because of which Redis did not accept all items; undefined if there was none. */
  readonly error?: string | undefined;
}
