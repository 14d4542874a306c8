/**
 * Passes the messages that are read from the log to the ring and to the subscribers.
 *
 * @module
 */
import type { Entry, LogReader } from "../log/log.ts";
import type { FanOut } from "./fanout.ts";
import type { Ring } from "./ring.ts";

/** Options of {@linkcode Delivery}. */
export interface DeliveryOptions {
  readonly ring: Ring;
  readonly fanOut: FanOut;
  /** Called after all subscribers were sent a `gap` event with `id`. Messages after the id `since` may be missing. */
  readonly onGap: (
    reason: "epoch" | "trimmed",
    id: string,
    since: string,
  ) => void;
  /** Called when Redis may have lost saved sessions. */
  readonly onLineageChanged: () => void;
}

/**
 * Adds each message to the ring and then writes it to the subscribers, in one synchronous step. A client joins its
 * rooms in another step, and therefore gets each message exactly once, either from the ring or from fan-out.
 */
export class Delivery implements LogReader {
  readonly #options: DeliveryOptions;

  /** Creates a delivery that passes messages to the given ring and fan-out. */
  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  started(recent: readonly Entry[], floor: string): void {
    const { ring } = this.#options;
    ring.reset(floor);
    for (const entry of recent) ring.push(entry);
  }

  entries(entries: readonly Entry[]): void {
    const { ring, fanOut } = this.#options;
    for (const entry of entries) ring.push(entry);
    fanOut.deliver(entries);
  }

  gap(reason: "epoch" | "trimmed", id: string, since: string): void {
    const { ring, fanOut, onGap } = this.#options;
    ring.reset(id);
    fanOut.gap(reason, id, since);
    onGap(reason, id, since);
  }

  lineageChanged(): void {
    this.#options.onLineageChanged();
  }

  ingressGap(
    concerns: (room: string) => boolean,
    id: string,
    since: string,
  ): void {
    this.#options.fanOut.gap("ingress", id, since, concerns);
  }
}
