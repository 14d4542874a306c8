/**
 * The WebSocket transport: whatever waits for a client goes out in one write.
 *
 * A write is what a delivery costs; the bytes in it cost little (`docs/decisions/0009-joined-frames.md`). Engine.IO's
 * own transport writes every packet by itself.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Socket as RawSocket } from "node:net";
import { Transport } from "engine.io";
import { frameOf, type Packet, textFrame } from "../socketio/frame.ts";
import { tryDirectWrite, type WriteRequest } from "../wire/direct_write.ts";
import {
  type MessageHandler,
  WebSocketConnection,
} from "../websocket/connection.ts";

/** The opcode of bytes (RFC 6455 §5.2). */
const BINARY = 2;
const NOTHING = Buffer.alloc(0);
const NO_WRITES: Iterator<Buffer> = [][Symbol.iterator]();

/** A replay in Engine.IO's queue: it becomes bytes piece by piece, as the connection takes them. */
export interface ReplayPacket {
  readonly type: "message";
  /** Returns whole WebSocket frames. */
  readonly pieces: () => Iterable<Buffer>;
}

/** The transport of a connection that is answered as a WebSocket, with all that waits joined into one write. */
export class WebSocketTransport extends Transport
  implements MessageHandler, WriteRequest {
  readonly #websocket: WebSocketConnection;
  readonly #connection: RawSocket;
  #writes = NO_WRITES;
  #replaying = false;
  /** What was written past the stream and the kernel has not taken. */
  waiting: Buffer | undefined;
  /** What makes it a WebSocket, until it is written. */
  #acceptance: Buffer | undefined;

  /**
   * Takes a connection over, with what came behind the request. `acceptance` goes out with the first packet. A message
   * may have `bytesMax` bytes.
   */
  constructor(
    request: ConstructorParameters<typeof Transport>[0],
    connection: RawSocket,
    head: Buffer,
    acceptance: Buffer | undefined,
    bytesMax: number,
  ) {
    super(request);
    this.#connection = connection;
    this.#acceptance = acceptance;
    this.#websocket = new WebSocketConnection(connection, head, bytesMax, this);
    this.writable = true;
  }

  /** As Engine.IO calls it. */
  get name(): string {
    return "websocket";
  }

  /**
   * Bytes written that the kernel has not taken. Those of a replay do not count: they are bounded by themselves, and
   * whoever comes back to be given much is not slow for that.
   */
  get waitingBytes(): number {
    return this.#replaying
      ? 0
      : this.#connection.writableLength + (this.waiting?.length ?? 0);
  }

  /** Whether what is written now overtakes nothing: Engine.IO hands all it has to a transport that is writable. */
  get idle(): boolean {
    return this.writable && this._readyState === "open";
  }

  /** Writes whole WebSocket frames, past Engine.IO: only while {@linkcode WebSocketTransport.idle}. */
  write(frames: Buffer): void {
    const connection = this.#connection;
    // Not after the closing handshake: the connection knows, and is at hand.
    if (!connection.writable) return;
    switch (tryDirectWrite(connection, frames, this)) {
      case "done":
        return;
      case "failed":
        return void connection.destroy();
      case "waits":
        this.writable = false;
        return;
    }
    connection.write(frames);
    // What the kernel took at once is done; otherwise what comes next waits, and is joined.
    if (connection.writableLength === 0) return;
    this.writable = false;
    this.#whenDrained();
  }

  /** The kernel has taken what waited, or never will. */
  oncomplete(status: number): void {
    this.waiting = undefined;
    if (status < 0) this.#connection.destroy();
    else this.#pump();
  }

  /** Sends all packets in one write; replays in as many as they have pieces. */
  send(packets: Packet[]): void {
    // Unasked comes only the answer to a probe, as often as there are probes: who has not read the last needs no other.
    if (!this.writable) return;
    this.writable = false;
    this.#writes = this.#encode(packets);
    this.#pump();
  }

  /** Closes as a WebSocket does, behind what is written; of a replay, what is left is not sent. */
  doClose(then?: () => void): void {
    this.#websocket.close();
    then?.();
  }

  /** Ends the connection now, whatever waits. */
  terminate(): void {
    this.#websocket.terminate();
  }

  /** A packet has come. */
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
        // A generator keeps what it was made of, also when it is done.
        this.#writes = NO_WRITES;
        return this.#ready();
      }
      this.#connection.write(value);
    }
  }

  /** In the order Engine.IO's own transport has it: what was sent is told first, then the next may come. */
  #ready(): void {
    this.emit("drain");
    this.writable = true;
    this.emit("ready");
  }

  /** Writes are done in order, also one of nothing. `drain` is no help: it is not emitted for less than 16 KiB. */
  #whenDrained(): void {
    this.#connection.write(NOTHING, (error) => {
      if (!error) this.#pump();
    });
  }

  *#encode(packets: readonly Packet[]): Generator<Buffer> {
    let frames: Buffer[] = [];
    if (this.#acceptance !== undefined) {
      frames.push(this.#acceptance);
      this.#acceptance = undefined;
    }
    for (const packet of packets) {
      if (!isReplay(packet)) {
        frames.push(this.#frame(packet));
        continue;
      }
      if (frames.length > 0) yield join(frames);
      frames = [];
      this.#replaying = true;
      yield* packet.pieces();
      this.#replaying = false;
    }
    if (frames.length > 0) yield join(frames);
  }

  #frame(packet: Packet): Buffer {
    const { wsPreEncodedFrame } = (packet.options ?? {}) as unknown as {
      wsPreEncodedFrame?: readonly Buffer[];
    };
    if (wsPreEncodedFrame !== undefined) return join(wsPreEncodedFrame);
    let frame: Buffer = NOTHING;
    // Calls back at once (engine.io-parser, encodePacket).
    this.parser.encodePacket(
      packet as never,
      this.supportsBinary,
      (encoded: string | Buffer) => {
        frame = typeof encoded === "string"
          ? textFrame(encoded)
          : frameOf(BINARY, encoded);
      },
    );
    return frame;
  }
}

/** Not by `Buffer.concat`, which gives little pieces memory of their own. */
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
  return (packet as Partial<ReplayPacket>).pieces !== undefined;
}
