/**
 * The opening handshake of a WebSocket (RFC 6455 §4.2): validates a request and makes the response.
 *
 * @module
 */
import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** Appended to every key before it is hashed (RFC 6455 §1.3). */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** A valid key: 16 bytes in base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/;
/** A token of RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** The refusal of an upgrade, as parts of the HTTP response. */
export interface HandshakeError {
  readonly status:
    | "400 Bad Request"
    | "426 Upgrade Required"
    | "503 Service Unavailable";
  /** Header lines, each with its line break. */
  readonly headers: string;
  readonly message: string;
}

/** Validates a request to open a WebSocket (RFC 6455 §4.2.1). Returns undefined if it is valid. */
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
 * Returns the response that turns a connection into a WebSocket (RFC 6455 §4.2.2). It accepts the first subprotocol
 * that the client offers, because browsers close the connection if they offered some and none was accepted.
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
