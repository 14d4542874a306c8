/**
 * Reads from a client's handshake what hooks are told about the client.
 *
 * @module
 */
import type { Socket } from "socket.io";
import type { Introduction } from "../access/hooks.ts";
import { passedOn } from "../access/passed_headers.ts";
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
