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
import type { FactsOf, OwnEvent } from "../socket_events/events.ts";

/** The content of a `gap` event, which tells a client that messages of a room may be missing. */
export interface GapNotice {
  readonly room: string;
  readonly reason: GapReason;
  /** The id after which messages may be missing; null if that id is unknown. */
  readonly since: string | null;
  /** The id that is sent with the `gap` event, so that the client's offset then contains it. */
  readonly id: string;
}

/**
 * The bytes that an encoder has made of messages or of a gap. Only subscribers with this encoder can write the frame.
 */
export type Frame = object;

/**
 * The events that concern only one client. `joined`: the server has put the client into a room. `left`: the server has
 * taken the client out of a room. `token_expiring`: the client's token will soon expire.
 */
export type ClientEvent = Extract<
  OwnEvent,
  "joined" | "left" | "token_expiring"
>;

/** Makes the frames of one protocol. All connections of a protocol share one encoder. */
export interface Encoder {
  /** Makes a single frame that contains one or more messages, in the given order. */
  messages(entries: readonly Entry[]): Frame;
  /** Makes the frame of a `gap` event. */
  gap(notice: GapNotice): Frame;
  /**
   * Makes the frame of an event for a single client. Without `id`, the event is not part of the order of messages. With
   * it, the client has received everything up to `id` when it receives the event, so that its offset then contains it.
   */
  event<E extends ClientEvent>(name: E, facts: FactsOf<E>, id?: string): Frame;
  /**
   * Makes the frame of an event by which the client's offset confirms a notice and all before it, together with `id`.
   * Undefined if the clients of the protocol have no sessions.
   */
  readonly position?:
    | ((facts: FactsOf<"position">, id: string, notice: Confirmed) => Frame)
    | undefined;
}

/** The last notice that an offset confirms, by the generation of the session and the notice's number in it. */
export interface Confirmed {
  readonly generation: number;
  readonly number: number;
}

/** Is told how a client is sent the messages that it missed. */
export interface ReplayWatcher {
  /** Called whenever the client is about to be sent some of the messages. It has then been sent all before them. */
  progressed(): void;
  /** Called once when all messages have been written to the client's connection. Not called if it is closed before. */
  finished(): void;
}

/** Iterates over the parts of a replay, and tells `watcher` about each of them and about the end. */
export function* watchReplay<T>(
  parts: Iterable<T>,
  watcher: ReplayWatcher | undefined,
): Generator<T> {
  for (const part of parts) {
    watcher?.progressed();
    yield part;
  }
  watcher?.finished();
}

/**
 * Writes to one client and counts the bytes that are still buffered for it.
 *
 * Subscriber is a class and not an interface, because fan-out stores two fields in it; looking these up in a map would
 * slow down each delivery. The methods may throw; fan-out then reports the error and continues with the next
 * subscriber.
 */
export abstract class Subscriber {
  /** Number of rooms that the client is in. Only fan-out changes this field. */
  roomCount = 0;
  /**
   * Whether the client was disconnected because too many bytes were buffered for it. Only fan-out changes this field.
   */
  disconnectedAsSlow = false;

  /** The encoder whose frames this subscriber can write. A subscriber never changes its encoder. */
  abstract get encoder(): Encoder;
  /** Whether the client's connection is closed, so that nothing is buffered for the client. */
  abstract get closed(): boolean;
  /** Whether no bytes are buffered for the client, so that a frame that is written now is sent at once. */
  abstract get idle(): boolean;
  /** Bytes that are buffered for the client in this process, without those of answers to the client's own requests. */
  abstract get bufferedBytes(): number;
  /** Bytes of answers to the client's own requests that are buffered for the client in this process. */
  abstract get requestedBytes(): number;
  /** Writes a frame, which this subscriber's own encoder must have made, after all bytes that are already buffered. */
  abstract write(frame: Frame): void;
  /**
   * Writes the frame of one message. If an older message of the same room is still buffered, discards the older one.
   *
   * @returns How many messages were discarded: 0 or 1.
   */
  abstract writeLatest(room: string, frame: Frame): number;
  /** Writes messages that the client missed, in order. These bytes do not count in `bufferedBytes`. */
  abstract replay(entries: readonly Entry[], watcher?: ReplayWatcher): void;
  /**
   * Calls `write`, which writes an answer to the client. The answer's bytes count in `requestedBytes` and not in
   * `bufferedBytes`.
   */
  abstract respond(write: () => void): void;
  /** Closes the client's connection at once and discards all buffered bytes. */
  abstract disconnect(): void;
  /**
   * Closes the client's connection, and tells the client not to connect again by itself if the protocol can say so.
   */
  dismiss(): void {
    this.disconnect();
  }
}
