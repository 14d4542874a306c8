/**
 * Encodes Socket.IO's packets as its own parser does, with an error code where Socket.IO has none.
 *
 * @module
 */
import * as parser from "socket.io-parser";
import { ApiError } from "../errors.ts";

/** What a client is told that connects to a namespace other than the default one. */
const NO_NAMESPACE = new ApiError(
  "not_found",
  'Cannot connect: the only namespace is "/"; connect without a path in the URL, and name rooms in auth.rooms',
);

/**
 * Creates the parser of a server that has only the default namespace. Socket.IO answers to other namespaces by itself,
 * with a `connect_error` without `data`, and does not call any middleware. Every `connect_error` of Roomcast has `data`,
 * so one without is replaced here.
 *
 * @param onRefused Called with the error when a client was refused because of its namespace.
 */
export function parserOf(onRefused: (error: ApiError) => void): typeof parser {
  class Encoder extends parser.Encoder {
    override encode(
      packet: parser.Packet,
    ): ReturnType<parser.Encoder["encode"]> {
      if (
        packet.type !== parser.PacketType.CONNECT_ERROR ||
        Object.hasOwn(packet.data, "data")
      ) return super.encode(packet);
      onRefused(NO_NAMESPACE);
      const { message } = NO_NAMESPACE;
      const data = { message, data: NO_NAMESPACE.toJSON() };
      return super.encode({ ...packet, data });
    }
  }
  return { ...parser, Encoder };
}
