/**
 * Packets as they travel to clients: encoded once, whoever they are for.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Transport } from "engine.io";
import type { Encoder } from "../delivery/subscriber.ts";
import type { Entry } from "../log/log.ts";
import { timestampOf } from "../log/position.ts";

/** The opcode of text (RFC 6455 §5.2). */
const TEXT = 1;

/** A packet as Engine.IO queues it. */
export type Packet = Parameters<Transport["send"]>[0][number];

/** A packet of ours in Engine.IO's queue: shared by all it is queued for, never changed. */
export interface SharedPacket {
  readonly type: "message";
  /** The packet as text, for transports that frame by themselves (polling). */
  readonly data: string;
  readonly options: {
    readonly compress: false;
    /** What a WebSocket writes in its place: whole frames, never masked. The name is Engine.IO's own. */
    readonly wsPreEncodedFrame: readonly [Buffer];
  };
  /** The room whose message this is, where it is one. */
  readonly room?: string | undefined;
}

/** What is sent to clients, in both shapes that transports take; shared by all who get it. */
export class SocketIoFrame {
  /** Whole WebSocket frames, one after the other: one for each packet. */
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

  /** Encodes an event of the main namespace: `args` is its JSON, a list that begins with the event's name. */
  static event(args: string, room?: string): SocketIoFrame {
    return new SocketIoFrame(textFrame(`42${args}`), undefined, room);
  }

  /** Joins frames into one piece to write. */
  static join(parts: readonly SocketIoFrame[]): SocketIoFrame {
    const [only] = parts;
    if (only !== undefined && parts.length === 1) return only;
    const bytes = Buffer.concat(parts.map(({ bytes }) => bytes));
    return new SocketIoFrame(bytes, () => parts, undefined);
  }

  /**
   * Encodes messages in one piece to write. None gets a frame of its own before a transport wants one: most are
   * delivered together and never again.
   */
  static messages(entries: readonly Entry[]): SocketIoFrame {
    const [only] = entries;
    if (only !== undefined && entries.length === 1) return messageFrame(only);
    return new SocketIoFrame(
      textFrames(entries.map((entry) => `42${argumentsOf(entry)}`)),
      () => entries.map(messageFrame),
      undefined,
    );
  }

  /** As packets for any transport, one a message. */
  get packets(): readonly SharedPacket[] {
    this.#packets ??= this.#parts === undefined
      ? [packet(textOf(this.bytes), this.bytes, this.#room)]
      : this.#parts().flatMap(({ packets }) => packets);
    return this.#packets;
  }

  /** As one packet, which only a WebSocket can send. */
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

/** The `msgReceived` of a message: the same frame at every call, for as long as the entry lives. */
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

/** What a replay is cut into, in bytes: so much of it waits for a slow client at a time. */
const PIECE_BYTES = 256 << 10;
const first = new WeakMap<readonly Entry[], SocketIoFrame>();

/**
 * Many messages in pieces, in order. Pieces are made when they are asked for; the first is the same at every call with
 * the same list, for those who come back together mostly missed the same, and no more than fits into it.
 */
export function* replayChunks(
  entries: readonly Entry[],
): Generator<Buffer> {
  for (let start = 0; start < entries.length;) {
    let end = start, bytes = 0;
    const known = start === 0 ? first.get(entries) : undefined;
    const parts = [];
    for (; end < entries.length && bytes < PIECE_BYTES; end++) {
      const frame = messageFrame(entries[end] as Entry);
      bytes += frame.bytes.length;
      parts.push(frame);
    }
    const piece = known ?? SocketIoFrame.join(parts);
    if (start === 0) first.set(entries, piece);
    yield piece.bytes;
    start = end;
  }
}

/**
 * An event with one object and an id. The id is the last argument: stock clients take the last argument of any event
 * for their place in the log, if it is a string (socket.io-client, `_lastOffset`).
 */
export function eventFrame(
  event: "joined" | "gap" | "position",
  facts: Readonly<Record<string, unknown>>,
  id: string,
): SocketIoFrame {
  return SocketIoFrame.event(`["${event}",${JSON.stringify(facts)},"${id}"]`);
}

/** Makes the frames of Socket.IO. */
export const socketIoEncoder: Encoder = {
  messages: SocketIoFrame.messages,
  gap: ({ room, reason, since, id }) =>
    eventFrame("gap", { room, reason, since }, id),
};

/** A WebSocket text frame as servers send it: final, not masked (RFC 6455 §5.2). */
export function textFrame(text: string): Buffer {
  return textFrames([text]);
}

/** Any other frame as servers send it: final, not masked. */
export function frameOf(opcode: number, payload: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(headLength(payload.length) + payload.length);
  payload.copy(frame, writeHead(frame, 0, opcode, payload.length));
  return frame;
}

/** Frames of {@linkcode textFrame}, one after the other. */
function textFrames(texts: readonly string[]): Buffer {
  const lengths = texts.map((text) => Buffer.byteLength(text));
  const frames = Buffer.allocUnsafe(
    lengths.reduce((sum, length) => sum + headLength(length) + length, 0),
  );
  let at = 0;
  for (const [index, text] of texts.entries()) {
    at = writeHead(frames, at, TEXT, lengths[index] ?? 0);
    at += frames.write(text, at);
  }
  return frames;
}

function headLength(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10;
}

/** Answers where the payload goes. */
function writeHead(
  frames: Buffer,
  at: number,
  opcode: number,
  length: number,
): number {
  const head = headLength(length);
  frames[at] = 0x80 | opcode;
  frames[at + 1] = head === 2 ? length : head === 4 ? 126 : 127;
  if (head === 4) frames.writeUInt16BE(length, at + 2);
  if (head === 10) frames.writeBigUInt64BE(BigInt(length), at + 2);
  return at + head;
}

/** The Socket.IO packet in a frame of {@linkcode textFrame}: what follows the head and Engine.IO's digit. */
function textOf(frame: Buffer): string {
  const short = frame[1] ?? 0;
  const head = short < 126 ? 2 : short === 126 ? 4 : 10;
  return frame.toString("utf8", head + 1);
}
