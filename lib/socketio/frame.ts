/**
 * Encodes Socket.IO packets as frames. Each frame is encoded once and shared by all clients that receive it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Confirmed, Encoder } from "../delivery/subscriber.ts";
import type { QueuedPacket } from "../engineio/internals.ts";
import { EVENT_DEFAULT } from "../log/event_name.ts";
import type { Entry } from "../log/log.ts";
import { fromJson } from "../log/message_json.ts";
import { timestampOf } from "../log/position.ts";
import type { FactsOf, OwnEvent } from "../socket_events/events.ts";
import { makeSlabs } from "../util/slabs.ts";
import {
  encodeTextFrame,
  encodeTextFrames,
  payloadStart,
} from "../websocket/frame.ts";
import { formatOffset } from "./offset.ts";

/** A packet for Engine.IO's queue that several connections share, and that therefore must not be changed. */
export interface SharedPacket extends QueuedPacket {
  readonly type: "message";
  /** The packet as text, for the polling transport, which makes its own frames. */
  readonly data: string;
  readonly options: {
    readonly compress: false;
    readonly wsPreEncodedFrame: readonly [Buffer];
  };
  /** The room of the message, if the packet is a single message; undefined for any other packet. */
  readonly room?: string | undefined;
}

/** One or more packets, in the forms that the WebSocket and the polling transport need. */
export class SocketIoFrame {
  /** Complete WebSocket frames, one for each packet, in one buffer. */
  readonly bytes: Buffer;
  readonly #parts: (() => readonly SocketIoFrame[]) | undefined;
  readonly #room: string | undefined;
  #packets: readonly SharedPacket[] | undefined;
  #joined: SharedPacket | undefined;

  private constructor(
    bytes: Buffer,
    parts: (() => readonly SocketIoFrame[]) | undefined,
    room: string | undefined,
  ) {
    this.bytes = bytes;
    this.#parts = parts;
    this.#room = room;
  }

  /** Encodes one event of the main namespace. `args` is a JSON array of the event's name and its arguments. */
  static event(args: string): SocketIoFrame {
    return new SocketIoFrame(
      encodeTextFrame(`42${args}`),
      undefined,
      undefined,
    );
  }

  /** Encodes one message. Use {@linkcode messageFrame}, which does it only once for each message. */
  static message(entry: Entry): SocketIoFrame {
    const bytes = encodeTextFrame(`42${argumentsOf(entry)}`, allocateKept);
    return new SocketIoFrame(bytes, undefined, entry.room);
  }

  /**
   * Encodes messages as one frame, in order. Separate packets for the messages are made only when `packets` is read,
   * because most transports need only the joined frame.
   */
  static messages(entries: readonly Entry[]): SocketIoFrame {
    const [only] = entries;
    if (only !== undefined && entries.length === 1) return messageFrame(only);
    return new SocketIoFrame(
      encodeTextFrames(entries.map((entry) => `42${argumentsOf(entry)}`)),
      () => entries.map(messageFrame),
      undefined,
    );
  }

  /** The frame as one packet for each event. Any transport can send these packets. */
  get packets(): readonly SharedPacket[] {
    this.#packets ??= this.#parts === undefined
      ? [packet(textOf(this.bytes), this.bytes, this.#room)]
      : this.#parts().flatMap(({ packets }) => packets);
    return this.#packets;
  }

  /** The frame as one packet with all events. Only a WebSocket transport can send this packet. */
  get joined(): SharedPacket {
    this.#joined ??= packet("", this.bytes, this.#room);
    return this.#joined;
  }
}

function packet(
  data: string,
  bytes: Buffer,
  room: string | undefined,
): SharedPacket {
  const options = {
    compress: false,
    wsPreEncodedFrame: [bytes],
  } as const;
  return { type: "message", data, options, room };
}

const frames = new WeakMap<Entry, SocketIoFrame>();
/** Allocates the frames of messages, which are kept as long as their messages are in the ring. */
const allocateKept = makeSlabs();

/**
 * Returns the frame of the event with which clients receive a message. Returns the same object at every call with the
 * same `entry`.
 */
export function messageFrame(entry: Entry): SocketIoFrame {
  let frame = frames.get(entry);
  if (frame === undefined) {
    frame = SocketIoFrame.message(entry);
    frames.set(entry, frame);
  }
  return frame;
}

/** The name of the event of most messages, as JSON. */
const DEFAULT_JSON = JSON.stringify(EVENT_DEFAULT);

function argumentsOf({ id, room, json, meta }: Entry): string {
  const event = meta?.event === undefined
    ? DEFAULT_JSON
    : JSON.stringify(meta.event);
  return `[${event},${json},{"room":${JSON.stringify(room)},"at":${
    timestampOf(id)
  }${fromJson(meta?.from)}},"${id}"]`;
}

/**
 * Encodes an event whose arguments are the object `facts` and the id `id`. The id is the last argument: a stock client
 * stores the last argument of an event if it is a string, and sends it as its offset when it reconnects
 * (socket.io-client, `_lastOffset`).
 */
export function eventFrame<E extends OwnEvent>(
  event: E,
  facts: FactsOf<E>,
  id: string,
): SocketIoFrame {
  return SocketIoFrame.event(`["${event}",${JSON.stringify(facts)},"${id}"]`);
}

/** Encodes the event by which a client's offset confirms a notice and all before it, together with `id`. */
export function positionFrame(
  facts: FactsOf<"position">,
  id: string,
  notice: Confirmed,
): SocketIoFrame {
  return eventFrame("position", facts, formatOffset(id, notice));
}

/** Makes the frames of Socket.IO clients. */
export const socketIoEncoder: Encoder = {
  messages: SocketIoFrame.messages,
  gap: ({ room, reason, since, id }) =>
    eventFrame("gap", { room, reason, since }, id),
  // If the last argument is not a string, the event does not change the client's offset.
  event: (name, facts, id) =>
    id === undefined
      ? SocketIoFrame.event(`["${name}",${JSON.stringify(facts)}]`)
      : eventFrame(name, facts, id),
  position: positionFrame,
};

/**
 * Returns the text of the Socket.IO packet that is in a WebSocket frame. Leaves out the digit of Engine.IO before the
 * packet.
 */
function textOf(frame: Buffer): string {
  return frame.toString("utf8", payloadStart(frame) + 1);
}
