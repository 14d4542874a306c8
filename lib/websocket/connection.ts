/**
 * The server's side of a WebSocket connection: all of RFC 6455 except extensions.
 *
 * Complete messages of the peer are passed to one handler. Messages to the peer are encoded by the caller, which writes
 * them to the socket itself. This module therefore queues no bytes to send, and an idle connection needs only one small
 * object (`docs/decisions/0011-idle-clients.md`). A peer cannot use up memory: a message has at most `bytesMax` bytes,
 * in however many frames it arrives; at most one pong is buffered; and the closing handshake has a timeout. Nor can it
 * use up time: if it sends more frames than a limit allows, its connection is not read for a while
 * (`docs/decisions/0021-limits.md`).
 *
 * @module
 */
import { Buffer, isUtf8 } from "node:buffer";
import type { Socket } from "node:net";
import {
  closeBody,
  INVALID_DATA,
  isCloseCode,
  POLICY_VIOLATION,
  PROTOCOL_ERROR,
  TOO_BIG,
} from "./close_frame.ts";
import type { RateLimit, Usage } from "../limits/rate_limit.ts";
import {
  BINARY,
  CLOSE,
  encodeFrame,
  errorInHead,
  PING,
  PONG,
  readHead,
  unmask,
} from "./frame.ts";
import { PartialMessage } from "./partial_message.ts";

/**
 * Maximum time from the start of the closing handshake until the connection is closed, in ms. Within this time the peer
 * also has to read the bytes that are still buffered.
 */
const CLOSE_TIMEOUT_MS = 30_000;
const NOTHING: Buffer = Buffer.alloc(0);
/**
 * How many bytes of payload count as one more frame for the limit of frames. Large messages take time mostly because of
 * their bytes.
 */
const BYTES_PER_COST = 16_384;
/** Minimum duration of a pause in ms. Each pause costs a timer. */
const PAUSE_MS_MIN = 200;
/** Maximum duration of a pause in ms, which is far below the timeout of a pong that waits among the frames. */
const PAUSE_MS_MAX = 1000;
/** After this time without a pause, in ms, the next pause is the first in a row. */
const CALM_MS = 3000;

/** Handles the messages that a WebSocket receives, and the end of the connection. */
export interface MessageHandler {
  /**
   * Handles a complete message: a string if the message is a text, or a buffer if it is binary. The handler may keep
   * the buffer.
   */
  onMessage(message: string | Buffer): void;
  /** Called when the peer has violated the WebSocket protocol. The connection is then already being closed. */
  onProtocolError(reason: string): void;
  /** Called when the connection is closed. No other method is called after that. */
  onClosed(): void;
}

/** The limit of the frames that each peer may send per second. */
export interface FrameLimit {
  readonly rate: RateLimit;
  /**
   * How many times in a row a connection is not read for a while. A peer that then goes on is disconnected.
   */
  readonly pausesMax: number;
  /**
   * Called with what happens to a connection whose peer has sent more frames; `too_large` if it is closed because the
   * peer has sent a message that is too large.
   */
  readonly onExceeded: (outcome: "paused" | "closed" | "too_large") => void;
}

/**
 * Key under which a socket stores its `WebSocketConnection`. The listeners find it there, so that all sockets share the
 * same listeners; closures for each socket would take more memory.
 */
const WEBSOCKET = Symbol("websocket");
type SocketWithWebSocket = Socket & { [WEBSOCKET]: WebSocketConnection };

/** Reads a peer's messages from a socket, answers pings, and closes the connection as RFC 6455 requires. */
export class WebSocketConnection implements Usage {
  /** What the peer has used of the limit of frames. */
  usedUntil = 0;
  readonly #connection: Socket;
  readonly #bytesMax: number;
  readonly #handler: MessageHandler;
  /** The bytes of an incomplete frame head or control frame, kept until the other bytes of the frame arrive. */
  #rest = NOTHING;
  #partial: PartialMessage | undefined;
  /**
   * Whether no more frames may be sent, because a close frame was sent (RFC 6455 §5.5.1) or the connection has ended.
   */
  #closing = false;
  #ignoreInput = false;
  /** The payload of the last ping that was not answered with a pong yet. */
  #ping: Buffer | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  readonly #limit: FrameLimit | undefined;
  /** Set during a pause: while the connection is not read, because its peer has sent more frames than it may. */
  #resuming: ReturnType<typeof setTimeout> | undefined;
  #pauses = 0;
  #pausedAt = 0;

  /**
   * Starts to read from `connection`. The caller has to send the HTTP response that accepts the upgrade.
   *
   * @param head The bytes that arrived after the HTTP request.
   * @param bytesMax Maximum size of a message, in bytes.
   * @param limit How many frames the peer may send; undefined for no limit.
   */
  constructor(
    connection: Socket,
    head: Buffer,
    bytesMax: number,
    handler: MessageHandler,
    limit?: FrameLimit,
  ) {
    this.#limit = limit;
    this.#connection = connection;
    this.#bytesMax = bytesMax;
    this.#handler = handler;
    (connection as SocketWithWebSocket)[WEBSOCKET] = this;
    connection.setTimeout(0);
    connection.setNoDelay();
    if (head.length > 0) connection.unshift(head);
    connection.on("data", WebSocketConnection.#onData);
    connection.on("end", WebSocketConnection.#onEnd);
    connection.on("close", WebSocketConnection.#onClose);
  }

  /** Whether frames may still be written to the connection. */
  get open(): boolean {
    return !this.#closing && this.#connection.writable;
  }

  /**
   * Sends a close frame (RFC 6455 §7.1.2) and waits for the peer's close frame. When the peer's close frame arrives,
   * ends the TCP connection, which is the server's task (§7.1.1). If the frame does not arrive within {@linkcode
   * CLOSE_TIMEOUT_MS}, disconnects the peer.
   */
  close(body = NOTHING): void {
    const connection = this.#connection;
    if (connection.destroyed) return;
    if (this.open) connection.write(encodeFrame(CLOSE, body));
    this.#closing = true;
    this.#deadline ??= setTimeout(
      () => connection.destroy(),
      CLOSE_TIMEOUT_MS,
    );
    // A second call of `end()` makes an error with a stack trace, which takes longer than the rest of the closing.
    if (this.#ignoreInput && !connection.writableEnded) connection.end();
  }

  /** Closes the connection at once, without a closing handshake, and discards all buffered bytes. */
  terminate(): void {
    this.#ignoreInput = true;
    this.#connection.destroy();
  }

  static #onData(this: SocketWithWebSocket, chunk: Buffer): void {
    this[WEBSOCKET].#read(chunk);
  }

  /** Closes the connection after the peer has ended its half, because a WebSocket needs both halves. */
  static #onEnd(this: SocketWithWebSocket): void {
    const websocket = this[WEBSOCKET];
    websocket.#closing = websocket.#ignoreInput = true;
    websocket.close();
  }

  static #onClose(this: SocketWithWebSocket): void {
    const websocket = this[WEBSOCKET];
    clearTimeout(websocket.#deadline);
    clearTimeout(websocket.#resuming);
    websocket.#closing = websocket.#ignoreInput = true;
    websocket.#partial = undefined;
    websocket.#handler.onClosed();
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0
      ? chunk
      : Buffer.concat([this.#rest, chunk]);
    this.#rest = NOTHING;
    for (let at = 0; at < bytes.length && !this.#ignoreInput;) {
      const next = this.#resuming !== undefined
        ? at
        : this.#partial?.isInFrame
        ? this.#readPayload(this.#partial, bytes, at)
        : this.#readFrame(bytes, at);
      if (next === at) {
        // Copy the few remaining bytes; a view of them would keep the whole chunk in memory.
        return void (this.#rest = Buffer.from(bytes.subarray(at)));
      }
      at = next;
    }
  }

  /**
   * Reads a frame that begins at index `at`, or as much of it as has arrived.
   *
   * @returns The index after the bytes that were read. This is `at` if too few bytes have arrived, or if the connection
   * is not to be read for a while.
   */
  #readFrame(bytes: Buffer, at: number): number {
    if (bytes.length < at + 2) return at;
    const isInMessage = this.#partial !== undefined;
    const error = errorInHead(bytes, at, isInMessage);
    if (error !== undefined) {
      this.#fail(PROTOCOL_ERROR, error);
      return bytes.length;
    }
    const head = readHead(bytes, at);
    if (head === undefined) return at;
    const { fin, opcode, length } = head;
    const start = head.mask + 4, end = start + length;
    if (opcode < CLOSE) {
      if ((this.#partial?.length ?? 0) + length > this.#bytesMax) {
        this.#limit?.onExceeded("too_large");
        this.#fail(TOO_BIG, "a message is too large", tooLarge(this.#bytesMax));
        return bytes.length;
      }
      if (this.#exceeds(length)) return at;
      if (!fin || isInMessage || bytes.length < end) {
        const partial = this.#partial ??= new PartialMessage(
          opcode,
          this.#bytesMax,
        );
        partial.beginFrame(head, bytes);
        return this.#readPayload(partial, bytes, start);
      }
    } else if (bytes.length < end || this.#exceeds(length)) return at;
    const payload = bytes.subarray(start, end);
    unmask(payload, bytes.subarray(head.mask, start), 0);
    if (opcode < CLOSE) this.#deliver(opcode, payload);
    else this.#control(opcode, payload);
    return end;
  }

  #readPayload(partial: PartialMessage, bytes: Buffer, at: number): number {
    const next = partial.take(bytes, at);
    if (partial.isComplete) {
      this.#partial = undefined;
      this.#deliver(partial.opcode, partial.payload);
    }
    return next;
  }

  /**
   * Counts a frame with `length` bytes for the limit of frames. Returns `true` if the peer may not send it yet; the
   * connection is then not read for a while, and the peer's system stops sending when its buffers are full.
   */
  #exceeds(length: number): boolean {
    if (this.#limit === undefined) return false;
    const cost = 1 + Math.floor(length / BYTES_PER_COST);
    const waitMs = this.#limit.rate.spend(this, cost);
    if (waitMs === 0) return false;
    this.#pauses = performance.now() - this.#pausedAt < CALM_MS
      ? this.#pauses + 1
      : 1;
    this.#pausedAt = Math.floor(performance.now());
    this.#connection.pause();
    if (this.#pauses > this.#limit.pausesMax) {
      this.#limit.onExceeded("closed");
      this.#fail(POLICY_VIOLATION, "the peer sends too much");
      // Do not wait for the peer's close frame: it comes after all that the peer has sent, which is no longer read.
      this.#connection.destroySoon();
      return true;
    }
    this.#limit.onExceeded("paused");
    this.#resuming = setTimeout(() => {
      this.#resuming = undefined;
      // Read first what has arrived before the pause; it may lead to another one.
      this.#read(NOTHING);
      if (this.#resuming === undefined) this.#connection.resume();
    }, Math.min(Math.max(waitMs, PAUSE_MS_MIN), PAUSE_MS_MAX));
    return true;
  }

  #deliver(opcode: number, payload: Buffer): void {
    if (opcode === BINARY) this.#handler.onMessage(Buffer.from(payload));
    else if (isUtf8(payload)) this.#handler.onMessage(payload.toString());
    else this.#fail(INVALID_DATA, "a text is not UTF-8");
  }

  #control(opcode: number, payload: Buffer): void {
    if (opcode === PING) return this.#pong(payload);
    if (opcode === PONG) return;
    const code = payload.length < 2 ? undefined : payload.readUInt16BE();
    if (payload.length === 1 || (code !== undefined && !isCloseCode(code))) {
      return this.#fail(PROTOCOL_ERROR, "a close frame has no valid code");
    }
    if (!isUtf8(payload.subarray(2))) {
      return this.#fail(INVALID_DATA, "a reason to close is not UTF-8");
    }
    this.#ignoreInput = true;
    this.close(payload.subarray(0, 2));
  }

  /**
   * Answers a ping with a pong. If several pings arrive before the peer has read the last pong, only the last ping is
   * answered (RFC 6455 §5.5.3).
   */
  #pong(ping: Buffer): void {
    const waiting = this.#ping !== undefined;
    this.#ping = Buffer.from(ping);
    if (waiting) return;
    const send = (): void => {
      if (this.open) {
        this.#connection.write(encodeFrame(PONG, this.#ping ?? NOTHING));
      }
      this.#ping = undefined;
    };
    if (this.#connection.writableLength === 0) send();
    else this.#connection.write(NOTHING, send);
  }

  /**
   * Closes the connection because the peer violated the protocol (RFC 6455 §7.1.7).
   *
   * @param told The reason in the close frame; by default none.
   */
  #fail(code: number, reason: string, told?: string): void {
    this.#ignoreInput = true;
    this.close(closeBody(code, told));
    this.#handler.onProtocolError(reason);
  }
}

/** Returns the reason in the close frame after a message that is too large, as a code and a sentence. */
function tooLarge(bytesMax: number): string {
  return `message_too_large: Cannot read what was sent: it exceeds ${bytesMax} bytes; send less`;
}
