/**
 * Engine.IO's WebSocket transport, which sends everything that is queued for a client in one write.
 *
 * Most of the cost of a delivery is the write itself, and additional bytes in it cost little
 * (`docs/decisions/0009-joined-frames.md`). Engine.IO's own transport writes each packet separately.
 *
 * @module
 */
import { Transport } from "engine.io";
import { Buffer } from "node:buffer";
import type { Socket as RawSocket } from "node:net";
import {
  type MessageHandler,
  WebSocketConnection,
} from "../websocket/connection.ts";
import { BINARY, encodeFrame, encodeTextFrame } from "../websocket/frame.ts";
import type { DirectWriter, WriteRequest } from "../wire/direct_write.ts";
import type { QueuedPacket } from "./internals.ts";

const NOTHING = Buffer.alloc(0);
const NO_WRITES: Iterator<Buffer> = [][Symbol.iterator]();

/** A replay in Engine.IO's queue. It is encoded chunk by chunk, as fast as the connection takes the chunks. */
export interface ReplayPacket {
  readonly type: "message";
  /** Returns chunks of complete WebSocket frames. */
  readonly chunks: () => Iterable<Buffer>;
}

/** The WebSocket of one client as an Engine.IO transport. */
export class WebSocketTransport extends Transport
  implements MessageHandler, WriteRequest {
  readonly #websocket: WebSocketConnection;
  readonly #connection: RawSocket;
  readonly #directWriter: DirectWriter;
  #writes = NO_WRITES;
  #replaying = false;
  /** Bytes of a direct write that the kernel has not taken. */
  waiting: Buffer | undefined;
  /** The response to the handshake; undefined once it is written. */
  #handshake: Buffer | undefined;

  /**
   * Takes over a connection.
   *
   * @param head Bytes that arrived after the request.
   * @param handshake The response, which is sent together with the first packet.
   * @param bytesMax Maximum size of a message, in bytes.
   */
  constructor(
    request: ConstructorParameters<typeof Transport>[0],
    connection: RawSocket,
    head: Buffer,
    handshake: Buffer | undefined,
    bytesMax: number,
    directWriter: DirectWriter,
  ) {
    super(request);
    this.#connection = connection;
    this.#handshake = handshake;
    this.#directWriter = directWriter;
    this.#websocket = new WebSocketConnection(connection, head, bytesMax, this);
    this.writable = true;
  }

  /** Engine.IO's name of this transport. */
  get name(): string {
    return "websocket";
  }

  /**
   * Bytes that are written and that the kernel has not taken. The bytes of a replay do not count: the history limits
   * them, and a client is not slow because it returns to a long history.
   */
  get bufferedBytes(): number {
    return this.#replaying
      ? 0
      : this.#connection.writableLength + (this.waiting?.length ?? 0);
  }

  /**
   * Whether {@linkcode WebSocketTransport.write} may be called, which is so if Engine.IO has passed all its packets to
   * the transport.
   */
  get idle(): boolean {
    return this.writable && this._readyState === "open";
  }

  /** Writes whole WebSocket frames without Engine.IO's queue. Call it only while the transport is idle. */
  write(frames: Buffer): void {
    const connection = this.#connection;
    // Do not write after a closing handshake. The socket's flag shows that too, and is faster to read than the
    // WebSocket's.
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

  /** Handles the end of a direct write: the kernel has taken the bytes, or will never take them. */
  oncomplete(status: number): void {
    const expected = this.#directWriter.complete(this);
    if (!expected || status < 0) this.#connection.destroy();
    else this.#pump();
  }

  /** Sends all packets in one write. Each chunk of a replay gets a write of its own. */
  send(packets: Packet[]): void {
    // While the transport is busy, Engine.IO sends only the pong to the probe of an upgrade. The pong is dropped,
    // because a client that has not read the last pong needs no second one.
    if (!this.writable) return;
    this.writable = false;
    this.#writes = this.#encode(packets);
    this.#pump();
  }

  /** Closes with a closing handshake, after everything that is written. The rest of a replay is not sent. */
  doClose(then?: () => void): void {
    this.#websocket.close();
    then?.();
  }

  /** Ends the connection now and discards everything that is buffered. */
  terminate(): void {
    this.#websocket.terminate();
  }

  /** Handles a packet of the client. */
  onMessage(message: string | Buffer): void {
    this.onData(message);
  }

  /** Handles a violation of the protocol by the client. */
  onProtocolError(reason: string): void {
    this.onError(reason);
  }

  /** Handles the end of the connection. */
  onClosed(): void {
    this.onClose();
  }

  #pump(): void {
    while (this.#websocket.open) {
      if (this.#connection.writableLength > 0) return this.#whenDrained();
      const { value, done } = this.#writes.next();
      if (done) {
        // A finished generator still keeps all its data in memory.
        this.#writes = NO_WRITES;
        return this.#ready();
      }
      this.#connection.write(value);
    }
  }

  /** Emits both events in the order of Engine.IO's own transport: `drain` before the transport is writable again. */
  #ready(): void {
    this.emit("drain");
    this.writable = true;
    this.emit("ready");
  }

  /**
   * Continues when the stream has written everything. It waits for the callback of an empty write, because writes
   * complete in order. The event `drain` is not emitted for less than 16 KiB.
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

/** A packet as described by Engine.IO's types. */
type Packet = Parameters<Transport["send"]>[0][number];

/** Joins frames. `Buffer.concat` is not used, because it does not allocate small buffers in the shared pool. */
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

function isReplay(packet: unknown): packet is ReplayPacket {
  return (packet as Partial<ReplayPacket>).chunks !== undefined;
}
