/**
 * What a node can do next for the bridge, and what comes of it.
 *
 * @module
 */
import type {
  BridgePosition,
  ReceivedItem,
  ReceivedWindow,
} from "./received_window.ts";

/**
 * The next action. Actions run one at a time: call `Sequencer.next()` again only after the outcome of the last
 * one has been reported.
 */
export type Step =
  /** Do nothing for `ms`, or until something is received; `Infinity` if there is nothing left to do. */
  | { readonly kind: "wait"; readonly ms: number }
  /**
   * Publish `marker` and read the log's position, atomically. `outOfSync` is set if this subscription has received
   * nothing yet, so that this node is not synchronized, whatever it was before.
   */
  | {
    readonly kind: "publish_marker";
    readonly marker: string;
    readonly outOfSync: boolean;
  }
  /** Append those of `items` that the log does not have yet: compare and append. */
  | {
    readonly kind: "append";
    readonly after: BridgePosition;
    readonly items: readonly ReceivedItem[];
    readonly window: ReceivedWindow;
  }
  /**
   * Continue at `to` and record a gap, if the log is still at `from` and no node is synchronized: no node has the
   * messages in between. It is chosen only if the log stood still between two markers, because a synchronized node
   * receives the first one and reports itself.
   */
  | {
    readonly kind: "resume";
    readonly from: BridgePosition;
    readonly to: BridgePosition;
  };

/** The result of compare-and-append. */
export interface CompareResult {
  /**
   * - `appended`: the log is now at `position`, whichever node appended up to it.
   * - `elsewhere`: the log is at another marker than the one named.
   * - `back`: the log is before the first item that was sent, so it has lost messages that it had.
   */
  readonly outcome: "appended" | "elsewhere" | "back";
  /** The log's position after the script. */
  readonly position: BridgePosition;
  /** Why Redis did not take all items; undefined if it took them. */
  readonly error?: string | undefined;
}
