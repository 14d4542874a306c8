/**
 * Encodes events as Server-Sent Events (WHATWG HTML §9.2). Each frame is encoded once and shared by all streams that
 * receive it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type {
  ClientEvent,
  Encoder,
  GapNotice,
} from "../delivery/subscriber.ts";
import { EVENT_DEFAULT } from "../log/event_name.ts";
import type { HeadState } from "../log/head.ts";
import type { Entry } from "../log/log.ts";
import { fromJson } from "../log/message_json.ts";
import { formatPosition, timestampOf } from "../log/position.ts";

/** The bytes of one or more complete events. */
export class SseFrame {
  /** The events as one chunk of HTTP/1.1, with its size before it and its end behind it (RFC 9112 §7.1). */
  readonly chunk: Buffer;
  /** The same events without the chunk around them, for clients of HTTP/1.0. It is a part of the same memory. */
  readonly body: Buffer;
  /** The room of the message, if the frame is a single message; undefined for any other frame. */
  readonly room: string | undefined;

  /** Encodes events that are given as text, which must not be empty. */
  constructor(text: string, room?: string) {
    const length = Buffer.byteLength(text);
    const size = `${length.toString(16)}\r\n`;
    const chunk = Buffer.allocUnsafe(size.length + length + 2);
    chunk.write(size, 0, "latin1");
    chunk.write(text, size.length);
    chunk.write("\r\n", size.length + length, "latin1");
    this.chunk = chunk;
    this.body = chunk.subarray(size.length, size.length + length);
    this.room = room;
  }
}

/** A comment, which keeps proxies from closing a stream on which nothing is sent. Clients ignore it. */
export const HEARTBEAT: SseFrame = new SseFrame(":\n\n");

/**
 * Size at which a chunk of replayed messages ends, in characters. At most one chunk is buffered for a slow client at a
 * time.
 */
const CHUNK_LENGTH = 256 << 10;

/** A chunk of replayed messages, the epoch in its positions, and the index of the first message after it. */
interface Chunk {
  readonly epoch: string;
  readonly frame: SseFrame;
  readonly end: number;
}

/**
 * Makes the frames of Server-Sent Events.
 *
 * The `id:` of a message is a position, with which a client goes on in all its rooms, because all rooms have one order.
 * No other event has an `id:`. A stream therefore resumes at its last message also if it breaks between a gap and the
 * messages behind it, and the client is told the gap again.
 */
export class SseEncoder implements Encoder {
  readonly #head: Pick<HeadState, "epoch">;
  readonly #firstChunks = new WeakMap<readonly Entry[], Chunk>();

  /** Creates an encoder. `head` has the epoch of the log, which is a part of each position. */
  constructor(head: Pick<HeadState, "epoch">) {
    this.#head = head;
  }

  messages(entries: readonly Entry[]): SseFrame {
    const { epoch } = this.#head;
    const room = entries.length === 1 ? entries[0]?.room : undefined;
    return new SseFrame(
      entries.map((entry) => textOf(entry, epoch)).join(""),
      room,
    );
  }

  gap({ room, reason, since, id }: GapNotice): SseFrame {
    return eventFrame("gap", { room, reason, since, id });
  }

  event(
    name: ClientEvent,
    facts: Readonly<Record<string, unknown>>,
  ): SseFrame {
    return eventFrame(name, facts);
  }

  /**
   * Makes the frame that ends what a stream begins with. It sets the client's `Last-Event-ID` to `position`, so that a
   * client that has received no message yet resumes from here, and the time after which the client reconnects.
   *
   * @param hasData Whether the position is an event with data. Firefox and Safari keep an `id:` only if `data:` comes
   * with it, although the specification demands otherwise. Without data, no client passes on an event.
   */
  opening(position: string, retryMs: number, hasData: boolean): SseFrame {
    const event = hasData
      ? `event: position\ndata: ${JSON.stringify({ position })}\n`
      : "";
    return new SseFrame(`retry: ${retryMs}\nid: ${position}\n${event}\n`);
  }

  /**
   * Encodes messages of the current epoch in order, in chunks. Encodes each chunk only when the caller requests it; the
   * epoch may have changed by then. Encodes the first chunk of the same array only once, because clients that reconnect
   * together mostly missed the same messages.
   */
  replay(entries: readonly Entry[]): IterableIterator<SseFrame> {
    return this.#replay(entries, this.#head.epoch);
  }

  *#replay(entries: readonly Entry[], epoch: string): Generator<SseFrame> {
    for (let start = 0; start < entries.length;) {
      const known = start === 0 ? this.#firstChunks.get(entries) : undefined;
      const chunk = known?.epoch === epoch
        ? known
        : chunkOf(entries, start, epoch);
      if (start === 0) this.#firstChunks.set(entries, chunk);
      yield chunk.frame;
      start = chunk.end;
    }
  }
}

function chunkOf(
  entries: readonly Entry[],
  start: number,
  epoch: string,
): Chunk {
  let text = "", end = start;
  for (; end < entries.length && text.length < CHUNK_LENGTH; end++) {
    text += textOf(entries[end] as Entry, epoch);
  }
  return { epoch, frame: new SseFrame(text), end };
}

function textOf({ id, room, json, meta }: Entry, epoch: string): string {
  const message = hasLineEnd(json) ? json.replaceAll(LINE_ENDS, " ") : json;
  return `id: ${formatPosition(epoch, id)}\nevent: ${
    meta?.event ?? EVENT_DEFAULT
  }\ndata: {"message":${message},"room":${
    JSON.stringify(room)
  },"id":"${id}","at":${timestampOf(id)}${fromJson(meta?.from)}}\n\n`;
}

/** Encodes an event that does not change the client's `Last-Event-ID`. */
function eventFrame(
  name: string,
  facts: Readonly<Record<string, unknown>>,
): SseFrame {
  return new SseFrame(`event: ${name}\ndata: ${JSON.stringify(facts)}\n\n`);
}

const LINE_ENDS = /[\r\n]/g;

/**
 * Returns whether a JSON has an end of a line, which would end `data:`. JSON has it only between its tokens, and only
 * if another program has written the message into the log.
 */
function hasLineEnd(json: string): boolean {
  return json.includes("\n") || json.includes("\r");
}
