/**
 * What fan-out writes to, whatever protocol the client speaks.
 *
 * A transport implements {@linkcode Encoder} once and {@linkcode Subscriber} for each connection. Fan-out, recovery and
 * the clients know nothing else of it.
 *
 * @module
 */
import type { Entry } from "../log/log.ts";
import type { GapReason } from "../log/gaps.ts";

/** What a client is told of messages that are missing. */
export interface GapNotice {
  readonly room: string;
  readonly reason: GapReason;
  /** The id or position after which messages may be missing; null if it is unknown. */
  readonly since: string | null;
  /** The id of the event itself: a client that shows it later was told. */
  readonly id: string;
}

/** What one protocol writes for an event: made once, and shared by all subscribers of the protocol. */
export interface Frame {
  /** Its size in bytes, as one connection gets it. */
  readonly length: number;
}

/** Makes the frames of one protocol. There is one object for each protocol, not for each connection. */
export interface Encoder {
  /** Makes a frame of one or more messages, in order. */
  messages(entries: readonly Entry[]): Frame;
  /** Makes the frame of a gap. */
  gap(notice: GapNotice): Frame;
}

/**
 * A connection that messages are written to. It is a class because fan-out keeps two fields of its own on it, which
 * costs less than a look-up for each delivery.
 */
export abstract class Subscriber {
  /** In how many rooms it is. Written by fan-out alone. */
  roomCount = 0;
  /** Whether it was disconnected because it did not read. Written by fan-out alone. */
  disconnectedAsSlow = false;

  /** What makes the frames that it takes. */
  abstract readonly encoder: Encoder;
  /** Whether a frame that is written now goes to the connection at once. */
  abstract get idle(): boolean;
  /** Bytes that are buffered in this process, without those that the client asked for. */
  abstract get bufferedBytes(): number;
  /** Bytes that are buffered because the client asked for them. */
  abstract get requestedBytes(): number;
  /** Writes a frame of its own encoder, behind what is buffered. */
  abstract write(frame: Frame): void;
  /** Writes a message in place of an older one of its room that is still buffered. Returns how many it replaced. */
  abstract writeLatest(entry: Entry): number;
  /** Writes messages that the client missed, in order. They do not count as buffered. */
  abstract replay(entries: readonly Entry[]): void;
  /** Runs `write`; what it writes counts as requested, and not as buffered. */
  abstract respond(write: () => void): void;
  /** Closes the connection at once and discards what is buffered. */
  abstract disconnect(): void;
}
