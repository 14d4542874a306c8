/**
 * The interface between fan-out and the protocols of clients.
 *
 * A protocol implements {@linkcode Encoder} once and {@linkcode Subscriber} for each connection. Fan-out, recovery and
 * the clients use nothing else of the protocol.
 *
 * @module
 */
import type { Entry } from "../log/log.ts";
import type { GapReason } from "../log/gaps.ts";

/** A notice that messages of a room are missing. */
export interface GapNotice {
  readonly room: string;
  readonly reason: GapReason;
  /** The id or position after which messages may be missing; null if it is unknown. */
  readonly since: string | null;
  /** The id of the `gap` event itself. A client that sends it back later has received the event. */
  readonly id: string;
}

/** The bytes that an encoder made. Only subscribers with the same encoder can write them. */
export type Frame = object;

/** Makes the frames of one protocol. Each protocol has one encoder for all connections. */
export interface Encoder {
  /** Makes one frame of one or more messages, in order. */
  messages(entries: readonly Entry[]): Frame;
  /** Makes the frame of a gap. */
  gap(notice: GapNotice): Frame;
}

/**
 * Writes to one client and counts the bytes that are still buffered for it.
 *
 * It is a class and not an interface because fan-out stores two fields on it: a map lookup would cost more for each
 * delivery. Methods may throw; fan-out then reports an error and continues with the next subscriber.
 */
export abstract class Subscriber {
  /** Number of rooms that the subscriber has joined. Only fan-out writes it. */
  roomCount = 0;
  /** Whether the subscriber was disconnected because too many bytes were buffered for it. Only fan-out writes it. */
  disconnectedAsSlow = false;

  /** The encoder whose frames this subscriber can write. It never changes. */
  abstract get encoder(): Encoder;
  /** Whether a frame that is written now is sent on the connection at once. */
  abstract get idle(): boolean;
  /** Bytes that are buffered in this process, without those that the client asked for. */
  abstract get bufferedBytes(): number;
  /** Bytes that are buffered because the client asked for them. */
  abstract get requestedBytes(): number;
  /** Writes a frame of the subscriber's own encoder, after everything that is buffered. */
  abstract write(frame: Frame): void;
  /**
   * Writes a message, and discards an older message of the same room that is still buffered.
   *
   * @returns How many messages it discarded: 0 or 1.
   */
  abstract writeLatest(entry: Entry): number;
  /** Writes messages that the client missed, in order. They do not count as buffered. */
  abstract replay(entries: readonly Entry[]): void;
  /** Calls `write`. The bytes that it writes count as requested, and not as buffered. */
  abstract respond(write: () => void): void;
  /** Closes the connection at once and discards everything that is buffered. */
  abstract disconnect(): void;
}
