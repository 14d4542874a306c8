/**
 * Engine.IO's WebSocket transport, which sends everything that is queued for a client in one write.
 *
 * The cost of a delivery is the write, and bytes in it cost little (`docs/decisions/0009-joined-frames.md`). Engine.IO's
 * own transport writes each packet separately.
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

/** A replay in Engine.IO's queue. It becomes bytes chunk by chunk, as the connection takes them. */
export interface ReplayPacket {
  readonly type: "message";
  /** Returns whole WebSocket frames. */
  readonly chunks: () => Iterable<Buffer>;
}

/** The WebSocket of one client, as a transport of Engine.IO. */
export class WebSocketTransport extends Transport
  implements MessageHandler, WriteRequest {
  readonly #websocket: WebSocketConnection;
  readonly #connection: RawSocket;
  readonly #directWriter: DirectWriter;
  #writes = NO_WRITES;
  #replaying = false;
  /** Bytes of a direct write that the kernel has not taken. */
  waiting: Buffer | undefined;
  /** The response to the handshake, until it is written. */
  #handshake: Buffer | undefined;

  /**
   * Takes over a connection. `head` is what arrived after the request, `handshake` is the response that leaves together
   * with the first packet. A message may have at most `bytesMax` bytes.
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
   * Bytes that are written and that the kernel has not taken. Those of a replay do not count: their number is limited
   * by what is kept, and a client that returns to a long history is not slow.
   */
  get bufferedBytes(): number {
    return this.#replaying
      ? 0
      : this.#connection.writableLength + (this.waiting?.length ?? 0);
  }

  /** Whether {@linkcode WebSocketTransport.write} may be called: Engine.IO has then given everything to the transport. */
  get idle(): boolean {
    return this.writable && this._readyState === "open";
  }

  /** Writes whole WebSocket frames without Engine.IO's queue. Call it only while the transport is idle. */
  write(frames: Buffer): void {
    const connection = this.#connection;
    // Not after a closing handshake. The socket knows that too, and is quicker to ask than the WebSocket.
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
    // If the kernel has not taken it at once, the next packets are queued and joined.
    if (connection.writableLength === 0) return;
    this.writable = false;
    this.#whenDrained();
  }

  /** The kernel has taken the bytes of a direct write, or will never take them. */
  oncomplete(status: number): void {
    const expected = this.#directWriter.complete(this);
    if (!expected || status < 0) this.#connection.destroy();
    else this.#pump();
  }

  /** Sends all packets in one write, and each chunk of a replay in one of its own. */
  send(packets: Packet[]): void {
    // Engine.IO sends while the transport is busy only the pong to the probe of an upgrade. It is dropped then, because
    // a client that has not read the last pong needs no second one.
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

  /** A packet has arrived. */
  onMessage(message: string | Buffer): void {
    this.onData(message);
  }

  /** The client has broken the protocol. */
  onProtocolError(reason: string): void {
    this.onError(reason);
  }

  /** The connection is closed. */
  onClosed(): void {
    this.onClose();
  }

  #pump(): void {
    while (this.#websocket.open) {
      if (this.#connection.writableLength > 0) return this.#whenDrained();
      const { value, done } = this.#writes.next();
      if (done) {
        // A generator that is done still keeps everything it was made of in memory.
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
   * Continues when the stream has written everything. An empty write is used because writes end in order; the event
   * `drain` is not emitted for less than 16 KiB.
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
    // It calls back before it returns (engine.io-parser 5.2.3, `encodePacket`).
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

/** A packet as Engine.IO's types describe it. */
type Packet = Parameters<Transport["send"]>[0][number];

/** Joins frames. `Buffer.concat` is not used, because it does not take small buffers from the shared pool. */
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
