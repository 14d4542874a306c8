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
 * What this node's bridge does next. Steps run one at a time: call `Sequencer.next()` again only after the result of
 * the last step was reported to the sequencer.
 */
export type Step =
  /** Wait for `ms`, or until something is received. `ms` is `Infinity` if nothing is left to do. */
  | { readonly kind: "wait"; readonly ms: number }
  /**
   * Publish `marker` and read the log's bridge position, atomically. `outOfSync` is set if the subscription has not yet
   * received any marker of this node. The node cannot append then, and Redis removes it from the list of nodes that
   * can.
   */
  | {
    readonly kind: "publish_marker";
    readonly marker: string;
    readonly outOfSync: boolean;
  }
  /**
   * Append those of `items` that the log does not have yet. The items are the oldest of `window`, and the first of them
   * directly follows the bridge position `after`.
   */
  | {
    readonly kind: "append";
    readonly after: BridgePosition;
    readonly items: readonly ReceivedItem[];
    readonly window: ReceivedWindow;
  }
  /**
   * Let the log continue at `to` and record a gap. Redis refuses this step if the log is no longer at `from`, or if a
   * node is synchronized and could append the items in between. The sequencer chooses this step only after two of this
   * node's markers found the log at `from`, because a synchronized node sends a heartbeat after the first marker.
   */
  | {
    readonly kind: "resume";
    readonly from: BridgePosition;
    readonly to: BridgePosition;
  };

/** The result of an `append` step. */
export interface CompareResult {
  /**
   * - `appended`: the log now has all items up to `position`, whichever node has appended them.
   * - `elsewhere`: the marker of the log's bridge position is not the given one, so nothing was appended.
   * - `other_server`: the log is on another server than the one on which the items were received, or this server has
   *   been a replica since, so nothing was appended.
   * - `back`: the log's bridge position lies before the first given item, so the log has lost items that it had.
   */
  readonly outcome: "appended" | "elsewhere" | "other_server" | "back";
  /** The bridge position up to which the log has all items after the append. */
  readonly position: BridgePosition;
  /** The error because of which Redis did not accept all items; undefined if Redis accepted all. */
  readonly error?: string | undefined;
}
