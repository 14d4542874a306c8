/**
 * Reports which items this node has appended and which were refused.
 *
 * @module
 */
import type { Observe } from "../observer.ts";
import type { BridgeAppendResult } from "./commands.ts";
import type { ReceivedItem } from "./received_window.ts";

/**
 * Reports appended messages at once and refused payloads as one count per reason, so that a flood of invalid payloads
 * cannot flood the log.
 */
export class AppendReport {
  readonly #observe: Observe;
  /** Refused payloads that have not been reported yet, by reason. */
  readonly #refused = new Map<string, number>();

  /** Creates a report of no items. */
  constructor(observe: Observe) {
    this.#observe = observe;
  }

  /**
   * Reports an append. Counts only items that this node itself has added, so that each item is counted once among all
   * nodes.
   */
  appended(
    items: readonly ReceivedItem[],
    { known, taken, refused, tookOver }: BridgeAppendResult,
    now: number,
  ): void {
    const lagsMs: number[] = [];
    for (let i = known; i < known + taken; i++) {
      const item = items[i];
      if (item === undefined || item.kind === "marker") continue;
      if (item.kind === "message" && !refused.has(i)) {
        lagsMs.push(now - item.receivedAt);
        continue;
      }
      const reason = item.kind === "refused" ? item.reason : "log_wrong_type";
      this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1);
    }
    this.#observe({ kind: "bridged", lagsMs });
    if (tookOver) this.#observe({ kind: "bridge_taken_over" });
  }

  /** Reports the refused payloads since the last call. */
  flushRefused(): void {
    for (const [reason, count] of this.#refused) {
      this.#observe({ kind: "bridge_refused", reason, count });
    }
    this.#refused.clear();
  }
}
