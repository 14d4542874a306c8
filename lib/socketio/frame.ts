/**
 * Encodes Socket.IO packets as frames, each of which is encoded once and shared by all its recipients.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Encoder } from "../delivery/subscriber.ts";
import type { QueuedPacket } from "../engineio/internals.ts";
import type { Entry } from "../log/log.ts";
import { timestampOf } from "../log/position.ts";
import {
  encodeTextFrame,
  encodeTextFrames,
  payloadStart,
} from "../websocket/frame.ts";

/** A packet in Engine.IO's queue that several connections share. It must not be changed. */
export interface SharedPacket extends QueuedPacket {
  readonly type: "message";
  /** The packet as text, for transports that make their own frames (polling). */
  readonly data: string;
  readonly options: {
    readonly compress: false;
    readonly wsPreEncodedFrame: readonly [Buffer];
  };
  /** The room of a message; undefined for other packets. */
  readonly room?: string | undefined;
}

/** One or more packets, in the two forms that transports need. */
export class SocketIoFrame {
  /** Complete WebSocket frames, one for each packet. */
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

  /** Encodes an event of the main namespace. `args` is a JSON array that begins with the event's name. */
  static event(args: string, room?: string): SocketIoFrame {
    return new SocketIoFrame(encodeTextFrame(`42${args}`), undefined, room);
  }

  /** Joins frames into one. */
  static join(parts: readonly SocketIoFrame[]): SocketIoFrame {
    const [only] = parts;
    if (only !== undefined && parts.length === 1) return only;
    const bytes = Buffer.concat(parts.map(({ bytes }) => bytes));
    return new SocketIoFrame(bytes, () => parts, undefined);
  }

  /**
   * Encodes messages as one frame. Separate frames for the single messages are made only when a transport needs them,
   * because most messages are only sent together.
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

  /** One packet for each event, which any transport can send. */
  get packets(): readonly SharedPacket[] {
    this.#packets ??= this.#parts === undefined
      ? [packet(textOf(this.bytes), this.bytes, this.#room)]
      : this.#parts().flatMap(({ packets }) => packets);
    return this.#packets;
  }

  /** One packet for all events, which only a WebSocket can send. */
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

/** Returns the `msgReceived` event of a message. Returns the same frame at every call, as long as the entry exists. */
export function messageFrame(entry: Entry): SocketIoFrame {
  let frame = frames.get(entry);
  if (frame === undefined) {
    frame = SocketIoFrame.event(argumentsOf(entry), entry.room);
    frames.set(entry, frame);
  }
  return frame;
}

function argumentsOf({ id, room, json }: Entry): string {
  return `["msgReceived",${json},{"room":${JSON.stringify(room)},"at":${
    timestampOf(id)
  }},"${id}"]`;
}

/** Size of the chunks of a replay. At most one chunk is buffered for a slow client at a time. */
const CHUNK_BYTES = 256 << 10;
const firstChunks = new WeakMap<readonly Entry[], SocketIoFrame>();

/**
 * Encodes messages in order, in chunks, each of which is made only when it is requested. For the same list, the first
 * chunk is always the same object: clients that reconnect together mostly missed the same messages, and these mostly
 * fit into one chunk.
 */
export function* replayChunks(entries: readonly Entry[]): Generator<Buffer> {
  for (let start = 0; start < entries.length;) {
    let end = start, bytes = 0;
    const known = start === 0 ? firstChunks.get(entries) : undefined;
    const parts = [];
    for (; end < entries.length && bytes < CHUNK_BYTES; end++) {
      const frame = messageFrame(entries[end] as Entry);
      bytes += frame.bytes.length;
      parts.push(frame);
    }
    const chunk = known ?? SocketIoFrame.join(parts);
    if (start === 0) firstChunks.set(entries, chunk);
    yield chunk.bytes;
    start = end;
  }
}

/**
 * Encodes an event with an object and an id. The id is the last argument, because a stock client remembers the last
 * argument of the last event if it is a string, and sends it when it reconnects (socket.io-client, `_lastOffset`).
 */
export function eventFrame(
  event: "joined" | "gap" | "position",
  facts: Readonly<Record<string, unknown>>,
  id: string,
): SocketIoFrame {
  return SocketIoFrame.event(`["${event}",${JSON.stringify(facts)},"${id}"]`);
}

/** Makes Socket.IO's frames. */
export const socketIoEncoder: Encoder = {
  messages: SocketIoFrame.messages,
  gap: ({ room, reason, since, id }) =>
    eventFrame("gap", { room, reason, since }, id),
};

/** Returns the Socket.IO packet of a frame, which follows Engine.IO's digit. */
function textOf(frame: Buffer): string {
  return frame.toString("utf8", payloadStart(frame) + 1);
}
