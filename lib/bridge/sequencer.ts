/**
 * Decides which node appends the messages that all nodes receive, and from which position on. It sends no command
 * itself: `RedisBridge` runs the steps and reports their results.
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
  /** Identifies this node's list of channels; see {@linkcode BridgePosition.channelGroup}. */
  readonly channelGroup: string;
  /** How long a standby waits for the current writer before it appends a received message itself, in ms. */
  readonly takeoverDelayMs: number;
}

/** Minimum interval between two appends of one node, in ms, so that messages are batched. A full batch does not wait. */
export const APPEND_INTERVAL_MS = 5;
/** Maximum number of items in one append, because Redis executes no other command while the script runs. */
const BATCH_MAX = 512;
const BATCH_BYTES_MAX = 1 << 20;
/** Maximum number of items that may wait for Redis. Beyond it the whole window is discarded, and a gap is recorded. */
const PENDING_MAX = 100_000;
const PENDING_BYTES_MAX = 64 << 20;
/** How long a node that is out of sync waits before it publishes another marker, in ms. */
const MARKER_INTERVAL_MS = 250;
/** How long a node waits until it receives its own marker, in ms. */
const MARKER_TIMEOUT_MS = 2000;
/** Shortest and longest pause after a command that failed, in ms. */
const BACKOFF_MS = 25;
const BACKOFF_MS_MAX = 500;

/** A marker that this node has published and now awaits. */
interface MarkerRequest {
  readonly marker: string;
  readonly sentAt: number;
  received: boolean;
  /** The log's position when the marker was published; undefined until Redis has replied. */
  position: BridgePosition | undefined;
}

/**
 * Numbers the messages that one node receives and chooses the node's next step (`docs/decisions/0008-bridge.md`).
 *
 * Guarantees: the comparison in Redis alone ensures that no message is appended twice or out of order, because the log
 * only moves from a position to the next item received after it or, by `resume`, over a gap that it records. A wrong or
 * late decision of this class can only cost time. This class ensures progress: some synchronized node appends each
 * message that was received.
 */
export class Sequencer {
  readonly #options: SequencerOptions;
  #subscribed = false;
  /** The items that the current subscription has received; undefined until it has received a marker of this node. */
  #window: ReceivedWindow | undefined;
  /** The items of the previous subscription that were not seen in the log, so they may be missing there. */
  #previousWindow: ReceivedWindow | undefined;
  /** Whether the log's position lies in the window. */
  #synchronized = false;
  /** Whether a reply or an announcement contradicts `#synchronized`, so that a new marker has to confirm it. */
  #doubtful = false;
  #request: MarkerRequest | undefined;
  /** A position of the log that lies outside the window, so that this node cannot append after it. */
  #unreachable: BridgePosition | undefined;
  #unreachableSince = -Infinity;
  /** Whether a second marker has found the log still at that position. */
  #unreachableConfirmed = false;
  /** The node that appended last. */
  #writer = "";
  #appendedAt = -Infinity;
  #failures = 0;
  #notBefore = -Infinity;
  #markers = 0;

  /** Creates a sequencer without a subscription. */
  constructor(options: SequencerOptions) {
    this.#options = options;
  }

  /** Whether this node can append the messages that it receives. */
  get synchronized(): boolean {
    return this.#synchronized;
  }

  /** Number of received items that this node has not yet seen in the log. */
  get pending(): number {
    return (this.#window?.size ?? 0) + (this.#previousWindow?.size ?? 0);
  }

  /** Records that a subscription is established. From now on this node receives published messages. */
  subscribed(): void {
    this.#subscribed = true;
  }

  /**
   * Records that the subscription is lost. The items that it had received are still appended if the log continues from
   * there.
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
   * Discards all received items. Call it if they came from another server than the log's, as after a failover, because
   * they have no position in the order of this server. The next `resume` records a gap for them.
   */
  discard(): void {
    this.#previousWindow = undefined;
    this.#reset();
  }

  /**
   * Adds a received item.
   *
   * @returns `false` if the limits of the window are exceeded. All received items have then been discarded.
   */
  received(item: ReceivedItem): boolean {
    // Items that arrive before the first marker of this node have no position.
    if (this.#window === undefined) return true;
    this.#window.push(item);
    if (
      this.#window.size <= PENDING_MAX &&
      this.#window.bytes <= PENDING_BYTES_MAX
    ) return true;
    this.discard();
    return false;
  }

  /** Adds a received marker, of this node or of another. */
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

  /** Handles the announcement that `writer` has moved the log to `position`. */
  positionAnnounced(position: BridgePosition, writer: string): void {
    this.#writer = writer;
    if (this.#window?.advanceTo(position)) this.#synchronize();
    // The announcement is older than a reply that arrived first, or the log is no longer at the position that this node
    // assumes.
    else this.#doubtful = this.#synchronized;
  }

  /** Returns the next step. */
  next(now: number): Step {
    if (now < this.#notBefore) {
      return { kind: "wait", ms: this.#notBefore - now };
    }
    // Publish a marker before any other step: messages get a position only after this node has received the marker,
    // even if the old window is lost.
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

  /** Reports that `marker` was published while the log was at `position`. */
  markerPublished(marker: string, position: BridgePosition): void {
    this.#failures = 0;
    if (this.#request?.marker !== marker) return;
    this.#request.position = position;
    this.#evaluateRequest();
  }

  /** Reports the result of an `append` from `window`. */
  appended(
    window: ReceivedWindow,
    { outcome, position, error }: CompareResult,
    now: number,
  ): void {
    this.#appendedAt = now;
    if (error === undefined) this.#failures = 0;
    else this.failed(now);
    const advanced = window.advanceTo(position);
    if (window === this.#previousWindow) {
      if (!advanced || outcome === "back" || window.size === 0) {
        this.#previousWindow = undefined;
      }
    } else if (window !== this.#window) return;
    // The log has lost messages that it had, so this window no longer continues its order.
    else if (outcome === "back") this.#reset();
    else if (!advanced) {
      // Either other nodes have received messages that this node has not received yet, or the log has lost its
      // position. The node stays synchronized until a new marker shows which of the two is true.
      this.#doubtful = true;
      this.#notBefore = now + BACKOFF_MS;
    }
  }

  /** Reports the result of a `resume`: whether the log now continues at `to`. */
  resumed(done: boolean, to: BridgePosition, now: number): void {
    this.#failures = 0;
    this.#unreachableConfirmed = false;
    if (done) {
      this.#writer = this.#options.node;
      if (this.#window?.advanceTo(to)) this.#synchronize();
    } else this.#notBefore = now + MARKER_INTERVAL_MS;
  }

  /** Reports that a command failed or that its reply was lost; it may have been executed. */
  failed(now: number): void {
    const pause = Math.min(BACKOFF_MS * 2 ** this.#failures++, BACKOFF_MS_MAX);
    this.#notBefore = now + pause;
    // The marker may still be received, but without the reply the log's position at that moment is unknown.
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
   * Marks this node as synchronized. The log's position lies in the window, so everything before the window has been
   * appended or recorded as a gap.
   */
  #synchronize(): void {
    this.#synchronized = true;
    this.#doubtful = false;
    this.#request = undefined;
    this.#unreachable = undefined;
    this.#previousWindow = undefined;
  }

  /** Checks whether the log's position lies in the window, once the marker and the reply have both arrived. */
  #evaluateRequest(): void {
    const window = this.#window;
    const { received, position, marker = "", sentAt = 0 } = this.#request ?? {};
    if (!received || position === undefined || window === undefined) return;
    if (window.advanceTo(position)) return this.#synchronize();
    const { channelGroup } = this.#options;
    // Nodes of another channel group may have appended the items that were received before the marker, so they are
    // dropped.
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
    // The window of a lost subscription is appended at once, because the next step may record a gap in its place.
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
    // The name contains the node's, so that the script that appends this marker can list the node as synchronized.
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
