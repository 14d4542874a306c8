/**
 * Reports which items of Redis channels this node has appended to the log, and which payloads were refused.
 *
 * @module
 */
import type { Observe } from "../observer.ts";
import type { BridgeAppendResult } from "./commands.ts";
import type { ReceivedItem } from "./received_window.ts";

/**
 * Reports appended messages at once. Counts refused payloads by reason, and reports the counts only when {@linkcode
 * AppendReport.flushRefused} is called, so that a flood of invalid payloads writes few log lines.
 */
export class AppendReport {
  readonly #observe: Observe;
  /** Number of refused payloads that have not been reported yet, by reason. */
  readonly #refused = new Map<string, number>();

  /** Starts with no refused payload counted. `observe` receives the reports. */
  constructor(observe: Observe) {
    this.#observe = observe;
  }

  /**
   * Reports the result of appending `items`. Counts only the items that this node has added, so that all nodes together
   * count each item once. `now` is a time of `performance.now()`.
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

  /** Reports how many payloads were refused since the last call of this method, by reason. */
  flushRefused(): void {
    for (const [reason, count] of this.#refused) {
      this.#observe({ kind: "bridge_refused", reason, count });
    }
    this.#refused.clear();
  }
}
