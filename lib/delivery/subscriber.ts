/**
 * The interface between fan-out and the protocols of clients.
 *
 * A protocol has one {@linkcode Encoder} and, for each connection, one {@linkcode Subscriber}. `FanOut`, `Recovery` and
 * `Clients` use nothing else of a protocol.
 *
 * @module
 */
import type { Entry } from "../log/log.ts";
import type { GapReason } from "../log/gaps.ts";

/** The content of a `gap` event, which tells a client that messages of a room may be missing. */
export interface GapNotice {
  readonly room: string;
  readonly reason: GapReason;
  /** The id after which messages may be missing; null if that id is unknown. */
  readonly since: string | null;
  /** The id that is sent with the `gap` event and then becomes the client's offset. */
  readonly id: string;
}

/** The bytes that an encoder made of messages or of a gap. Only subscribers with the same encoder can write a frame. */
export type Frame = object;

/** Makes the frames of one protocol. All connections of a protocol share one encoder. */
export interface Encoder {
  /** Makes one frame of one or more messages, in the given order. */
  messages(entries: readonly Entry[]): Frame;
  /** Makes the frame of a `gap` event. */
  gap(notice: GapNotice): Frame;
}

/**
 * Writes to one client and counts the bytes that are still buffered for it.
 *
 * A subscriber is a class and not an interface so that fan-out can store two fields in it; a look-up in a map would
 * take longer at each delivery. Methods may throw; fan-out then reports the error and continues with the next
 * subscriber.
 */
export abstract class Subscriber {
  /** Number of rooms that the subscriber has joined. Only fan-out changes this field. */
  roomCount = 0;
  /**
   * Whether the subscriber was disconnected because too many bytes were buffered for it. Only fan-out changes this
   * field.
   */
  disconnectedAsSlow = false;

  /** The encoder whose frames this subscriber can write. A subscriber never changes its encoder. */
  abstract get encoder(): Encoder;
  /** Whether no bytes are buffered for the client, so that a frame that is written now is sent at once. */
  abstract get idle(): boolean;
  /** Bytes that are buffered for the client in this process, except bytes that the client asked for. */
  abstract get bufferedBytes(): number;
  /** Bytes that are buffered in this process because the client asked for them. */
  abstract get requestedBytes(): number;
  /** Writes a frame of the subscriber's own encoder, after all bytes that are already buffered. */
  abstract write(frame: Frame): void;
  /**
   * Writes a message. If an older message of the same room is still buffered, discards that message.
   *
   * @returns The number of messages that were discarded: 0 or 1.
   */
  abstract writeLatest(entry: Entry): number;
  /** Writes messages that the client missed, in order. Their bytes do not count as buffered. */
  abstract replay(entries: readonly Entry[]): void;
  /**
   * Calls `write`, which writes an answer to the client. The bytes of the answer count as requested and not as
   * buffered.
   */
  abstract respond(write: () => void): void;
  /** Closes the client's connection at once and discards all buffered bytes. */
  abstract disconnect(): void;
}
