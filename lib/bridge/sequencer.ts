/**
 * Ingress: who appends what all have heard, and from which place on. Decides only; {@linkcode RedisBridge} does.
 *
 * @module
 */
import {
  type BridgePosition,
  type ReceivedItem,
  ReceivedWindow,
} from "./received_window.ts";

/** What is to be done next. One thing at a time: the next is asked for when its outcome has been told. */
export type Step =
  /** Nothing, for so long, unless something is heard; Infinity: until then. */
  | { readonly kind: "wait"; readonly ms: number }
  /**
   * Publish `marker`, and in the same piece find out which place the log has reached. `anew` where this node has heard
   * nothing before: whatever it was in step with is lost.
   */
  | { readonly kind: "ask"; readonly marker: string; readonly anew: boolean }
  /** Append `items`, those the log has not got: compare and append. */
  | {
    readonly kind: "append";
    readonly after: BridgePosition;
    readonly items: readonly ReceivedItem[];
    readonly slice: ReceivedWindow;
  }
  /**
   * Go on from `to`, with a gap, if the log is still where it was at `from` and nobody is in step: what lies between
   * is known to nobody. Only where the log stood still between two questions: who is in step has heard of them, and
   * has said so.
   */
  | {
    readonly kind: "resume";
    readonly from: BridgePosition;
    readonly to: BridgePosition;
  };

/** What comparing and appending came to. */
export interface CompareResult {
  /**
   * `appended`: the log goes on from `place`, whoever appended up to it. `elsewhere`: the log is at a marker other than
   * the one named. `back`: it is before the first item that was sent; it has lost what it had.
   */
  readonly outcome: "appended" | "elsewhere" | "back";
  /** Where the log is now. */
  readonly place: BridgePosition;
  /** Something kept it from taking all. */
  readonly error?: string | undefined;
}

/** What an {@linkcode Sequencer} is made of. */
export interface SequencerOptions {
  /** This node's name among the nodes. */
  readonly node: string;
  /** Who counts alike: those with the same name here have the same channels. */
  readonly group: string;
  /** How long a node holds what it heard while another is at it, in ms. */
  readonly patienceMs: number;
}

/** Shortest time between two appends of one node, unless there is enough for a whole one: they batch. */
export const APPEND_INTERVAL_MS = 5;
/** Most items of one append, and most bytes: Redis serves nobody else while it runs. */
const BATCH_MAX = 512;
const BATCH_BYTES_MAX = 1 << 20;
/** Most items that may wait, and most bytes; at the bound all are given up, and a gap will say so. */
const PENDING_MAX = 100_000;
const PENDING_BYTES_MAX = 64 << 20;
/** How soon a node that is out of step asks again, and how long it waits for a marker of its own. */
const ASK_MS = 250;
const MARKER_TIMEOUT_MS = 2000;
/** Pauses after a command that failed: the first, and the longest. */
const BACKOFF_MS = 25;
const BACKOFF_MS_MAX = 500;

/** A marker of our own on its way, and what the log said where it was sent. */
interface MarkerRequest {
  readonly marker: string;
  readonly askedAt: number;
  heard: boolean;
  place: BridgePosition | undefined;
}

/**
 * Numbers what one node hears and decides what it does about it (`docs/decisions/0008-bridge.md`).
 *
 * Safety, never twice and in order, is in the comparison alone: the log only ever goes from a place to the next one
 * heard after it, or, by `resume`, over a hole that it records. Whatever is decided here, and however late, costs at
 * most time. Liveness is here: someone who is in step appends what was heard.
 */
export class Sequencer {
  readonly #options: SequencerOptions;
  #listening = false;
  /** What this subscription has heard. */
  #slice: ReceivedWindow | undefined;
  /** What the subscription before it had heard and not seen in the log: it may still be wanted. */
  #former: ReceivedWindow | undefined;
  /** Whether the place the log has reached is in our slice. */
  #inStep = false;
  /** Whether it turned out that it may no longer be. */
  #doubt = false;
  #question: MarkerRequest | undefined;
  /** A place the log is at from which we cannot go on; since when, and whether it still was there when asked again. */
  #stuckAt: BridgePosition | undefined;
  #stuckSince = -Infinity;
  #stuckStill = false;
  #writer = "";
  #appendedAt = -Infinity;
  #failures = 0;
  #notBefore = -Infinity;
  #markers = 0;

  /** Hears nothing yet. */
  constructor(options: SequencerOptions) {
    this.#options = options;
  }

  /** Whether this node can append what it hears. */
  get inStep(): boolean {
    return this.#inStep;
  }

  /** How many items this node holds that it has not seen in the log. */
  get pending(): number {
    return (this.#slice?.size ?? 0) + (this.#former?.size ?? 0);
  }

  /** A subscription stands: what is published from now on is heard. */
  listening(): void {
    this.#listening = true;
  }

  /** The subscription is lost: whatever is published from now on is not heard. */
  lost(): void {
    // What was heard is still wanted, if it goes on from where the log is.
    if (this.#inStep && this.#slice !== undefined && this.#slice.size > 0) {
      this.#former = this.#slice;
    }
    this.#listening = false;
    this.#begin();
  }

  /**
   * What was heard belongs to another server than the log, as when Redis has failed over: it has no place in this
   * server's order. What it held is told as a gap.
   */
  discard(): void {
    this.#former = undefined;
    this.#begin();
  }

  /** A message was heard, or something that takes a message's place. Answers false at the bound: all is given up. */
  heard(item: ReceivedItem): boolean {
    // Before the first marker of our own nothing has a place.
    if (this.#slice === undefined) return true;
    this.#slice.push(item);
    if (
      this.#slice.size <= PENDING_MAX && this.#slice.bytes <= PENDING_BYTES_MAX
    ) return true;
    this.#former = undefined;
    this.#begin();
    return false;
  }

  /** A marker was heard, of this node or another. */
  marker(marker: string, now: number): void {
    const ours = this.#question?.marker === marker;
    if (this.#slice !== undefined) {
      this.heard({ kind: "marker", marker, heardAt: now });
    } else if (ours) {
      this.#slice = new ReceivedWindow(marker, this.#options.group);
    }
    if (ours && this.#question !== undefined) {
      this.#question.heard = true;
      this.#conclude();
    }
  }

  /** It was announced how far the log is, and who appended last. */
  announced(place: BridgePosition, writer: string): void {
    this.#writer = writer;
    if (this.#slice?.advanceTo(place)) this.#arrive();
    // Old news, if answers were faster; or the log is no longer where we think.
    else this.#doubt = this.#inStep;
  }

  /** What is to be done now. */
  next(now: number): Step {
    if (now < this.#notBefore) {
      return { kind: "wait", ms: this.#notBefore - now };
    }
    // What is heard has no place before it has asked, whatever becomes of what was heard before.
    if (
      this.#listening && this.#slice === undefined &&
      this.#question === undefined
    ) return this.#join(now);
    const first = this.#append(this.#former, now);
    if (first.kind !== "wait" || !this.#listening) return first;
    const second = this.#inStep && !this.#doubt
      ? this.#append(this.#slice, now)
      : this.#join(now);
    return second.kind === "wait" && first.ms < second.ms ? first : second;
  }

  /** An `ask` was answered: the log was at `place` when the marker was published. */
  asked(marker: string, place: BridgePosition): void {
    this.#failures = 0;
    if (this.#question?.marker !== marker) return;
    this.#question.place = place;
    this.#conclude();
  }

  /** An `append` from `slice` was answered. */
  appended(
    slice: ReceivedWindow,
    { outcome, place, error }: CompareResult,
    now: number,
  ): void {
    this.#appendedAt = now;
    if (error === undefined) this.#failures = 0;
    else this.failed(now);
    const known = slice.advanceTo(place);
    if (slice === this.#former) {
      if (!known || outcome === "back" || slice.size === 0) {
        this.#former = undefined;
      }
    } else if (slice !== this.#slice) return;
    // The log has lost what it had: our slice is no part of its order any more.
    else if (outcome === "back") this.#begin();
    else if (!known) {
      // Either we have not heard yet what others have, or the log has lost its place: in step until that is known.
      this.#doubt = true;
      this.#notBefore = now + BACKOFF_MS;
    }
  }

  /** A `resume` was answered: whether the log now goes on from `to`. */
  resumed(done: boolean, to: BridgePosition, now: number): void {
    this.#failures = 0;
    this.#stuckStill = false;
    if (done) {
      this.#writer = this.#options.node;
      if (this.#slice?.advanceTo(to)) this.#arrive();
    } else this.#notBefore = now + ASK_MS;
  }

  /** A command came to nothing, as far as is known. */
  failed(now: number): void {
    const pause = Math.min(BACKOFF_MS * 2 ** this.#failures++, BACKOFF_MS_MAX);
    this.#notBefore = now + pause;
    // Its marker may be on its way all the same; without its answer it says nothing.
    if (this.#question?.place === undefined) this.#question = undefined;
  }

  #begin(): void {
    this.#slice = undefined;
    this.#inStep = false;
    this.#doubt = false;
    this.#question = undefined;
    this.#stuckAt = undefined;
  }

  /** The place the log has reached is in our slice: what was heard before it has been taken, or told as a gap. */
  #arrive(): void {
    this.#inStep = true;
    this.#doubt = false;
    this.#question = undefined;
    this.#stuckAt = undefined;
    this.#former = undefined;
  }

  /** The marker is back and the answer is in: the log's place is in our slice, or was before it. */
  #conclude(): void {
    const slice = this.#slice;
    const { heard, place, marker = "", askedAt = 0 } = this.#question ?? {};
    if (!heard || place === undefined || slice === undefined) return;
    if (slice.advanceTo(place)) return this.#arrive();
    const { group } = this.#options;
    // Who counts otherwise may have appended what we heard before the marker.
    if (place.marker !== "" && place.group !== group) {
      slice.advanceTo({ marker, number: 0, group });
    }
    this.#inStep = false;
    if (this.#stuckAt?.marker !== place.marker) this.#stuckSince = askedAt;
    this.#stuckAt = place;
    this.#stuckStill = place.marker === "" || askedAt > this.#stuckSince;
  }

  #append(slice: ReceivedWindow | undefined, now: number): Step {
    const first = slice?.first;
    if (slice === undefined || first === undefined) {
      return { kind: "wait", ms: Infinity };
    }
    const { node, patienceMs } = this.#options;
    // What a lost subscription had heard goes at once: what comes next may be a gap.
    const due = slice === this.#former || slice.size >= BATCH_MAX
      ? now
      : this.#writer === node
      ? this.#appendedAt + APPEND_INTERVAL_MS
      : first.heardAt + patienceMs;
    if (due > now) return { kind: "wait", ms: due - now };
    return {
      kind: "append",
      after: slice.place,
      items: slice.batch(BATCH_MAX, BATCH_BYTES_MAX),
      slice,
    };
  }

  #join(now: number): Step {
    if (
      this.#stuckAt !== undefined && this.#stuckStill &&
      this.#slice !== undefined
    ) {
      return { kind: "resume", from: this.#stuckAt, to: this.#slice.place };
    }
    const question = this.#question;
    const due = question === undefined
      ? now
      : question.askedAt + (question.heard ? ASK_MS : MARKER_TIMEOUT_MS);
    if (due > now) return { kind: "wait", ms: due - now };
    // Whoever passes it knows by its name who is in step from then on.
    const marker = `${this.#options.node}.${++this.#markers}`;
    this.#question = { marker, askedAt: now, heard: false, place: undefined };
    return { kind: "ask", marker, anew: this.#slice === undefined };
  }
}
