/**
 * The bridge's heartbeats. They show whether this node has a listener slot, the right to subscribe to the Redis
 * channels, and whether its subscription still delivers messages.
 *
 * @module
 */
import type { BridgeCommands } from "./commands.ts";

/** Interval between two heartbeats, in ms. */
const HEARTBEAT_INTERVAL_MS = 1000;
/** How many of its own heartbeats a node may fail to receive before its subscription counts as dead. */
const MISSED_HEARTBEATS_MAX = 2;
/**
 * Minimum time after a heartbeat, in ms, before this node answers another node's marker with an additional heartbeat.
 */
const ANSWER_INTERVAL_MS = 50;
/** How long this node relies on the number of synchronized nodes that a heartbeat has returned, in ms. */
const PEER_STATUS_TTL_MS = 3500;

/** Options of {@linkcode Heartbeats}. */
export interface HeartbeatsOptions {
  readonly commands: Pick<BridgeCommands, "heartbeat">;
  /** Returns whether this node can append the messages that it receives. */
  readonly synchronized: () => boolean;
  /** Returns whether this node's subscription to the Redis channels is established. */
  readonly subscribed: () => boolean;
  /**
   * Called after each heartbeat that Redis accepted. `listener` says whether this node may subscribe to the Redis
   * channels.
   */
  readonly succeeded: (listener: boolean) => Promise<void> | void;
  readonly failed: (error: unknown) => void;
  /** Called if the subscription is established but no longer delivers this node's own heartbeats. */
  readonly subscriptionStale: () => void;
}

/**
 * Publishes a numbered heartbeat each second, and checks that this node's own subscription delivers it. The script that
 * publishes a heartbeat also renews the node's listener slot, the right to subscribe to the Redis channels.
 *
 * Lifetime: the constructor starts a timer; call {@linkcode Heartbeats.stop} to stop it.
 */
export class Heartbeats {
  readonly #options: HeartbeatsOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  #stopped = false;
  /** The number of the last heartbeat that Redis accepted. */
  #sent = 0;
  /** The number of this node's last heartbeat that its own subscription delivered. */
  #received = 0;
  #sentAt = -Infinity;
  #anySynchronizedUntil = -Infinity;
  #peersSynchronizedUntil = -Infinity;

  /**
   * Starts the timer. The first heartbeat is sent after one interval, or earlier if {@linkcode Heartbeats.send} is
   * called.
   */
  constructor(options: HeartbeatsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.send(), HEARTBEAT_INTERVAL_MS);
  }

  /** Whether a heartbeat of the last 3.5 s has shown that some node, perhaps this one, can append what it receives. */
  get anySynchronized(): boolean {
    return performance.now() < this.#anySynchronizedUntil;
  }

  /** Whether a heartbeat of the last 3.5 s has shown that another node can append what it receives. */
  get peersSynchronized(): boolean {
    return performance.now() < this.#peersSynchronizedUntil;
  }

  /**
   * Checks that this node's subscription has delivered the earlier heartbeats, and sends the next heartbeat. Never
   * rejects.
   */
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
      // Without a subscription this node cannot receive the heartbeat, so the heartbeat does not count as missing.
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
   * Sends a heartbeat because another node has published a marker. The heartbeat tells Redis that this node can append;
   * otherwise the other node could record a gap although this node has all messages.
   */
  answerMarker(): void {
    if (performance.now() - this.#sentAt > ANSWER_INTERVAL_MS) void this.send();
  }

  /** Records that the subscription has delivered this node's heartbeat with this number. */
  received(number: number): void {
    if (number <= this.#sent + 1) this.#received = number;
  }

  /**
   * Records that a new subscription is established. Heartbeats that were sent earlier do not count as missing, because
   * the new subscription cannot receive them.
   */
  subscribed(): void {
    this.#received = this.#sent;
  }

  /** Stops the timer. The result of a heartbeat in flight is ignored. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }
}
