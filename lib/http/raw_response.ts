/**
 * Responses to connections for which node:http has made no response object. They close their connections.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { STATUS_CODES } from "node:http";
import type { ApiError } from "../errors.ts";
import { SNIFFING } from "./response.ts";

/**
 * Returns the complete bytes of a response.
 *
 * @param status The status with its name, as in `400 Bad Request`.
 * @param body JSON text.
 * @param headers Additional header lines, each ending with `\r\n`.
 */
export function rawResponse(
  status: string,
  body: string,
  headers = "",
): string {
  return `HTTP/1.1 ${status}\r\nconnection: close\r\nvary: Origin\r\n` +
    `${SNIFFING.join(": ")}\r\ncontent-type: application/json\r\n${headers}` +
    `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/**
 * Returns the complete bytes of the response for an error.
 *
 * @param body JSON text; by default an object with the field `error`, as in Roomcast's other error responses.
 */
export function rawErrorResponse(
  error: ApiError,
  body: string = JSON.stringify({ error }),
): string {
  const { status, retryable, retrySeconds } = error;
  return rawResponse(
    `${status} ${STATUS_CODES[status]}`,
    body,
    retryable ? `retry-after: ${retrySeconds}\r\n` : "",
  );
}
