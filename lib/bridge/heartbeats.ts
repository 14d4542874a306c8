/**
 * The bridge's heartbeats, which show whether this node has a listener slot and whether its subscription still
 * delivers.
 *
 * @module
 */
import type { BridgeCommands } from "./commands.ts";

/** Interval between two heartbeats, in ms, and how many may be missing before the subscription counts as dead. */
const HEARTBEAT_INTERVAL_MS = 1000;
const MISSED_HEARTBEATS_MAX = 2;
/** Minimum interval between the last heartbeat and a heartbeat that is sent because of another node's marker, in ms. */
const ANSWER_INTERVAL_MS = 50;
/** How long the number of synchronized nodes stays valid after a heartbeat has returned it, in ms. */
const PEER_STATUS_TTL_MS = 3500;

/** Options of {@linkcode Heartbeats}. */
export interface HeartbeatsOptions {
  readonly commands: Pick<BridgeCommands, "heartbeat">;
  /** Whether this node is synchronized. */
  readonly synchronized: () => boolean;
  /** Whether this node's subscription is established. */
  readonly subscribed: () => boolean;
  /** Called after each heartbeat; `listener` says whether this node has a listener slot. */
  readonly succeeded: (listener: boolean) => Promise<void> | void;
  readonly failed: (error: unknown) => void;
  /** Called when the subscription is established but no longer delivers this node's heartbeats. */
  readonly subscriptionStale: () => void;
}

/**
 * Publishes a numbered heartbeat each second and checks that this node's own subscription receives it. The same script
 * renews the node's listener slot.
 *
 * Lifetime: the constructor starts a timer; call {@linkcode Heartbeats.stop} to stop it.
 */
export class Heartbeats {
  readonly #options: HeartbeatsOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  #stopped = false;
  /**
   * The number of the last heartbeat that Redis accepted. `#received` is the number of the last one that this node
   * received.
   */
  #sent = 0;
  #received = 0;
  #sentAt = -Infinity;
  #anySynchronizedUntil = -Infinity;
  #peersSynchronizedUntil = -Infinity;

  /** Starts the timer; the first heartbeat follows after one interval, or earlier by {@linkcode Heartbeats.send}. */
  constructor(options: HeartbeatsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.send(), HEARTBEAT_INTERVAL_MS);
  }

  /** Whether any node, this one included, was synchronized within the last seconds. */
  get anySynchronized(): boolean {
    return performance.now() < this.#anySynchronizedUntil;
  }

  /** Whether another node was synchronized within the last seconds. */
  get peersSynchronized(): boolean {
    return performance.now() < this.#peersSynchronizedUntil;
  }

  /** Checks that earlier heartbeats were received, and sends the next one. Never rejects. */
  async send(): Promise<void> {
    const { commands, succeeded, failed } = this.#options;
    const subscribed = this.#options.subscribed();
    const synchronized = this.#options.synchronized();
    if (subscribed && this.#sent - this.#received >= MISSED_HEARTBEATS_MAX) {
      this.#options.subscriptionStale();
    }
    const number = this.#sent + 1;
    this.#sentAt = performance.now();
    try {
      const { listener, synchronizedNodes } = await commands.heartbeat(
        number,
        synchronized,
      );
      if (this.#stopped) return;
      this.#sent = number;
      // Without a subscription this node cannot receive the heartbeat, so it does not count as missing.
      if (!subscribed) this.#received = number;
      const until = performance.now() + PEER_STATUS_TTL_MS;
      if (synchronizedNodes > 0) this.#anySynchronizedUntil = until;
      const peers = synchronizedNodes - Number(synchronized && listener);
      if (peers > 0) this.#peersSynchronizedUntil = until;
      await succeeded(listener);
    } catch (error) {
      if (!this.#stopped) failed(error);
    }
  }

  /**
   * Sends a heartbeat because another node has published a marker. Otherwise that node could record a gap, because
   * Redis might not list this node as synchronized.
   */
  answerMarker(): void {
    if (performance.now() - this.#sentAt > ANSWER_INTERVAL_MS) void this.send();
  }

  /** Records that the subscription has delivered a heartbeat of this node. */
  received(number: number): void {
    if (number <= this.#sent + 1) this.#received = number;
  }

  /** Records that a subscription has been established, which does not receive earlier heartbeats. */
  subscribed(): void {
    this.#received = this.#sent;
  }

  /** Stops the timer. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }
}
