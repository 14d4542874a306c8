/**
 * The server's side of a WebSocket connection: all of RFC 6455 except extensions.
 *
 * Complete messages of the peer are passed to one handler. Messages to the peer are encoded by the caller, which writes
 * them to the socket itself. This module therefore queues no bytes to send, and an idle connection needs only one small
 * object (`docs/decisions/0011-idle-clients.md`). A peer cannot use up memory: a message has at most `bytesMax` bytes,
 * in however many frames it arrives; at most one pong is buffered; and the closing handshake has a timeout.
 *
 * @module
 */
import { Buffer, isUtf8 } from "node:buffer";
import type { Socket } from "node:net";
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  encodeFrame,
  type FrameHead,
  PING,
  PONG,
  readHead,
  unmask,
} from "./frame.ts";

/**
 * Maximum time from the start of the closing handshake until the connection is closed, in ms. Within this time the peer
 * also has to read the bytes that are still buffered.
 */
const CLOSE_TIMEOUT_MS = 30_000;
/** Maximum payload of a control frame in bytes (RFC 6455 §5.5). */
const CONTROL_BYTES_MAX = 125;
const NOTHING: Buffer = Buffer.alloc(0);

/** Status code of a close frame: the peer violated the protocol (RFC 6455 §7.4.1). */
const PROTOCOL_ERROR = 1002;
/** Status code of a close frame: a text message is not valid UTF-8 (RFC 6455 §7.4.1). */
const INVALID_DATA = 1007;
/** Status code of a close frame: a message is larger than the limit (RFC 6455 §7.4.1). */
const TOO_BIG = 1009;

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

/** A message of which only a part has arrived yet. */
interface PartialMessage {
  readonly opcode: number;
  /** The bytes of the message that have arrived, unmasked, followed by unused space. */
  bytes: Buffer;
  length: number;
  /** Number of bytes of the current frame's payload that have not arrived yet. */
  left: number;
  /** Whether the current frame is the last one of the message. */
  fin: boolean;
  mask: Buffer;
  /** Number of bytes of the current frame's payload that have been unmasked. */
  unmasked: number;
}

/**
 * Key under which a socket stores its `WebSocketConnection`. The listeners find it there, so that all sockets share the
 * same listeners; closures for each socket would take more memory.
 */
const WEBSOCKET = Symbol("websocket");
type SocketWithWebSocket = Socket & { [WEBSOCKET]: WebSocketConnection };

/** Reads a peer's messages from a socket, answers pings, and closes the connection as RFC 6455 requires. */
export class WebSocketConnection {
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

  /**
   * Starts to read from `connection`. The caller has to send the HTTP response that accepts the upgrade.
   *
   * @param head The bytes that arrived after the HTTP request.
   * @param bytesMax Maximum size of a message, in bytes.
   */
  constructor(
    connection: Socket,
    head: Buffer,
    bytesMax: number,
    handler: MessageHandler,
  ) {
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
    if (this.#ignoreInput) connection.end();
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
      const next = this.#partial !== undefined && this.#partial.left > 0
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
   * @returns The index after the bytes that were read. This is `at` if too few bytes have arrived.
   */
  #readFrame(bytes: Buffer, at: number): number {
    if (bytes.length < at + 2) return at;
    const error = this.#errorOf(bytes.readUInt8(at), bytes.readUInt8(at + 1));
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
        this.#fail(TOO_BIG, "a message is too large");
        return bytes.length;
      }
      if (!fin || this.#partial !== undefined || bytes.length < end) {
        return this.#readPayload(this.#begin(head, bytes), bytes, start);
      }
    } else if (bytes.length < end) return at;
    const payload = bytes.subarray(start, end);
    unmask(payload, bytes.subarray(head.mask, start), 0);
    if (opcode < CLOSE) this.#deliver(opcode, payload);
    else this.#control(opcode, payload);
    return end;
  }

  /**
   * Returns the rule of RFC 6455 that the first two bytes of a frame violate, as text; undefined if the bytes are
   * valid.
   */
  #errorOf(first: number, second: number): string | undefined {
    const opcode = first & 0x0f;
    if ((first & 0x70) !== 0) return "a reserved bit is set";
    if (second < 0x80) return "a frame is not masked";
    if (opcode > PONG || (opcode > BINARY && opcode < CLOSE)) {
      return "an opcode is unknown";
    }
    if (opcode >= CLOSE) {
      return first < 0x80 || (second & 0x7f) > CONTROL_BYTES_MAX
        ? "a control frame is fragmented or too long"
        : undefined;
    }
    return (opcode === CONTINUATION) === (this.#partial !== undefined)
      ? undefined
      : "a continuation has no message, or a message begins within another";
  }

  /** Begins a new message or, if a part of a message has arrived, the next frame of that message. */
  #begin(
    { opcode, fin, length, mask }: FrameHead,
    bytes: Buffer,
  ): PartialMessage {
    const partial = this.#partial ??= {
      opcode,
      bytes: NOTHING,
      length: 0,
      left: 0,
      fin,
      mask: NOTHING,
      unmasked: 0,
    };
    partial.left = length;
    partial.fin = fin;
    partial.mask = Buffer.from(bytes.subarray(mask, mask + 4));
    partial.unmasked = 0;
    return partial;
  }

  #readPayload(partial: PartialMessage, bytes: Buffer, at: number): number {
    const part = bytes.subarray(at, at + partial.left);
    unmask(part, partial.mask, partial.unmasked);
    this.#append(partial, part);
    partial.unmasked += part.length;
    partial.left -= part.length;
    if (partial.left === 0 && partial.fin) {
      this.#partial = undefined;
      this.#deliver(partial.opcode, partial.bytes.subarray(0, partial.length));
    }
    return at + part.length;
  }

  /**
   * Appends bytes to a message. The buffer grows by doubling, as bytes arrive. It is not allocated with the length that
   * the frame's head states; otherwise a client could make the server allocate memory by sending only heads.
   */
  #append(partial: PartialMessage, part: Buffer): void {
    const { bytes, length } = partial;
    const needed = length + part.length;
    if (needed > bytes.length) {
      const size = Math.max(needed, 2 * bytes.length);
      partial.bytes = Buffer.allocUnsafe(Math.min(size, this.#bytesMax));
      bytes.copy(partial.bytes, 0, 0, length);
    }
    part.copy(partial.bytes, length);
    partial.length = needed;
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

  /** Closes the connection because the peer violated the protocol (RFC 6455 §7.1.7). */
  #fail(code: number, reason: string): void {
    this.#ignoreInput = true;
    this.close(closeBody(code));
    this.#handler.onProtocolError(reason);
  }
}

/**
 * Returns the body of a close frame with a status code and a reason. A reason that is too long for a control frame is
 * cut off after a complete character.
 */
export function closeBody(code: number, reason = ""): Buffer {
  const body = Buffer.alloc(CONTROL_BYTES_MAX);
  body.writeUInt16BE(code);
  // `write()` writes only complete characters.
  return body.subarray(0, 2 + body.write(reason, 2));
}

/** Returns whether a peer may send this code in a close frame (RFC 6455 §7.4). */
function isCloseCode(code: number): boolean {
  return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) ||
    (code >= 3000 && code <= 4999);
}
