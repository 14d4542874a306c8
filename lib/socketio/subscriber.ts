/**
 * Writes to one Socket.IO client and counts the bytes that are still buffered for it.
 *
 * @module
 */
import type { Socket } from "socket.io";
import { CountingSubscriber } from "../delivery/counting_subscriber.ts";
import type { Encoder, ReplayWatcher } from "../delivery/subscriber.ts";
import {
  completeClose,
  connectionOf,
  type EngineConnection,
  type QueuedPacket,
} from "../engineio/internals.ts";
import {
  isReplay,
  type ReplayPacket,
  WebSocketTransport,
} from "../engineio/transport.ts";
import type { Entry } from "../log/log.ts";
import {
  type SharedPacket,
  socketIoEncoder,
  type SocketIoFrame,
} from "./frame.ts";
import { Replay } from "./replay.ts";

/**
 * A packet in Engine.IO's queue: a packet of Engine.IO itself, a packet that several connections share, or replayed
 * messages.
 */
type Queued = QueuedPacket | SharedPacket | ReplayPacket;

/**
 * Writes frames directly to the client's WebSocket if no bytes are buffered for the client. Otherwise adds the frames
 * to Engine.IO's queue, in order with the packets of Engine.IO itself. The frames of clients that poll, or that are
 * upgrading to a WebSocket, are always added to this queue.
 */
export class SocketIoSubscriber extends CountingSubscriber {
  readonly #socket: Socket;
  readonly #connection: EngineConnection;
  /**
   * The client's WebSocket transport; undefined while the client polls. Stored here because every delivery needs the
   * transport, and a client never leaves its WebSocket transport.
   */
  #websocket: WebSocketTransport | undefined;
  /** The queue of Engine.IO whose bytes were last counted. Engine.IO may replace its queue by another. */
  #queue: readonly Queued[] = [];
  /** How many packets at the beginning of `#queue` are counted in `#bytes`. */
  #counted = 0;
  /** The bytes of the first `#counted` packets of `#queue`. */
  #bytes = 0;

  /** Creates the subscriber of a connected Socket.IO socket. */
  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    this.#connection = connectionOf(socket);
  }

  override get encoder(): Encoder {
    return socketIoEncoder;
  }

  override get closed(): boolean {
    return this.#connection._readyState === "closed";
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

  override writeLatest(room: string, frame: SocketIoFrame): number {
    const queue = this.#writeBuffer();
    const older = queue.findLastIndex((packet) =>
      "room" in packet && packet.room === room
    );
    if (older >= 0) {
      this.#count();
      const [packet] = queue.splice(older, 1);
      if (older < this.#counted) {
        this.#counted--;
        this.#bytes -= sizeOf(packet);
      }
    }
    this.write(frame);
    return older >= 0 ? 1 : 0;
  }

  /**
   * Queues the messages that the client missed. Their bytes are not limited, because the history limits the number of
   * messages, and only one chunk of them is encoded at a time.
   */
  override replay(entries: readonly Entry[], watcher?: ReplayWatcher): void {
    if (entries.length === 0) return watcher?.finished();
    if (this.#connection._readyState !== "open") return;
    this.#writeBuffer().push(new Replay(entries, watcher));
    this.#connection.flush();
  }

  /** Bytes in Engine.IO's queue, and written bytes that the kernel has not taken yet. */
  protected override get allBytes(): number {
    if (this.#connection._readyState !== "open") return 0;
    this.#count();
    return this.#bytes + (this.#findWebSocket()?.bufferedBytes ?? 0);
  }

  /** Closes the connection at once. Sends no DISCONNECT packet, after which a stock client would not reconnect. */
  override disconnect(): void {
    const { transport } = this.#connection;
    this.#connection.close(true);
    completeClose(transport);
    this.#findWebSocket()?.terminate();
  }

  /**
   * Sends a DISCONNECT packet, after which a stock client does not connect again by itself, and closes the connection. If
   * the connection is being closed already, closes it at once.
   */
  override dismiss(): void {
    if (this.#connection._readyState === "open") this.#socket.disconnect(true);
    else this.disconnect();
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

  /** Counts the bytes of the packets that were added to Engine.IO's queue since the last call. */
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

/** Returns the subscriber of a socket. Returns the same object at every call. */
export function subscriberOf(socket: SubscribedSocket): SocketIoSubscriber {
  return socket[SUBSCRIBER] ??= new SocketIoSubscriber(socket);
}

/** Returns the number of bytes for which a queued packet counts. Replayed messages count as 0 bytes. */
function sizeOf(packet: Queued | undefined): number {
  if (packet === undefined || isReplay(packet)) return 0;
  const { options, data } = packet;
  return options?.wsPreEncodedFrame?.[0]?.length ?? data?.length ?? 0;
}
