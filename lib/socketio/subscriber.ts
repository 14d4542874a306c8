/**
 * The way out to one client, and what waits on it.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Socket } from "socket.io";
import {
  messageFrame,
  replayChunks,
  type SharedPacket,
  socketIoEncoder,
  type SocketIoFrame,
} from "./frame.ts";
import { type Encoder, Subscriber } from "../delivery/subscriber.ts";
import type { Entry } from "../log/log.ts";
import {
  type ReplayPacket,
  WebSocketTransport,
} from "../engineio/transport.ts";

/** What we use of Engine.IO's socket; it keeps some of it private. */
interface EngineConnection {
  readonly _readyState: "opening" | "open" | "closing" | "closed";
  readonly transport: { readonly writable: boolean };
  /** Engine.IO puts a new list in its place whenever it hands the old one to the transport. */
  readonly writeBuffer: QueuedPacket[];
  flush(): void;
  close(discard?: boolean): void;
}

/** Anything in Engine.IO's queue: ours or its own. */
type QueuedPacket = Partial<SharedPacket> | ReplayPacket;

/**
 * What is written to a client goes straight to its connection where nothing waits there, and otherwise into
 * Engine.IO's queue, in order with Engine.IO's own packets; also for polling clients and while one upgrades.
 */
export class SocketIoSubscriber extends Subscriber {
  readonly #connection: EngineConnection;
  /** The transport, once it is a WebSocket: it stays one. At hand, for this is looked at in every delivery. */
  #direct: WebSocketTransport | undefined;
  /** The queue as it was last counted: that list, so many of its packets, their bytes. */
  #queue: readonly QueuedPacket[] = [];
  #counted = 0;
  #bytes = 0;
  /** Of what waits, what the client itself asked for. */
  #asked = 0;

  /** The way out to a connected socket. */
  constructor(socket: Socket) {
    super();
    this.#connection = socket.conn as unknown as EngineConnection;
  }

  /** Socket.IO's. */
  override get encoder(): Encoder {
    return socketIoEncoder;
  }

  /** Whether what is written now would go to the connection at once. */
  override get idle(): boolean {
    const direct = this.#websocket();
    if (direct !== undefined) return direct.idle;
    const { transport, writeBuffer } = this.#connection;
    return transport.writable && writeBuffer.length === 0;
  }

  /** Writes a frame, behind whatever waits. */
  override write(frame: SocketIoFrame): void {
    const direct = this.#websocket();
    if (direct?.idle) return direct.write(frame.bytes);
    const { writeBuffer, _readyState } = this.#connection;
    if (_readyState !== "open") return;
    if (direct === undefined) writeBuffer.push(...frame.packets);
    else writeBuffer.push(frame.joined);
    this.#connection.flush();
  }

  /** Writes a message in the place of an older one of its room that still waits. Answers how many it replaced. */
  override writeLatest(entry: Entry): number {
    const { writeBuffer } = this.#connection;
    const older = writeBuffer.findLastIndex((packet) =>
      "room" in packet && packet.room === entry.room
    );
    if (older >= 0) {
      this.#count();
      const [packet] = writeBuffer.splice(older, 1);
      if (older < this.#counted) {
        this.#counted--;
        this.#bytes -= sizeOf(packet);
      }
    }
    this.write(messageFrame(entry));
    return older >= 0 ? 1 : 0;
  }

  /**
   * Writes many messages, in order. They do not count as waiting: what a client missed is bounded by what is kept, and
   * is shared with others.
   */
  override replay(entries: readonly Entry[]): void {
    const { writeBuffer, _readyState } = this.#connection;
    if (_readyState !== "open" || entries.length === 0) return;
    this.#count();
    if (this.#websocket() !== undefined) {
      writeBuffer.push({
        type: "message",
        pieces: () => replayChunks(entries),
      });
    } else {
      for (const entry of entries) {
        writeBuffer.push(...messageFrame(entry).packets);
      }
    }
    this.#counted = writeBuffer.length;
    this.#connection.flush();
  }

  /** Writes what the client asked for: it does not count as waiting. */
  override respond(write: () => void): void {
    const { bufferedBytes } = this;
    write();
    this.#asked = this.#allBytes() - bufferedBytes;
  }

  /** Bytes that wait for the client in this process: queued by Engine.IO, or written and not yet the kernel's. */
  override get bufferedBytes(): number {
    return this.#allBytes() - this.requestedBytes;
  }

  /** Bytes that wait besides because the client asked for them. */
  override get requestedBytes(): number {
    return this.#asked = Math.min(this.#asked, this.#allBytes());
  }

  /** Closes the connection at once, with all that waits: a stock client comes back by itself. */
  override disconnect(): void {
    this.#connection.close(true);
    this.#websocket()?.terminate();
  }

  #websocket(): WebSocketTransport | undefined {
    if (this.#direct !== undefined) return this.#direct;
    const { transport } = this.#connection;
    if (transport instanceof WebSocketTransport) this.#direct = transport;
    return this.#direct;
  }

  #allBytes(): number {
    if (this.#connection._readyState !== "open") return 0;
    this.#count();
    return this.#bytes + (this.#websocket()?.waitingBytes ?? 0);
  }

  #count(): void {
    const queue = this.#connection.writeBuffer;
    if (queue !== this.#queue) {
      this.#queue = queue;
      this.#counted = this.#bytes = 0;
    }
    for (; this.#counted < queue.length; this.#counted++) {
      this.#bytes += sizeOf(queue[this.#counted]);
    }
  }
}

const SUBSCRIBER = Symbol("subscriber");
type SubscribedSocket = Socket & { [SUBSCRIBER]?: SocketIoSubscriber };

/** Returns the subscriber of a socket: always the same one. */
export function subscriberOf(socket: SubscribedSocket): SocketIoSubscriber {
  return socket[SUBSCRIBER] ??= new SocketIoSubscriber(socket);
}

/** What a packet that waits counts for, in bytes. */
function sizeOf(packet: QueuedPacket | undefined): number {
  const { options, data } = (packet ?? {}) as {
    options?: { wsPreEncodedFrame?: readonly Buffer[] };
    data?: string | Uint8Array;
  };
  return options?.wsPreEncodedFrame?.[0]?.length ?? data?.length ?? 0;
}
