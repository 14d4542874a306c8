/**
 * Encodes the messages that a client missed, in chunks, each only when the client is about to be sent it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type ReplayWatcher, watchReplay } from "../delivery/subscriber.ts";
import type { ReplayPacket } from "../engineio/transport.ts";
import type { Entry } from "../log/log.ts";
import {
  messageFrame,
  type SharedPacket,
  type SocketIoFrame,
} from "./frame.ts";

/**
 * Size at which a chunk of replayed messages ends, in bytes. At most one chunk is buffered for a slow client at a time.
 */
const CHUNK_BYTES = 256 << 10;

/** A chunk of messages, and the index of the first message after it. */
interface Chunk {
  readonly bytes: Buffer;
  readonly end: number;
}

const firstChunks = new WeakMap<readonly Entry[], Chunk>();

/**
 * A packet for Engine.IO's queue that stands for all messages that a client missed, in order. Any transport can send it,
 * and a WebSocket continues where polling has stopped.
 */
export class Replay implements ReplayPacket {
  readonly type = "message";
  readonly #entries: readonly Entry[];
  readonly #watcher: ReplayWatcher | undefined;
  /** The index of the first message that was not taken yet. */
  #start = 0;

  /** Creates a packet for messages, of which there has to be at least one. Encodes nothing yet. */
  constructor(entries: readonly Entry[], watcher?: ReplayWatcher) {
    this.#entries = entries;
    this.#watcher = watcher;
  }

  get isDone(): boolean {
    return this.#start >= this.#entries.length;
  }

  chunks(): Iterable<Buffer> {
    return watchReplay(this.#chunks(), this.#watcher);
  }

  takePackets(): readonly SharedPacket[] {
    const frames = framesFrom(this.#entries, this.#start);
    this.#start += frames.length;
    this.#watcher?.progressed();
    if (this.isDone) this.#watcher?.finished();
    return frames.flatMap(({ packets }) => packets);
  }

  *#chunks(): Generator<Buffer> {
    while (!this.isDone) {
      const { bytes, end } = this.#chunk();
      this.#start = end;
      yield bytes;
    }
  }

  /**
   * Encodes the next chunk. The first chunk of the same array is encoded only once, because clients that reconnect
   * together mostly missed the same messages, and these mostly fit into one chunk.
   */
  #chunk(): Chunk {
    const isFirst = this.#start === 0;
    const known = isFirst ? firstChunks.get(this.#entries) : undefined;
    const chunk = known ?? chunkOf(this.#entries, this.#start);
    if (isFirst) firstChunks.set(this.#entries, chunk);
    return chunk;
  }
}

function chunkOf(entries: readonly Entry[], start: number): Chunk {
  const parts = framesFrom(entries, start).map(({ bytes }) => bytes);
  const [only] = parts;
  const bytes = only !== undefined && parts.length === 1
    ? only
    : Buffer.concat(parts);
  return { bytes, end: start + parts.length };
}

/** Returns the frames of the messages of one chunk, which begins with the message at `start`. */
function framesFrom(
  entries: readonly Entry[],
  start: number,
): SocketIoFrame[] {
  const frames = [];
  let length = 0;
  for (let at = start; at < entries.length && length < CHUNK_BYTES; at++) {
    const frame = messageFrame(entries[at] as Entry);
    length += frame.bytes.length;
    frames.push(frame);
  }
  return frames;
}
