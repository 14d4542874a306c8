/**
 * A second implementation of `Subscriber`: Server-Sent Events, written to an HTTP response.
 *
 * With it, tests show that fan-out is independent of the protocol. Roomcast itself does not serve Server-Sent Events.
 */
import { Buffer } from "node:buffer";
import type { ServerResponse } from "node:http";
import { type Encoder, Subscriber } from "../../lib/delivery/subscriber.ts";
import { EVENT_DEFAULT } from "../../lib/log/event_name.ts";
import type { Entry } from "../../lib/log/log.ts";
import { timestampOf } from "../../lib/log/position.ts";

/** The bytes of one or more complete events. */
export interface SseFrame {
  readonly bytes: Buffer;
  /** The room of the message, if the frame is a single message. */
  readonly room?: string | undefined;
}

/** Encodes one event. `data` is its JSON. */
function event(name: string, data: string, id: string): string {
  return `id: ${id}\nevent: ${name}\ndata: ${data}\n\n`;
}

function textOf({ id, room, json, meta }: Entry): string {
  const facts = `"room":${JSON.stringify(room)},"at":${timestampOf(id)}`;
  return event(
    meta?.event ?? EVENT_DEFAULT,
    `{"message":${json},${facts}}`,
    id,
  );
}

/** Makes the frames of Server-Sent Events. */
export const sseEncoder: Encoder = {
  messages(entries): SseFrame {
    const bytes = Buffer.from(entries.map(textOf).join(""));
    return { bytes, room: entries.length === 1 ? entries[0]?.room : undefined };
  },
  gap({ room, reason, since, id }): SseFrame {
    const data = JSON.stringify({ room, reason, since });
    return { bytes: Buffer.from(event("gap", data, id)) };
  },
  event(name, facts): SseFrame {
    const text = `event: ${name}\ndata: ${JSON.stringify(facts)}\n\n`;
    return { bytes: Buffer.from(text) };
  },
};

/** Number of replayed messages that are written together. */
const CHUNK_MESSAGES = 50;

/** A frame, or a list of replayed messages, that was not written completely yet. */
type Queued = SseFrame | { readonly replay: Entry[] };

/** Writes events to one HTTP response. */
export class SseSubscriber extends Subscriber {
  readonly #response: ServerResponse;
  #queue: Queued[] = [];
  /** Whether the kernel has not taken all bytes of the last write yet. */
  #waiting = false;
  /** Whether the write for which `#waiting` is set contains replayed messages. */
  #replaying = false;
  #requested = 0;

  /** Creates the subscriber of an HTTP response whose head has already been written. */
  constructor(response: ServerResponse) {
    super();
    this.#response = response;
  }

  override get encoder(): Encoder {
    return sseEncoder;
  }

  override get idle(): boolean {
    return this.#queue.length === 0 && !this.#waiting;
  }

  override get bufferedBytes(): number {
    return this.#allBytes() - this.requestedBytes;
  }

  override get requestedBytes(): number {
    return this.#requested = Math.min(this.#requested, this.#allBytes());
  }

  override write(frame: SseFrame): void {
    this.#queue.push(frame);
    this.#pump();
  }

  override writeLatest(entry: Entry): number {
    const older = this.#queue.findLastIndex((queued) =>
      "bytes" in queued && queued.room === entry.room
    );
    if (older >= 0) this.#queue.splice(older, 1);
    this.write(sseEncoder.messages([entry]) as SseFrame);
    return older >= 0 ? 1 : 0;
  }

  override replay(entries: readonly Entry[]): void {
    if (entries.length > 0) this.#queue.push({ replay: [...entries] });
    this.#pump();
  }

  override respond(write: () => void): void {
    const { bufferedBytes } = this;
    write();
    this.#requested = this.#allBytes() - bufferedBytes;
  }

  override disconnect(): void {
    this.#queue = [];
    this.#response.destroy();
  }

  /** Writes from the queue until the kernel takes no more bytes. Continues when the kernel has taken them. */
  #pump(): void {
    while (!this.#waiting && !this.#response.destroyed) {
      const bytes = this.#next();
      if (bytes === undefined) return;
      this.#waiting = true;
      this.#response.write(bytes, () => {
        this.#waiting = false;
        this.#pump();
      });
    }
  }

  /**
   * Removes from the queue what has to be written next, and returns it: a chunk of replayed messages, or all frames
   * that are queued before such messages.
   */
  #next(): Buffer | undefined {
    const [first] = this.#queue;
    this.#replaying = first !== undefined && "replay" in first;
    if (first === undefined) return undefined;
    if ("replay" in first) {
      const chunk = first.replay.splice(0, CHUNK_MESSAGES);
      if (first.replay.length === 0) this.#queue.shift();
      return Buffer.from(chunk.map(textOf).join(""));
    }
    const end = this.#queue.findIndex((queued) => "replay" in queued);
    const frames = this.#queue.splice(0, end < 0 ? this.#queue.length : end);
    return Buffer.concat(
      frames.flatMap((frame) => "bytes" in frame ? [frame.bytes] : []),
    );
  }

  #allBytes(): number {
    if (this.#response.destroyed) return 0;
    return this.#queue.reduce(
      (sum, queued) => sum + ("bytes" in queued ? queued.bytes.length : 0),
      this.#replaying ? 0 : this.#response.writableLength,
    );
  }
}
