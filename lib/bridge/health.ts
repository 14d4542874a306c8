/**
 * Reports one log line when the bridge fails and one when the bridge works again.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { Observe } from "../observer.ts";
import { toLogError } from "../redis/errors.ts";
import type { Step } from "./step.ts";

/**
 * A part of the bridge that can fail: `heartbeat`, `subscribe`, `channels` (the check that all nodes have the same
 * `CHANNELS`), or one of the kinds of {@linkcode Step}.
 */
export type BridgePart =
  | "heartbeat"
  | "subscribe"
  | "channels"
  | Exclude<Step["kind"], "wait">;

/**
 * Keeps a set of the parts that failed at their last attempt. Reports `bridge_stuck` when the first part fails and
 * `bridge_recovered` when the set is empty again, so that a failure causes two log lines, however long it lasts. Does
 * not report that Redis is unreachable, because the connection to Redis reports that.
 */
export class BridgeHealth {
  readonly #observe: Observe;
  readonly #failed = new Set<BridgePart>();
  /** Whether `bridge_stuck` has been reported since the set was last empty. */
  #reported = false;

  /** Starts with no part failed. `observe` receives `bridge_stuck` and `bridge_recovered`. */
  constructor(observe: Observe) {
    this.#observe = observe;
  }

  /**
   * Whether received messages can be appended: no part has failed that appending needs. It needs neither the heartbeat,
   * which is repeated one second later, nor the subscription.
   */
  get canAppend(): boolean {
    return [...this.#failed].every((part) =>
      part === "heartbeat" || part === "subscribe"
    );
  }

  /** Whether `part` failed at its last attempt. */
  hasFailed(part: BridgePart): boolean {
    return this.#failed.has(part);
  }

  /** Records that `part` has failed. `why` appears in the log line if no other failure has been reported before. */
  failed(part: BridgePart, why: unknown): void {
    const isOutage = why instanceof ApiError && why.isOutage;
    if (!this.#reported && !isOutage) {
      this.#reported = true;
      this.#observe({
        kind: "bridge_stuck",
        why: why instanceof Error ? why.message : String(why),
      });
    }
    this.#failed.add(part);
  }

  /** Records that the subscription has failed with an error of Redis, and throws the error again. */
  subscribeFailed(error: unknown): never {
    this.failed(
      "subscribe",
      toLogError(error, "subscribe to the channels of CHANNELS"),
    );
    throw error;
  }

  /** Records that each of `parts` has succeeded or is no longer needed. */
  succeeded(...parts: BridgePart[]): void {
    for (const part of parts) this.#failed.delete(part);
    if (!this.#reported || this.#failed.size > 0) return;
    this.#reported = false;
    this.#observe({ kind: "bridge_recovered" });
  }
}
