/**
 * Writes events to one stream of Server-Sent Events, and counts the bytes that are still buffered for it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { CountingSubscriber } from "../delivery/counting_subscriber.ts";
import {
  type Encoder,
  type ReplayWatcher,
  watchReplay,
} from "../delivery/subscriber.ts";
import type { Entry } from "../log/log.ts";
import type { DirectWriter, WriteRequest } from "../wire/direct_write.ts";
import type { SseEncoder, SseFrame } from "./encoder.ts";

const NOTHING = Buffer.alloc(0);
/** The chunk of HTTP/1.1 that ends a response (RFC 9112 §7.1). */
const LAST_CHUNK = Buffer.from("0\r\n\r\n");

/** A frame, or the chunks of replayed messages, that were not written completely yet. */
type Queued = SseFrame | { readonly chunks: Iterator<SseFrame> };

/** The queue of a subscriber for which nothing is queued. All of these share it, so that they need no memory for it. */
const EMPTY: readonly Queued[] = Object.freeze([]);

/** Options of {@linkcode SseSubscriber}. */
export interface SseSubscriberOptions {
  readonly encoder: SseEncoder;
  readonly directWriter: DirectWriter;
  /** Whether the client understands chunks, and so at least HTTP/1.1. */
  readonly isChunked: boolean;
}

/**
 * Writes to the connection of one HTTP response, without the response. What the response is made of, its head and its
 * chunks, is in the frames already, so that all streams share the same bytes.
 *
 * Queues all frames until {@linkcode SseSubscriber.start} is called.
 */
export class SseSubscriber extends CountingSubscriber implements WriteRequest {
  readonly #socket: Socket;
  readonly #options: SseSubscriberOptions;
  #queue: Queued[] = EMPTY as Queued[];
  /** The bytes of the frames in `#queue`. */
  #queuedBytes = 0;
  /** Whether frames have to be queued, because the stream has not started or the kernel has not taken all bytes. */
  #isBusy = true;
  /** Whether the last write has replayed messages. */
  #isReplaying = false;
  #isEnding = false;
  /** Number of completed writes for which the client had to be waited for. */
  #progress = 0;
  /** The value of `#progress` at the last call of {@linkcode SseSubscriber.isStalled}, if it was busy then. */
  #stalledAt = -1;
  /** Bytes of a direct write that the kernel has not taken yet; undefined if there are none. */
  waiting: Buffer | undefined;

  /** Creates the subscriber of a response to which nothing was written yet. */
  constructor(socket: Socket, options: SseSubscriberOptions) {
    super();
    this.#socket = socket;
    this.#options = options;
  }

  override get encoder(): Encoder {
    return this.#options.encoder;
  }

  override get closed(): boolean {
    return this.#isEnding || this.#socket.destroyed;
  }

  override get idle(): boolean {
    return !this.#isBusy;
  }

  protected override get allBytes(): number {
    if (this.#socket.destroyed) return 0;
    const written = this.#isReplaying
      ? 0
      : this.#socket.writableLength + (this.waiting?.length ?? 0);
    return this.#queuedBytes + written;
  }

  /** Writes the head of the response, and with it all frames that are queued. */
  start(head: string): void {
    this.#pump(Buffer.from(head, "latin1"));
  }

  override write(frame: SseFrame): void {
    if (this.#isBusy) this.#enqueue(frame, this.#bytesOf(frame).length);
    else this.#put(this.#bytesOf(frame));
  }

  override writeLatest(room: string, frame: SseFrame): number {
    const older = this.#queue.findLastIndex((queued) =>
      "room" in queued && queued.room === room
    );
    if (older >= 0) {
      const [discarded] = this.#queue.splice(older, 1);
      this.#queuedBytes -= this.#bytesOf(discarded as SseFrame).length;
    }
    this.write(frame);
    return older >= 0 ? 1 : 0;
  }

  /**
   * Queues the messages that the client missed. Their bytes are not limited, because the history limits the number of
   * messages, and only one chunk of them is in memory at a time.
   */
  override replay(entries: readonly Entry[], watcher?: ReplayWatcher): void {
    if (entries.length === 0) return watcher?.finished();
    const chunks = watchReplay(this.#options.encoder.replay(entries), watcher);
    this.#enqueue({ chunks }, 0);
    if (!this.#isBusy) this.#pump();
  }

  /** Closes the stream. Ends it as a complete response if no bytes are buffered, and breaks it off otherwise. */
  override disconnect(): void {
    if (this.#isBusy) this.#close();
    else this.end();
  }

  /** Ends the stream after the write that is in progress. Discards all queued frames: the client gets them elsewhere. */
  end(): void {
    this.#discard();
    this.#isEnding = true;
    if (!this.#isBusy) this.#finish();
  }

  /**
   * Returns whether bytes are buffered and no write has ended since the last call. The client is then gone, or does not
   * read. Clients of streams send nothing after their request. If one vanishes without closing its connection, only its
   * unread bytes show that.
   */
  isStalled(): boolean {
    const progress = this.#isBusy ? this.#progress : -1;
    const isStalled = progress >= 0 && progress === this.#stalledAt;
    this.#stalledAt = progress;
    return isStalled;
  }

  /**
   * Called when a direct write has ended. Closes the connection if the write has failed. Otherwise writes the frames
   * that were queued during the write.
   */
  oncomplete(status: number): void {
    const isExpected = this.#options.directWriter.complete(this);
    if (!isExpected || status < 0) this.#close();
    else this.#continue();
  }

  #bytesOf({ chunk, body }: SseFrame): Buffer {
    return this.#options.isChunked ? chunk : body;
  }

  #enqueue(queued: Queued, bytes: number): void {
    if (!this.#socket.writable || this.#isEnding) return;
    if (this.#queue === EMPTY) this.#queue = [];
    this.#queue.push(queued);
    this.#queuedBytes += bytes;
  }

  #discard(): void {
    this.#queue = EMPTY as Queued[];
    this.#queuedBytes = 0;
  }

  #continue(): void {
    this.#progress++;
    if (this.#isEnding) this.#finish();
    else this.#pump();
  }

  /** Writes from the queue, after the bytes in `first`, until the kernel takes no more bytes. */
  #pump(first?: Buffer): void {
    let before = first;
    while (this.#socket.writable) {
      const bytes = this.#next(before);
      before = undefined;
      if (bytes === undefined) {
        this.#isBusy = false;
        this.#discard();
        return;
      }
      if (!this.#put(bytes)) return;
    }
  }

  /**
   * Removes from the queue what has to be written next, and returns it behind the bytes in `before`: a chunk of replayed
   * messages, or all frames that are queued before such messages.
   */
  #next(before?: Buffer): Buffer | undefined {
    this.#isReplaying = false;
    const frames: Buffer[] = [];
    let count = 0;
    for (; count < this.#queue.length; count++) {
      const queued = this.#queue[count] as Queued;
      if ("chunk" in queued) {
        frames.push(this.#bytesOf(queued));
        continue;
      }
      if (frames.length > 0) break;
      const { value } = queued.chunks.next();
      // All chunks are written.
      if (value === undefined) continue;
      this.#isReplaying = true;
      frames.push(this.#bytesOf(value));
      break;
    }
    const taken = count === 0 ? EMPTY : this.#queue.splice(0, count);
    for (const queued of taken) {
      if ("chunk" in queued) this.#queuedBytes -= this.#bytesOf(queued).length;
    }
    if (before !== undefined) frames.unshift(before);
    return frames.length > 1 ? Buffer.concat(frames) : frames[0];
  }

  /** Writes bytes, and returns whether the kernel has taken all of them. */
  #put(bytes: Buffer): boolean {
    const socket = this.#socket;
    if (!socket.writable) return false;
    switch (this.#options.directWriter.tryWrite(socket, bytes, this)) {
      case "done":
        return true;
      case "failed":
        this.#close();
        return false;
      case "waits":
        this.#isBusy = true;
        return false;
    }
    socket.write(bytes);
    if (socket.writableLength === 0) return true;
    this.#isBusy = true;
    // An empty write is used to detect that all bytes are written, because writes complete in order.
    socket.write(NOTHING, (error) => {
      if (!error) this.#continue();
    });
    return false;
  }

  #finish(): void {
    if (!this.#socket.writable) return;
    this.#isBusy = true;
    if (this.#options.isChunked) this.#socket.write(LAST_CHUNK);
    this.#socket.destroySoon();
  }

  #close(): void {
    this.#isBusy = true;
    this.#discard();
    this.#socket.destroy();
  }
}
