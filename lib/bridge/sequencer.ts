/**
 * Decides when this node appends the messages that several nodes receive from Redis channels. The sequencer only
 * chooses steps; `RedisBridge` runs them and reports the results.
 *
 * @module
 */
import {
  type BridgePosition,
  type ReceivedItem,
  ReceivedWindow,
} from "./received_window.ts";
import type { CompareResult, Step } from "./step.ts";

/** Options of {@linkcode Sequencer}. */
export interface SequencerOptions {
  /** This node's name, unique among the nodes. */
  readonly node: string;
  /** A hash of this node's `CHANNELS`, as in {@linkcode BridgePosition.channelGroup}. */
  readonly channelGroup: string;
  /**
   * How long this node leaves a received message to the node that appended last, before it appends the message itself,
   * in ms.
   */
  readonly takeoverDelayMs: number;
}

/**
 * Minimum interval between two appends of one node, in ms, so that messages are batched. A full batch is appended at
 * once.
 */
export const APPEND_INTERVAL_MS = 5;
/** Maximum number of items in one append, because Redis executes no other command meanwhile. */
const BATCH_MAX = 512;
/** Maximum bytes of the items in one append; a single larger item is appended alone. */
const BATCH_BYTES_MAX = 1 << 20;
/**
 * Maximum number of received items that are not yet in the log. If more are received, all are discarded and become a
 * gap.
 */
const PENDING_MAX = 100_000;
/** Maximum bytes of received items that are not yet in the log. At the limit, all are discarded and become a gap. */
const PENDING_BYTES_MAX = 64 << 20;
/** How long a node that cannot append waits after receiving its last marker until it publishes the next, in ms. */
const MARKER_INTERVAL_MS = 250;
/** How long a node waits to receive a marker that it has published until it publishes the next, in ms. */
const MARKER_TIMEOUT_MS = 2000;
/** Pause after the first failed command, in ms. The pause doubles with each further failure. */
const BACKOFF_MS = 25;
/** Longest pause after a failed command, in ms. */
const BACKOFF_MS_MAX = 500;

/**
 * A marker: a message with a unique name, which this node has published to find out which of the received items the log
 * already has.
 */
interface MarkerRequest {
  readonly marker: string;
  readonly sentAt: number;
  received: boolean;
  /** The bridge position of the log when the marker was published; undefined until Redis has replied. */
  position: BridgePosition | undefined;
}

/**
 * Numbers the messages that one node receives from Redis channels, and chooses the node's next step
 * (`docs/decisions/0008-bridge.md`).
 *
 * Guarantees: the scripts in Redis ensure that no message is appended twice or out of order, so a wrong or late
 * decision of this class only costs time. This class ensures progress: some node appends each message that a
 * synchronized node has received.
 */
export class Sequencer {
  readonly #options: SequencerOptions;
  #subscribed = false;
  /**
   * The items that the current subscription has received since this node's first marker; undefined before this marker.
   */
  #window: ReceivedWindow | undefined;
  /** Items of the previous subscription that may not be in the log yet; undefined if there are none. */
  #previousWindow: ReceivedWindow | undefined;
  /** Whether this node has found the log's bridge position in `#window`, so that it can append later items. */
  #synchronized = false;
  /** Whether a reply or an announcement contradicts `#synchronized`, so that a new marker has to confirm it. */
  #doubtful = false;
  #request: MarkerRequest | undefined;
  /** The log's bridge position if it lies outside `#window`, so that this node cannot append; otherwise undefined. */
  #unreachable: BridgePosition | undefined;
  #unreachableSince = -Infinity;
  /** Whether a second marker has shown that the log's bridge position is still `#unreachable`. */
  #unreachableConfirmed = false;
  /** The name of the node that appended last. */
  #writer = "";
  #appendedAt = -Infinity;
  #failures = 0;
  #notBefore = -Infinity;
  #markers = 0;

  /** Starts without a subscription; call {@linkcode Sequencer.subscribed} when there is one. */
  constructor(options: SequencerOptions) {
    this.#options = options;
  }

  /** Whether this node can append the messages that it receives. */
  get synchronized(): boolean {
    return this.#synchronized;
  }

  /** Number of messages and markers that this node has received and that are not yet known to be in the log. */
  get pending(): number {
    return (this.#window?.size ?? 0) + (this.#previousWindow?.size ?? 0);
  }

  /** Records that a subscription is established, so that this node now receives published messages. */
  subscribed(): void {
    this.#subscribed = true;
  }

  /**
   * Records that the subscription is lost. If this node could append, it still tries to append the items it has
   * received.
   */
  subscriptionLost(): void {
    if (
      this.#synchronized && this.#window !== undefined && this.#window.size > 0
    ) {
      this.#previousWindow = this.#window;
    }
    this.#subscribed = false;
    this.#reset();
  }

  /**
   * Discards all received items. Call this if the Redis server that has sent these items no longer holds the log, as
   * after a failover, because their order means nothing on another server. The next `resume` step records a gap for
   * them.
   */
  discard(): void {
    this.#previousWindow = undefined;
    this.#reset();
  }

  /**
   * Adds an item that the subscription has received.
   *
   * @returns `false` if too many items were waiting for Redis, so that all received items were discarded.
   */
  received(item: ReceivedItem): boolean {
    // Items that arrive before the first marker of this node have no bridge position.
    if (this.#window === undefined) return true;
    this.#window.push(item);
    if (
      this.#window.size <= PENDING_MAX &&
      this.#window.bytes <= PENDING_BYTES_MAX
    ) return true;
    this.discard();
    return false;
  }

  /** Adds a marker (see {@linkcode BridgePosition}) that the subscription has received, of this or another node. */
  markerReceived(marker: string, now: number): void {
    const own = this.#request?.marker === marker;
    if (this.#window !== undefined) {
      this.received({ kind: "marker", marker, receivedAt: now });
    } else if (own) {
      this.#window = new ReceivedWindow(marker, this.#options.channelGroup);
    }
    if (own && this.#request !== undefined) {
      this.#request.received = true;
      this.#evaluateRequest();
    }
  }

  /** Handles an announcement by the node `writer`: the log now has all items up to `position`. */
  positionAnnounced(position: BridgePosition, writer: string): void {
    this.#writer = writer;
    if (this.#window?.advanceTo(position)) this.#synchronize();
    // The announcement is older than a reply that arrived before it, or the log is not where this node assumes.
    else this.#doubtful = this.#synchronized;
  }

  /** Returns the next step of this node; `now` is a time of `performance.now()`. */
  next(now: number): Step {
    if (now < this.#notBefore) {
      return { kind: "wait", ms: this.#notBefore - now };
    }
    // Publish a marker before any other step, because new messages have a bridge position only once this node has
    // received the marker.
    if (
      this.#subscribed && this.#window === undefined &&
      this.#request === undefined
    ) return this.#nextSyncStep(now);
    const first = this.#nextAppend(this.#previousWindow, now);
    if (first.kind !== "wait" || !this.#subscribed) return first;
    const second = this.#synchronized && !this.#doubtful
      ? this.#nextAppend(this.#window, now)
      : this.#nextSyncStep(now);
    return second.kind === "wait" && first.ms < second.ms ? first : second;
  }

  /** Takes the result of a `publish_marker` step: the log was at `position` when the marker was published. */
  markerPublished(marker: string, position: BridgePosition): void {
    this.#failures = 0;
    if (this.#request?.marker !== marker) return;
    this.#request.position = position;
    this.#evaluateRequest();
  }

  /** Takes the result of an `append` step with items of `window`. */
  appended(
    window: ReceivedWindow,
    { outcome, position, error }: CompareResult,
    now: number,
  ): void {
    this.#appendedAt = now;
    if (error === undefined) this.#failures = 0;
    else this.failed(now);
    if (outcome === "other_server") return this.discard();
    const advanced = window.advanceTo(position);
    if (window === this.#previousWindow) {
      if (!advanced || outcome === "back" || window.size === 0) {
        this.#previousWindow = undefined;
      }
    } else if (window !== this.#window) return;
    // The log has lost items that it had, so the items of this window no longer follow the log's bridge position.
    else if (outcome === "back") this.#reset();
    else if (!advanced) {
      // Either other nodes have appended items that this node has not received yet, or the log has lost its bridge
      // position. A new marker shows which of the two is true.
      this.#doubtful = true;
      this.#notBefore = now + BACKOFF_MS;
    }
  }

  /** Takes the result of a `resume` step: whether the log now continues at `to`. */
  resumed(done: boolean, to: BridgePosition, now: number): void {
    this.#failures = 0;
    this.#unreachableConfirmed = false;
    if (done) {
      this.#writer = this.#options.node;
      if (this.#window?.advanceTo(to)) this.#synchronize();
    } else this.#notBefore = now + MARKER_INTERVAL_MS;
  }

  /**
   * Records that a step has failed. Redis may have executed its command nevertheless. The next step follows after a
   * pause.
   */
  failed(now: number): void {
    this.#notBefore = now +
      Math.min(BACKOFF_MS * 2 ** this.#failures++, BACKOFF_MS_MAX);
    // The marker may still be received, but without the reply it shows no bridge position.
    if (this.#request?.position === undefined) this.#request = undefined;
  }

  #reset(): void {
    this.#window = undefined;
    this.#synchronized = false;
    this.#doubtful = false;
    this.#request = undefined;
    this.#unreachable = undefined;
  }

  /**
   * Records that this node can append, because the log's bridge position lies among the items that this node has
   * received.
   */
  #synchronize(): void {
    this.#synchronized = true;
    this.#doubtful = false;
    this.#request = undefined;
    this.#unreachable = undefined;
    this.#previousWindow = undefined;
  }

  /**
   * Checks whether the log's bridge position lies in the window, if this node's marker was received and Redis has
   * replied.
   */
  #evaluateRequest(): void {
    const window = this.#window;
    const { received, position, marker = "", sentAt = 0 } = this.#request ?? {};
    if (!received || position === undefined || window === undefined) return;
    if (window.advanceTo(position)) return this.#synchronize();
    const { channelGroup } = this.#options;
    // Drop the items that were received before the marker, because nodes of another channel group may have appended
    // them.
    if (position.marker !== "" && position.channelGroup !== channelGroup) {
      window.advanceTo({ marker, number: 0, channelGroup });
    }
    this.#synchronized = false;
    if (this.#unreachable?.marker !== position.marker) {
      this.#unreachableSince = sentAt;
    }
    this.#unreachable = position;
    this.#unreachableConfirmed = position.marker === "" ||
      sentAt > this.#unreachableSince;
  }

  #nextAppend(window: ReceivedWindow | undefined, now: number): Step {
    const first = window?.first;
    if (window === undefined || first === undefined) {
      return { kind: "wait", ms: Infinity };
    }
    const { node, takeoverDelayMs } = this.#options;
    // Append the items of a lost subscription at once, because the next step may record a gap in their place.
    const due = window === this.#previousWindow || window.size >= BATCH_MAX
      ? now
      : this.#writer === node
      ? this.#appendedAt + APPEND_INTERVAL_MS
      : first.receivedAt + takeoverDelayMs;
    if (due > now) return { kind: "wait", ms: due - now };
    return {
      kind: "append",
      after: window.start,
      items: window.batch(BATCH_MAX, BATCH_BYTES_MAX),
      window,
    };
  }

  #nextSyncStep(now: number): Step {
    if (
      this.#unreachable !== undefined && this.#unreachableConfirmed &&
      this.#window !== undefined
    ) {
      return {
        kind: "resume",
        from: this.#unreachable,
        to: this.#window.start,
      };
    }
    const request = this.#request;
    const due = request === undefined ? now : request.sentAt +
      (request.received ? MARKER_INTERVAL_MS : MARKER_TIMEOUT_MS);
    if (due > now) return { kind: "wait", ms: due - now };
    // The marker contains the node's name, so that the script that appends the marker can list the node.
    const marker = `${this.#options.node}.${++this.#markers}`;
    this.#request = {
      marker,
      sentAt: now,
      received: false,
      position: undefined,
    };
    return {
      kind: "publish_marker",
      marker,
      outOfSync: this.#window === undefined,
    };
  }
}
