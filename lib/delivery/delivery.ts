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
  /**
   * Called after a `gap` event with `id` was sent to all clients. Messages after the position `since` may be missing.
   */
  readonly onGap: (
    reason: "epoch" | "trimmed",
    id: string,
    since: string,
  ) => void;
  /** Called when Redis may have lost saved sessions, so that all sessions have to be saved again. */
  readonly onLineageChanged: () => void;
}

/**
 * Receives what this node reads from the log. Adds each message to the ring and writes the message to the subscribers
 * in one synchronous step. A client that joins a room in another step therefore gets each message exactly once, either
 * from the ring or by fan-out.
 */
export class Delivery implements LogReader {
  readonly #options: DeliveryOptions;

  /** Stores the options, which contain the ring and the fan-out. */
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
