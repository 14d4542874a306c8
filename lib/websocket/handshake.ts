/**
 * The opening handshake of a WebSocket (RFC 6455 §4.2): validates an upgrade request and makes the response.
 *
 * @module
 */
import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** The constant that is appended to a client's `Sec-WebSocket-Key` before both are hashed (RFC 6455 §1.3). */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** Matches a valid `Sec-WebSocket-Key`: 16 bytes in base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/;
/** Matches a token of RFC 9110 §5.6.2, such as the name of a subprotocol. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** The parts of the HTTP response that refuses an upgrade. */
export interface HandshakeError {
  readonly status: `${number} ${string}`;
  /** Additional header lines, each ending with `\r\n`. */
  readonly headers: string;
  /** What is wrong, as part of a sentence. */
  readonly message: string;
}

/**
 * Checks a request to open a WebSocket (RFC 6455 §4.2.1). Returns the HTTP response that refuses the request; undefined
 * if the request is valid.
 */
export function validateHandshake(
  { method, headers }: IncomingMessage,
): HandshakeError | undefined {
  const { upgrade = "", "sec-websocket-key": key = "" } = headers;
  const refuse = (message: string): HandshakeError => ({
    status: "400 Bad Request",
    headers: "",
    message,
  });
  if (method !== "GET") return refuse("the method is not GET");
  if (upgrade.toLowerCase() !== "websocket") {
    return refuse("the header Upgrade is not websocket");
  }
  if (headers["sec-websocket-version"] !== "13") {
    return {
      status: "426 Upgrade Required",
      headers: "Sec-WebSocket-Version: 13\r\n",
      message: "the header Sec-WebSocket-Version is not 13",
    };
  }
  if (!KEY.test(key)) {
    return refuse("the header Sec-WebSocket-Key is missing or not valid");
  }
}

/**
 * Returns the HTTP response that turns a connection into a WebSocket (RFC 6455 §4.2.2). The response accepts the first
 * subprotocol that the client offers, because a browser closes the connection if it offered subprotocols and the server
 * accepted none.
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
