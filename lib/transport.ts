/**
 * The WebSocket transport: whatever waits for a client goes out in one write.
 *
 * A write is what a delivery costs; the bytes in it cost little (`docs/decisions/0009-joined-frames.md`). Engine.IO's
 * own transport writes every packet by itself.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import type { Socket as RawSocket } from "node:net";
import { type Server, type Transport, transports } from "engine.io";
import { LeanServer } from "./engine.ts";
import { type Packet, pieces, textFrame } from "./frames.ts";
import type { Entry } from "./log.ts";

/** `WebSocket.OPEN` of ws. */
const OPEN = 1;
const NOTHING = Buffer.alloc(0);

/** What we use of ws: its public face, and the connection under it. */
interface WebSocket {
  readonly readyState: number;
  /** Bytes that ws and the connection hold, not yet the kernel's. */
  readonly bufferedAmount: number;
  readonly _socket: RawSocket;
  terminate(): void;
}

/** A replay in Engine.IO's queue: it becomes bytes piece by piece, as the connection takes them. */
export interface ReplayPacket {
  readonly type: "message";
  readonly entries: readonly Entry[];
}

/** Engine.IO's WebSocket transport with all that waits joined into one write. */
export class JoiningTransport extends transports.websocket {
  readonly #websocket: WebSocket;
  readonly #connection: RawSocket;
  #writes: Iterator<Buffer> = [][Symbol.iterator]();
  #replaying = false;

  /** As Engine.IO makes it, from a request that has become a WebSocket. */
  constructor(request: ConstructorParameters<typeof transports.websocket>[0]) {
    super(request);
    this.#websocket = request.websocket as unknown as WebSocket;
    this.#connection = this.#websocket._socket;
  }

  /**
   * Bytes written that the kernel has not taken. Those of a replay do not count: they are bounded by themselves, and
   * whoever comes back to be given much is not slow for that.
   */
  get waitingBytes(): number {
    return this.#replaying ? 0 : this.#websocket.bufferedAmount;
  }

  /** Whether what is written now overtakes nothing: Engine.IO hands all it has to a transport that is writable. */
  get idle(): boolean {
    return this.writable && this._readyState === "open";
  }

  /** Writes whole WebSocket frames, past Engine.IO: only while {@linkcode JoiningTransport.idle}. */
  write(frames: Buffer): void {
    // Not after the closing handshake: the connection knows, and is at hand where ws is one object more to look into.
    if (!this.#connection.writable) return;
    this.#connection.write(frames);
    // What the kernel took at once is done; otherwise what comes next waits, and is joined.
    if (this.#connection.writableLength === 0) return;
    this.writable = false;
    this.#whenDrained();
  }

  /** Sends all packets in one write; replays in as many as they have pieces. */
  override send(packets: Packet[]): void {
    if (this.perMessageDeflate || packets.some(isBinary)) {
      return super.send(packets.flatMap(ordinary));
    }
    this.writable = false;
    this.#writes = this.#encode(packets);
    this.#pump();
  }

  /** Ends the connection now, whatever waits. */
  terminate(): void {
    this.#websocket.terminate();
  }

  #pump(): void {
    while (this.#websocket.readyState === OPEN) {
      if (this.#connection.writableLength > 0) return this.#whenDrained();
      const { value, done } = this.#writes.next();
      if (done) return this.#ready();
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
    for (const packet of packets) {
      if (!isReplay(packet)) {
        frames.push(this.#frame(packet));
        continue;
      }
      if (frames.length > 0) yield join(frames);
      frames = [];
      this.#replaying = true;
      for (const { bytes } of pieces(packet.entries)) yield bytes;
      this.#replaying = false;
    }
    if (frames.length > 0) yield join(frames);
  }

  #frame(packet: Packet): Buffer {
    const { wsPreEncodedFrame } = (packet.options ?? {}) as unknown as {
      wsPreEncodedFrame?: readonly Buffer[];
    };
    if (wsPreEncodedFrame !== undefined) return join(wsPreEncodedFrame);
    let text = "";
    // Calls back at once for all that is not binary (engine.io-parser, encodePacket).
    this.parser.encodePacket(
      packet as never,
      this.supportsBinary,
      (encoded: unknown) => text = String(encoded),
    );
    return textFrame(text);
  }
}

/** Engine.IO's server with {@linkcode JoiningTransport} for WebSockets. */
export class JoiningServer extends LeanServer {
  protected override createTransport(
    name: Parameters<Server["createTransport"]>[0],
    request: IncomingMessage,
  ): Transport {
    return name === "websocket"
      ? new JoiningTransport(request as never)
      : super.createTransport(name, request);
  }
}

function join(frames: readonly Buffer[]): Buffer {
  const [only] = frames;
  return only !== undefined && frames.length === 1
    ? only
    : Buffer.concat(frames);
}

function isReplay(packet: unknown): packet is ReplayPacket {
  return (packet as Partial<ReplayPacket>).entries !== undefined;
}

function isBinary({ data }: Packet): boolean {
  return data !== undefined && typeof data !== "string";
}

/** A packet as Engine.IO's own transport sends it. */
function ordinary(packet: Packet): Packet[] {
  return isReplay(packet)
    ? [...pieces(packet.entries)].map(({ joined }) => joined as never)
    : [packet];
}
