/**
 * Reads from a client's handshake what hooks are told about the client.
 *
 * @module
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Socket } from "socket.io";
import type { Introduction } from "../access/hooks.ts";
import { ApiError } from "../errors.ts";
import type { ClientAddress } from "../limits/addresses.ts";
import { DATA_BYTES_MAX } from "../recovery/join_request.ts";
import { jsonBytes } from "../util/json_bytes.ts";

/** How the handshakes of clients are read. */
export interface IntroductionOptions {
  readonly clientAddress: ClientAddress;
  /** The names of the headers that are passed on to hooks, in lower case. */
  readonly hookHeaders: readonly string[];
}

/**
 * Returns what a client's handshake says about the client.
 *
 * @throws {ApiError} `invalid_parameter` if the client has sent too much in `auth`
 */
export function introductionOf(
  { conn, handshake }: Pick<Socket, "conn" | "handshake">,
  { clientAddress, hookHeaders }: IntroductionOptions,
): Introduction {
  const { token, rooms: _, pid: _pid, offset: _offset, ...data } =
    handshake.auth;
  if (jsonBytes(data) > DATA_BYTES_MAX) {
    throw new ApiError(
      "invalid_parameter",
      `Cannot connect: auth has more than ${DATA_BYTES_MAX} bytes besides token and rooms; send less`,
    );
  }
  const { headers } = conn.request;
  return {
    transport: conn.transport.name,
    origin: headers.origin,
    address: clientAddress(conn.request),
    data,
    token,
    headers: passedOn(headers, hookHeaders),
  };
}

/**
 * Returns the headers that are passed on. Leaves out cookies if another site has caused the request, because browsers
 * send cookies with such requests too.
 */
function passedOn(
  headers: IncomingHttpHeaders,
  names: readonly string[],
): Record<string, string> {
  const site = headers["sec-fetch-site"] ?? "none";
  const isForeign = headers.origin === undefined &&
    site !== "none" && site !== "same-origin";
  const passed: Record<string, string> = {};
  for (const name of names) {
    const value = headers[name];
    if (typeof value !== "string" || (name === "cookie" && isForeign)) continue;
    // The request to a hook cannot have headers with other characters.
    if (/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) passed[name] = value;
  }
  return passed;
}
