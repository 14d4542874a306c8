/**
 * Engine.IO's WebSocket transport, which sends everything that is queued for a client in one write.
 *
 * Most of the time of a delivery is spent on the write itself, and more bytes in the same write take little more time
 * (`docs/decisions/0009-joined-frames.md`). Engine.IO's own transport writes each packet separately.
 *
 * @module
 */
import { Transport } from "engine.io";
import { Buffer } from "node:buffer";
import type { Socket as RawSocket } from "node:net";
import type { ApiError } from "../errors.ts";
import { closeBody } from "../websocket/close_frame.ts";
import {
  type FrameLimit,
  type MessageHandler,
  WebSocketConnection,
} from "../websocket/connection.ts";
import { BINARY, encodeFrame, encodeTextFrame } from "../websocket/frame.ts";
import type { DirectWriter, WriteRequest } from "../wire/direct_write.ts";
import type { QueuedPacket } from "./internals.ts";

const NOTHING = Buffer.alloc(0);
/** Status code of a close frame: the server had an unexpected error. */
const INTERNAL_ERROR = 1011;
/** Status code of a close frame: the node is stopping, and the client should connect again. */
const SERVICE_RESTART = 1012;
/** Status code of a close frame: the server has a temporary problem, and the client should connect again later. */
const TRY_AGAIN_LATER = 1013;
const NO_WRITES: Iterator<Buffer> = [][Symbol.iterator]();

/**
 * A packet in Engine.IO's queue for all messages that a client missed. The messages are encoded in chunks, each only
 * when the connection has sent the chunk before.
 */
export interface ReplayPacket extends QueuedPacket {
  readonly type: "message";
  /** Whether all messages were taken. */
  readonly isDone: boolean;
  /** Takes the missed messages in chunks, each of complete WebSocket frames. */
  chunks(): Iterable<Buffer>;
  /** Takes the next chunk as packets, for a client that polls. */
  takePackets(): readonly QueuedPacket[];
}

/** Engine.IO's transport for the WebSocket of one client. */
export class WebSocketTransport extends Transport
  implements MessageHandler, WriteRequest {
  readonly #websocket: WebSocketConnection;
  readonly #connection: RawSocket;
  readonly #directWriter: DirectWriter;
  #writes = NO_WRITES;
  #replaying = false;
  /** Bytes of a direct write that the kernel has not taken yet; undefined if there are none. */
  waiting: Buffer | undefined;
  /** The HTTP response that opens the WebSocket; undefined once the response is written. */
  #handshake: Buffer | undefined;
  /** The error that the close frame tells the client as the reason; undefined if there is no reason to tell. */
  closeReason: ApiError | undefined;

  /**
   * Takes over a connection whose upgrade to a WebSocket has been accepted.
   *
   * @param head Bytes that arrived after the request.
   * @param handshake The HTTP response that opens the WebSocket, to be sent together with the first packet; undefined
   * if it was sent already.
   * @param bytesMax Maximum size of a message, in bytes.
   * @param frameLimit How many frames the client may send; undefined for no limit.
   */
  constructor(
    request: ConstructorParameters<typeof Transport>[0],
    connection: RawSocket,
    head: Buffer,
    handshake: Buffer | undefined,
    bytesMax: number,
    directWriter: DirectWriter,
    frameLimit?: FrameLimit,
  ) {
    super(request);
    this.#connection = connection;
    this.#handshake = handshake;
    this.#directWriter = directWriter;
    this.#websocket = new WebSocketConnection(
      connection,
      head,
      bytesMax,
      this,
      frameLimit,
    );
    this.writable = true;
  }

  /** The name by which Engine.IO identifies this kind of transport. */
  get name(): string {
    return "websocket";
  }

  /**
   * Bytes that were written and that the kernel has not taken yet. The bytes of replayed messages do not count: their
   * number is limited by the history, and a client is not slow because it missed many messages.
   */
  get bufferedBytes(): number {
    return this.#replaying
      ? 0
      : this.#connection.writableLength + (this.waiting?.length ?? 0);
  }

  /**
   * Whether {@linkcode WebSocketTransport.write} may be called: Engine.IO has no queued packets, and no bytes are
   * buffered.
   */
  get idle(): boolean {
    return this.writable && this._readyState === "open";
  }

  /** Writes complete WebSocket frames without Engine.IO's queue. Call this method only while the transport is idle. */
  write(frames: Buffer): void {
    const connection = this.#connection;
    // Do not write after a closing handshake. `connection.writable` is checked instead of `#websocket.open`, because it
    // is faster to read.
    if (!connection.writable) return;
    switch (this.#directWriter.tryWrite(connection, frames, this)) {
      case "done":
        return;
      case "failed":
        return void connection.destroy();
      case "waits":
        this.writable = false;
        return;
    }
    connection.write(frames);
    // If the kernel has not taken all bytes at once, the next packets are queued and joined.
    if (connection.writableLength === 0) return;
    this.writable = false;
    this.#whenDrained();
  }

  /**
   * Handles the end of a direct write. If the write failed, destroys the connection; otherwise sends the packets that
   * were queued meanwhile.
   */
  oncomplete(status: number): void {
    const expected = this.#directWriter.complete(this);
    if (!expected || status < 0) this.#connection.destroy();
    else this.#pump();
  }

  /**
   * Sends all packets of Engine.IO's queue in one write. Only each chunk of replayed messages gets a write of its own.
   */
  send(packets: Packet[]): void {
    // While the transport is busy, Engine.IO sends only the pong to the probe of an upgrade. The pong is dropped,
    // because a client that has not read the last pong needs no second one.
    if (!this.writable) return;
    this.writable = false;
    this.#writes = this.#encode(packets);
    this.#pump();
  }

  /**
   * Starts the closing handshake after all bytes that are already written. Chunks of replayed messages that are not
   * written yet are discarded.
   */
  doClose(then?: () => void): void {
    this.#writes = NO_WRITES;
    const { closeReason: error } = this;
    this.#websocket.close(
      error && closeBody(closeCodeOf(error), `${error.code}: ${error.message}`),
    );
    then?.();
  }

  /** Closes the connection at once, without a closing handshake, and discards all buffered bytes. */
  terminate(): void {
    this.#writes = NO_WRITES;
    this.#websocket.terminate();
  }

  /** Passes a packet of the client to Engine.IO. */
  onMessage(message: string | Buffer): void {
    this.onData(message);
  }

  /** Reports to Engine.IO that the client violated the WebSocket protocol. */
  onProtocolError(reason: string): void {
    this.onError(reason);
  }

  /** Reports to Engine.IO that the connection is closed. */
  onClosed(): void {
    this.#writes = NO_WRITES;
    this.onClose();
  }

  #pump(): void {
    while (this.#websocket.open) {
      if (this.#connection.writableLength > 0) return this.#whenDrained();
      const { value, done } = this.#writes.next();
      if (done) {
        // Drop the finished generator, because it would keep all its data in memory.
        this.#writes = NO_WRITES;
        return this.#ready();
      }
      this.#connection.write(value);
    }
  }

  /**
   * Tells Engine.IO that the packets were sent. As in Engine.IO's own transport, `drain` is emitted before the
   * transport is writable again, and `ready` after it.
   */
  #ready(): void {
    this.emit("drain");
    this.writable = true;
    this.emit("ready");
  }

  /**
   * Continues to send when the stream has written all its bytes. An empty write is used to detect that, because writes
   * complete in order. The stream's event `drain` cannot be used, because it is not emitted if less than 16 KiB were
   * buffered.
   */
  #whenDrained(): void {
    this.#connection.write(NOTHING, (error) => {
      if (!error) this.#pump();
    });
  }

  *#encode(packets: readonly Packet[]): Generator<Buffer> {
    let frames: Buffer[] = [];
    if (this.#handshake !== undefined) {
      frames.push(this.#handshake);
      this.#handshake = undefined;
    }
    for (const packet of packets) {
      if (!isReplay(packet)) {
        frames.push(this.#frame(packet));
        continue;
      }
      if (frames.length > 0) yield join(frames);
      frames = [];
      this.#replaying = true;
      yield* packet.chunks();
      this.#replaying = false;
    }
    if (frames.length > 0) yield join(frames);
  }

  #frame(packet: Packet): Buffer {
    const { options } = packet as unknown as QueuedPacket;
    if (options?.wsPreEncodedFrame !== undefined) {
      return join(options.wsPreEncodedFrame);
    }
    let frame: Buffer = NOTHING;
    // `encodePacket` calls back before it returns (engine.io-parser 5.2.3).
    this.parser.encodePacket(
      packet as never,
      this.supportsBinary,
      (encoded: string | Buffer) => {
        frame = typeof encoded === "string"
          ? encodeTextFrame(encoded)
          : encodeFrame(BINARY, encoded);
      },
    );
    return frame;
  }
}

/** Returns the status code of a close frame for an error, from the registry of RFC 6455 §11.7. */
function closeCodeOf({ code, retryable }: ApiError): number {
  if (code === "draining") return SERVICE_RESTART;
  return retryable ? TRY_AGAIN_LATER : INTERNAL_ERROR;
}

/** A packet, as Engine.IO's types declare it. */
type Packet = Parameters<Transport["send"]>[0][number];

/**
 * Joins frames into one buffer. `Buffer.concat` is not used, because it does not allocate small buffers in the shared
 * pool.
 */
function join(frames: readonly Buffer[]): Buffer {
  const [only] = frames;
  if (only !== undefined && frames.length === 1) return only;
  const joined = Buffer.allocUnsafe(
    frames.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const frame of frames) {
    joined.set(frame, at);
    at += frame.length;
  }
  return joined;
}

/** Returns whether a packet in Engine.IO's queue stands for the messages that a client missed. */
export function isReplay(packet: object): packet is ReplayPacket {
  return "chunks" in packet;
}
