/**
 * The steps of the bridge and their results.
 *
 * @module
 */
import type {
  BridgePosition,
  ReceivedItem,
  ReceivedWindow,
} from "./received_window.ts";

/**
 * The next step. Steps run one at a time: call `Sequencer.next()` again only after the result of the last one has been
 * reported.
 */
export type Step =
  /** Wait for `ms`, or until an item is received; `Infinity` if no step is left. */
  | { readonly kind: "wait"; readonly ms: number }
  /**
   * Publish `marker` and read the log's position, atomically. `outOfSync` is set if this subscription has received no
   * item yet. This node is then not synchronized any more.
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
   * Continue at `to` and record a gap, if the log is still at `from` and no node is synchronized, because then no node
   * has the messages in between. This step is chosen only if the log's position did not change between two markers: a
   * synchronized node would have received the first marker and sent a heartbeat.
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
   * - `elsewhere`: the log is at another marker than the given one.
   * - `back`: the log is before the first item that was sent, so it has lost messages that it had.
   */
  readonly outcome: "appended" | "elsewhere" | "back";
  /** The log's position after the script. */
  readonly position: BridgePosition;
  /** The error for which Redis did not take all items; undefined if it took them. */
  readonly error?: string | undefined;
}
