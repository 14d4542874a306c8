/**
 * The bodies of close frames, and the status codes in them (RFC 6455 §7.4).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { CONTROL_BYTES_MAX } from "./frame.ts";

/** Status code of a close frame: the peer violated the protocol (RFC 6455 §7.4.1). */
export const PROTOCOL_ERROR = 1002;
/** Status code of a close frame: the peer has sent too much (RFC 6455 §7.4.1). */
export const POLICY_VIOLATION = 1008;
/** Status code of a close frame: a text message is not valid UTF-8 (RFC 6455 §7.4.1). */
export const INVALID_DATA = 1007;
/** Status code of a close frame: a message is larger than the limit (RFC 6455 §7.4.1). */
export const TOO_BIG = 1009;

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
export function isCloseCode(code: number): boolean {
  return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) ||
    (code >= 3000 && code <= 4999);
}
