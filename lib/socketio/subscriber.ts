/**
 * Socket.IO's subscriber: writes to one client and counts the bytes that are still buffered for it.
 *
 * @module
 */
import type { Socket } from "socket.io";
import { type Encoder, Subscriber } from "../delivery/subscriber.ts";
import {
  connectionOf,
  type EngineConnection,
  type QueuedPacket,
} from "../engineio/internals.ts";
import {
  type ReplayPacket,
  WebSocketTransport,
} from "../engineio/transport.ts";
import type { Entry } from "../log/log.ts";
import {
  messageFrame,
  replayChunks,
  type SharedPacket,
  socketIoEncoder,
  type SocketIoFrame,
} from "./frame.ts";

/** A packet in Engine.IO's queue: Engine.IO's own, a shared one, or a replay. */
type Queued = QueuedPacket | SharedPacket | ReplayPacket;

/**
 * Writes frames directly to the client's connection if no bytes are buffered there. Otherwise it adds them to
 * Engine.IO's queue, in order with Engine.IO's own packets. The queue is also used for polling clients and for clients
 * that are upgrading.
 */
export class SocketIoSubscriber extends Subscriber {
  readonly #connection: EngineConnection;
  /**
   * The transport, once it is a WebSocket, because it does not change any more. It is stored because every delivery
   * needs it.
   */
  #websocket: WebSocketTransport | undefined;
  /** The state of the queue when it was last counted: the list, the number of counted packets, and their bytes. */
  #queue: readonly Queued[] = [];
  #counted = 0;
  #bytes = 0;
  /** Buffered bytes that the client asked for. */
  #requested = 0;

  /** Creates the subscriber of a connected socket. */
  constructor(socket: Socket) {
    super();
    this.#connection = connectionOf(socket);
  }

  override get encoder(): Encoder {
    return socketIoEncoder;
  }

  override get idle(): boolean {
    const websocket = this.#findWebSocket();
    if (websocket !== undefined) return websocket.idle;
    const { transport, writeBuffer } = this.#connection;
    return transport.writable && writeBuffer.length === 0;
  }

  override write(frame: SocketIoFrame): void {
    const websocket = this.#findWebSocket();
    if (websocket?.idle) return websocket.write(frame.bytes);
    const { _readyState } = this.#connection;
    if (_readyState !== "open") return;
    const queue = this.#writeBuffer();
    if (websocket === undefined) queue.push(...frame.packets);
    else queue.push(frame.joined);
    this.#connection.flush();
  }

  override writeLatest(entry: Entry): number {
    const queue = this.#writeBuffer();
    const older = queue.findLastIndex((packet) =>
      "room" in packet && packet.room === entry.room
    );
    if (older >= 0) {
      this.#count();
      const [packet] = queue.splice(older, 1);
      if (older < this.#counted) {
        this.#counted--;
        this.#bytes -= sizeOf(packet);
      }
    }
    this.write(messageFrame(entry));
    return older >= 0 ? 1 : 0;
  }

  /**
   * Queues the messages that a client missed. They need no limit: the history limits their number, and clients share
   * their bytes.
   */
  override replay(entries: readonly Entry[]): void {
    const { _readyState } = this.#connection;
    if (_readyState !== "open" || entries.length === 0) return;
    this.#count();
    const queue = this.#writeBuffer();
    if (this.#findWebSocket() !== undefined) {
      queue.push({ type: "message", chunks: () => replayChunks(entries) });
    } else {
      for (const entry of entries) queue.push(...messageFrame(entry).packets);
    }
    this.#counted = queue.length;
    this.#connection.flush();
  }

  override respond(write: () => void): void {
    const { bufferedBytes } = this;
    try {
      write();
    } finally {
      this.#requested = this.#allBytes() - bufferedBytes;
    }
  }

  /**
   * Bytes in Engine.IO's queue and written bytes that the kernel has not taken, except bytes that the client requested.
   */
  override get bufferedBytes(): number {
    return this.#allBytes() - this.requestedBytes;
  }

  override get requestedBytes(): number {
    return this.#requested = Math.min(this.#requested, this.#allBytes());
  }

  /** Closes the connection without DISCONNECT, so that a stock client reconnects. */
  override disconnect(): void {
    this.#connection.close(true);
    this.#findWebSocket()?.terminate();
  }

  #findWebSocket(): WebSocketTransport | undefined {
    if (this.#websocket !== undefined) return this.#websocket;
    const { transport } = this.#connection;
    if (transport instanceof WebSocketTransport) this.#websocket = transport;
    return this.#websocket;
  }

  #writeBuffer(): Queued[] {
    return this.#connection.writeBuffer;
  }

  #allBytes(): number {
    if (this.#connection._readyState !== "open") return 0;
    this.#count();
    return this.#bytes + (this.#findWebSocket()?.bufferedBytes ?? 0);
  }

  /** Counts packets that were added to the queue since the last call. */
  #count(): void {
    const queue = this.#writeBuffer();
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

/** Returns the subscriber of a socket. It is the same object at every call. */
export function subscriberOf(socket: SubscribedSocket): SocketIoSubscriber {
  return socket[SUBSCRIBER] ??= new SocketIoSubscriber(socket);
}

/** Returns the bytes for which a queued packet counts. A replay counts as 0 bytes. */
function sizeOf(packet: Queued | undefined): number {
  if (packet === undefined || "chunks" in packet) return 0;
  const { options, data } = packet;
  return options?.wsPreEncodedFrame?.[0]?.length ?? data?.length ?? 0;
}
