/**
 * Reports once when the bridge fails and once when it recovers.
 *
 * @module
 */
import type { Observe } from "../observer.ts";
import type { Step } from "./step.ts";

/** A part that can fail: the heartbeat, a step, or the comparison with the channels of the other nodes. */
export type BridgePart =
  | "heartbeat"
  | "channels"
  | Exclude<Step["kind"], "wait">;

/**
 * Keeps the parts that have failed and have not succeeded since. Reports `bridge_stuck` when the first part fails and
 * `bridge_recovered` when all have succeeded again. An outage therefore takes two lines in the log, however long it
 * lasts.
 */
export class BridgeHealth {
  readonly #observe: Observe;
  readonly #failed = new Set<BridgePart>();

  /** Creates the health of a bridge in which no part has failed. */
  constructor(observe: Observe) {
    this.#observe = observe;
  }

  /**
   * Whether received messages can be appended, according to the last results. A failed heartbeat does not count,
   * because messages are appended without heartbeats, and the next heartbeat follows one second later.
   */
  get canAppend(): boolean {
    return [...this.#failed].every((part) => part === "heartbeat");
  }

  /** Whether `part` has failed and has not succeeded since. */
  hasFailed(part: BridgePart): boolean {
    return this.#failed.has(part);
  }

  /** Records that `part` has failed. */
  failed(part: BridgePart, why: unknown): void {
    if (this.#failed.size === 0) {
      this.#observe({ kind: "bridge_stuck", why: String(why) });
    }
    this.#failed.add(part);
  }

  /** Records that `parts` have succeeded. */
  succeeded(...parts: BridgePart[]): void {
    const before = this.#failed.size;
    for (const part of parts) this.#failed.delete(part);
    if (before > 0 && this.#failed.size === 0) {
      this.#observe({ kind: "bridge_recovered" });
    }
  }
}
