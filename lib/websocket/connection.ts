/**
 * WebSockets: the server's side of RFC 6455, whole, without extensions.
 *
 * Whole messages go to one listener, and bytes go out as the caller framed them: nothing is copied or queued between,
 * and a connection that idles keeps one small object (`docs/decisions/0011-idle-clients.md`). What strangers may send
 * is bounded: a message by `bytesMax`, however it is cut up, pongs to one that waits, a close by its deadline.
 *
 * @module
 */
import { Buffer, isUtf8 } from "node:buffer";
import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { frameOf } from "../socketio/frame.ts";

/** What every accept key is made with (RFC 6455 §1.3). */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** 16 bytes in base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/;
/** A token of RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** How long a closing handshake may take, and what was written before it. */
const CLOSE_TIMEOUT_MS = 30_000;
/** Of a control frame's payload (RFC 6455 §5.5). */
const CONTROL_BYTES_MAX = 125;
const NOTHING: Buffer = Buffer.alloc(0);

/** Opcodes of RFC 6455 §5.2. */
const CONTINUATION = 0, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

/** Codes of RFC 6455 §7.4.1. */
const PROTOCOL_ERROR = 1002, INVALID_DATA = 1007, TOO_BIG = 1009;

/** Why an upgrade is refused. */
export interface HandshakeError {
  readonly status:
    | "400 Bad Request"
    | "426 Upgrade Required"
    | "503 Service Unavailable";
  readonly headers: string;
  readonly message: string;
}

/** Looks at what a client has to say to become a WebSocket (RFC 6455 §4.2.1). Undefined: it may. */
export function validateHandshake(
  { method, headers }: IncomingMessage,
): HandshakeError | undefined {
  const { upgrade = "", "sec-websocket-key": key = "" } = headers;
  const refuse = (message: string): HandshakeError => ({
    status: "400 Bad Request",
    headers: "",
    message,
  });
  if (method !== "GET") return refuse("Invalid HTTP method");
  if (upgrade.toLowerCase() !== "websocket") {
    return refuse("Invalid Upgrade header");
  }
  if (headers["sec-websocket-version"] !== "13") {
    return {
      status: "426 Upgrade Required",
      headers: "Sec-WebSocket-Version: 13\r\n",
      message: "Missing or invalid Sec-WebSocket-Version header",
    };
  }
  if (!KEY.test(key)) {
    return refuse("Missing or invalid Sec-WebSocket-Key header");
  }
}

/**
 * The answer that makes a connection a WebSocket (RFC 6455 §4.2.2). Of subprotocols the first is taken, for browsers
 * give up where none is.
 */
export function handshakeResponse({ headers }: IncomingMessage): string {
  const key = `${headers["sec-websocket-key"]}${GUID}`;
  const accept = hash("sha1", key, "base64");
  const protocol = headers["sec-websocket-protocol"]?.split(",", 1)[0]?.trim();
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${accept}\r\n` +
    (protocol !== undefined && TOKEN.test(protocol)
      ? `Sec-WebSocket-Protocol: ${protocol}\r\n\r\n`
      : "\r\n");
}

/** Who is told what arrives. */
export interface MessageHandler {
  /** A whole message: text as a string, anything else as bytes of its own. */
  onMessage(message: string | Buffer): void;
  /** The peer broke the protocol, and the connection is being closed. */
  onProtocolError(reason: string): void;
  /** The connection is gone; the last thing that is told. */
  onClosed(): void;
}

/** A message of which not all is here. */
interface PartialMessage {
  readonly opcode: number;
  /** What is here, unmasked, and room for more. */
  bytes: Buffer;
  length: number;
  /** The frame whose payload is being read: what is left of it, and whether it is the last. */
  left: number;
  fin: boolean;
  mask: Buffer;
  unmasked: number;
}

/** How a connection's listeners, the same for all, find what it is to them: a closure for each would be kept by each. */
const WEBSOCKET = Symbol("websocket");
type Bound = Socket & { [WEBSOCKET]: WebSocketConnection };

/** A connection that is answered with {@linkcode handshakeResponse}, from then on. */
export class WebSocketConnection {
  readonly #connection: Socket;
  readonly #bytesMax: number;
  readonly #listener: MessageHandler;
  /** The beginning of a head, or of a control frame. */
  #rest = NOTHING;
  #partial: PartialMessage | undefined;
  /** A close frame has been sent, or none can be: nothing may follow (RFC 6455 §5.5.1). */
  #closing = false;
  /** What still arrives is not looked at. */
  #deaf = false;
  /** A ping that is still to be answered. */
  #ping: Buffer | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;

  /** Begins to read, `head` first: what came behind the request. A message may have `bytesMax` bytes. */
  constructor(
    connection: Socket,
    head: Buffer,
    bytesMax: number,
    listener: MessageHandler,
  ) {
    this.#connection = connection;
    this.#bytesMax = bytesMax;
    this.#listener = listener;
    (connection as Bound)[WEBSOCKET] = this;
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
   * Sends a close frame (RFC 6455 §7.1.2), and ends the connection once the peer's is here too: servers do so first
   * (§7.1.1). Who does not answer is cut off in time.
   */
  close(body = NOTHING): void {
    const connection = this.#connection;
    if (connection.destroyed) return;
    if (this.open) connection.write(frameOf(CLOSE, body));
    this.#closing = true;
    this.#deadline ??= setTimeout(
      () => connection.destroy(),
      CLOSE_TIMEOUT_MS,
    );
    if (this.#deaf) connection.end();
  }

  /** Ends the connection now, whatever waits. */
  terminate(): void {
    this.#deaf = true;
    this.#connection.destroy();
  }

  static #onData(this: Bound, chunk: Buffer): void {
    this[WEBSOCKET].#read(chunk);
  }

  /** The peer has ended its half; ours has no use without it. */
  static #onEnd(this: Bound): void {
    const websocket = this[WEBSOCKET];
    websocket.#closing = websocket.#deaf = true;
    websocket.close();
  }

  static #onClose(this: Bound): void {
    const websocket = this[WEBSOCKET];
    clearTimeout(websocket.#deadline);
    websocket.#closing = websocket.#deaf = true;
    websocket.#partial = undefined;
    websocket.#listener.onClosed();
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0
      ? chunk
      : Buffer.concat([this.#rest, chunk]);
    this.#rest = NOTHING;
    for (let at = 0; at < bytes.length && !this.#deaf;) {
      const next = this.#partial !== undefined && this.#partial.left > 0
        ? this.#readPayload(this.#partial, bytes, at)
        : this.#readFrame(bytes, at);
      // A copy: what is left is little, and would keep all that it was read with.
      if (next === at) {
        return void (this.#rest = Buffer.from(bytes.subarray(at)));
      }
      at = next;
    }
  }

  /** Reads a frame's head, and what is here of its payload (RFC 6455 §5.2). Answers `at` where that is too little. */
  #readFrame(bytes: Buffer, at: number): number {
    if (bytes.length < at + 2) return at;
    const first = bytes.readUInt8(at), second = bytes.readUInt8(at + 1);
    const fin = first >= 0x80, opcode = first & 0x0f, short = second & 0x7f;
    const fault = this.#faultOf(first, second);
    if (fault !== undefined) {
      this.#fail(PROTOCOL_ERROR, fault);
      return bytes.length;
    }
    const mask = at + (short < 126 ? 2 : short === 126 ? 4 : 10);
    const start = mask + 4;
    if (bytes.length < start) return at;
    const length = short < 126
      ? short
      : short === 126
      ? bytes.readUInt16BE(at + 2)
      : Number(bytes.readBigUInt64BE(at + 2));
    const end = start + length;
    if (opcode < CLOSE) {
      if ((this.#partial?.length ?? 0) + length > this.#bytesMax) {
        this.#fail(TOO_BIG, "a message is too large");
        return bytes.length;
      }
      if (!fin || this.#partial !== undefined || bytes.length < end) {
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
        partial.mask = Buffer.from(bytes.subarray(mask, start));
        partial.unmasked = 0;
        return this.#readPayload(partial, bytes, start);
      }
    } else if (bytes.length < end) return at;
    const payload = bytes.subarray(start, end);
    unmask(payload, bytes.subarray(mask, start), 0);
    if (opcode < CLOSE) this.#deliver(opcode, payload);
    else this.#control(opcode, payload);
    return end;
  }

  #faultOf(first: number, second: number): string | undefined {
    const opcode = first & 0x0f;
    if ((first & 0x70) !== 0) return "a reserved bit is set";
    if (second < 0x80) return "a frame is not masked";
    if (opcode > PONG || (opcode > BINARY && opcode < CLOSE)) {
      return "an opcode is unknown";
    }
    if (opcode >= CLOSE) {
      return first < 0x80 || (second & 0x7f) > CONTROL_BYTES_MAX
        ? "a control frame is cut up or too long"
        : undefined;
    }
    return (opcode === CONTINUATION) === (this.#partial !== undefined)
      ? undefined
      : "a message goes on that never began, or begins within another";
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

  /** Room is made as bytes come, twice as much each time: what a head announces may never come. */
  #append(partial: PartialMessage, part: Buffer): void {
    const { bytes, length } = partial;
    const needed = length + part.length;
    if (needed > bytes.length) {
      const room = Math.max(needed, 2 * bytes.length);
      partial.bytes = Buffer.allocUnsafe(Math.min(room, this.#bytesMax));
      bytes.copy(partial.bytes, 0, 0, length);
    }
    part.copy(partial.bytes, length);
    partial.length = needed;
  }

  #deliver(opcode: number, payload: Buffer): void {
    if (opcode === BINARY) this.#listener.onMessage(Buffer.from(payload));
    else if (isUtf8(payload)) this.#listener.onMessage(payload.toString());
    else this.#fail(INVALID_DATA, "a text is not UTF-8");
  }

  #control(opcode: number, payload: Buffer): void {
    if (opcode === PING) return this.#answer(payload);
    if (opcode === PONG) return;
    const code = payload.length < 2 ? undefined : payload.readUInt16BE();
    if (payload.length === 1 || (code !== undefined && !mayClose(code))) {
      return this.#fail(PROTOCOL_ERROR, "a close has no valid code");
    }
    if (!isUtf8(payload.subarray(2))) {
      return this.#fail(INVALID_DATA, "a reason to close is not UTF-8");
    }
    this.#deaf = true;
    this.close(payload.subarray(0, 2));
  }

  /** Where the peer does not read, only its last ping is answered (RFC 6455 §5.5.3). */
  #answer(ping: Buffer): void {
    const waiting = this.#ping !== undefined;
    this.#ping = Buffer.from(ping);
    if (waiting) return;
    const answer = (): void => {
      if (this.open) {
        this.#connection.write(frameOf(PONG, this.#ping ?? NOTHING));
      }
      this.#ping = undefined;
    };
    if (this.#connection.writableLength === 0) answer();
    else this.#connection.write(NOTHING, answer);
  }

  /** Fails the connection (RFC 6455 §7.1.7). */
  #fail(code: number, reason: string): void {
    this.#deaf = true;
    const body = Buffer.alloc(2);
    body.writeUInt16BE(code);
    this.close(body);
    this.#listener.onProtocolError(reason);
  }
}

function unmask(payload: Buffer, mask: Buffer, past: number): void {
  for (let at = 0; at < payload.length; at++) {
    payload[at] = (payload[at] ?? 0) ^ (mask[(past + at) & 3] ?? 0);
  }
}

/** Codes that may be in a close frame (RFC 6455 §7.4). */
function mayClose(code: number): boolean {
  return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) ||
    (code >= 3000 && code <= 4999);
}
