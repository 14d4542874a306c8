/**
 * The server's side of a WebSocket (RFC 6455), complete, without extensions.
 *
 * Complete messages are passed to one handler. The caller encodes its messages and writes them to the connection
 * itself. Therefore no bytes are copied or queued here, and an idle connection needs only one small object
 * (`docs/decisions/0011-idle-clients.md`). Everything that a peer can send is limited: a message by `bytesMax`, however
 * it is split into frames; buffered pongs to one; a closing handshake by its timeout.
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

/** Maximum time for the closing handshake, including the bytes that were written before it, in ms. */
const CLOSE_TIMEOUT_MS = 30_000;
/** Maximum payload of a control frame in bytes (RFC 6455 §5.5). */
const CONTROL_BYTES_MAX = 125;
const NOTHING: Buffer = Buffer.alloc(0);

/** Status codes of RFC 6455 §7.4.1. */
const PROTOCOL_ERROR = 1002, INVALID_DATA = 1007, TOO_BIG = 1009;

/** Handles the messages and the end of a WebSocket. */
export interface MessageHandler {
  /** Handles a complete message. A text is passed as a string, binary data as a buffer that the handler may keep. */
  onMessage(message: string | Buffer): void;
  /** Handles a violation of the protocol by the peer. The connection is being closed. */
  onProtocolError(reason: string): void;
  /** Handles the end of the connection. This is the last call. */
  onClosed(): void;
}

/** A message whose last bytes have not arrived yet. */
interface PartialMessage {
  readonly opcode: number;
  /** The bytes that have arrived, unmasked, followed by unused space. */
  bytes: Buffer;
  length: number;
  /** Bytes of the current frame's payload that have not arrived. */
  left: number;
  /** Whether the current frame is the last one of the message. */
  fin: boolean;
  mask: Buffer;
  /** Bytes of the current frame's payload that have been unmasked. */
  unmasked: number;
}

/**
 * Key under which a socket stores its `WebSocketConnection`, so that all sockets share the same listeners instead of
 * holding closures.
 */
const WEBSOCKET = Symbol("websocket");
type SocketWithWebSocket = Socket & { [WEBSOCKET]: WebSocketConnection };

/** Reads messages from a connection, answers pings, and closes it as RFC 6455 requires. */
export class WebSocketConnection {
  readonly #connection: Socket;
  readonly #bytesMax: number;
  readonly #handler: MessageHandler;
  /** The beginning of a frame's head or of a control frame, until the rest arrives. */
  #rest = NOTHING;
  #partial: PartialMessage | undefined;
  /** Whether a close frame has been sent or can no longer be sent. No frame may follow (RFC 6455 §5.5.1). */
  #closing = false;
  #ignoreInput = false;
  /** The last ping that has not been answered with a pong. */
  #ping: Buffer | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;

  /**
   * Starts to read. The caller sends the response to the handshake.
   *
   * @param head Bytes that arrived after the request.
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

  /** Whether frames may be written to the connection. */
  get open(): boolean {
    return !this.#closing && this.#connection.writable;
  }

  /**
   * Sends a close frame (RFC 6455 §7.1.2), and ends the connection once the peer's close frame has arrived, because the
   * server has to end it first (§7.1.1). A peer that does not answer within {@linkcode CLOSE_TIMEOUT_MS} is
   * disconnected.
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

  /** Ends the connection now and discards everything that is buffered. */
  terminate(): void {
    this.#ignoreInput = true;
    this.#connection.destroy();
  }

  static #onData(this: SocketWithWebSocket, chunk: Buffer): void {
    this[WEBSOCKET].#read(chunk);
  }

  /** Disconnects a peer that has ended its half of the connection, because a WebSocket needs both halves. */
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
        // Copy these few bytes; otherwise they would keep the whole chunk in memory.
        return void (this.#rest = Buffer.from(bytes.subarray(at)));
      }
      at = next;
    }
  }

  /**
   * Reads a frame that begins at `at`, or the part of its payload that has arrived.
   *
   * @returns The index of the next frame, or `at` if too few bytes have arrived.
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

  /** Returns the error in the first two bytes of a frame; undefined if they are valid. */
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

  /** Begins a message, or the next frame of one. */
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
   * Appends bytes to a message. The buffer's size is doubled as bytes arrive. It is not set to the length that the head
   * states, because a client could otherwise reserve memory by sending only heads.
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

  /** Answers a ping with a pong. If the peer does not read, only its last ping is answered (RFC 6455 §5.5.3). */
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

  /** Closes the connection because of an error of the peer (RFC 6455 §7.1.7). */
  #fail(code: number, reason: string): void {
    this.#ignoreInput = true;
    const body = Buffer.alloc(2);
    body.writeUInt16BE(code);
    this.close(body);
    this.#handler.onProtocolError(reason);
  }
}

/** Returns whether a close frame may have this code (RFC 6455 §7.4). */
function isCloseCode(code: number): boolean {
  return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) ||
    (code >= 3000 && code <= 4999);
}
