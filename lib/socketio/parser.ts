/**
 * Encodes and decodes Socket.IO's packets as its own parser does, with an error code where Socket.IO has none.
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
 * Maximum length of a namespace's name in an answer, in characters. The client has chosen the name, and may send many
 * names and read no answer.
 */
const NAMESPACE_LENGTH_MAX = 255;
/** Stands for the `auth` of a client that has sent another value than an object. `checkHandshake()` refuses it. */
export const NO_OBJECT: Readonly<Record<string, unknown>> = Object.freeze({});

/** The only argument of an acknowledgement, as JSON text, so that what is JSON already need not be parsed. */
export class JsonText {
  readonly json: string;

  /** Stores the text. */
  constructor(json: string) {
    this.json = json;
  }
}

/**
 * Creates the parser of a server that has only the default namespace. Socket.IO answers to other namespaces by itself,
 * with a `connect_error` without `data`, and does not call any middleware. Every `connect_error` of Roomcast has `data`,
 * so one without is replaced here.
 *
 * If the payload of a CONNECT packet is not an object, Socket.IO would close the connection without a reason, and a stock
 * client would reconnect forever. The payload is therefore replaced by {@linkcode NO_OBJECT}, and the client is refused
 * with a reason.
 *
 * @param onRefused Called with the error when a client was refused because of its namespace.
 */
export function parserOf(onRefused: (error: ApiError) => void): typeof parser {
  class Encoder extends parser.Encoder {
    override encode(
      packet: parser.Packet,
    ): ReturnType<parser.Encoder["encode"]> {
      const { type, id } = packet;
      if (
        type === parser.PacketType.ACK && packet.data[0] instanceof JsonText
      ) {
        return [`${type}${id}[${packet.data[0].json}]`];
      }
      if (
        type !== parser.PacketType.CONNECT_ERROR ||
        Object.hasOwn(packet.data, "data")
      ) return super.encode(packet);
      onRefused(NO_NAMESPACE);
      const { message } = NO_NAMESPACE;
      const data = { message, data: NO_NAMESPACE.toJSON() };
      const nsp = packet.nsp.slice(0, NAMESPACE_LENGTH_MAX);
      return super.encode({ ...packet, nsp, data });
    }
  }
  class Decoder extends parser.Decoder {
    override add(encoded: unknown): void {
      try {
        super.add(encoded);
      } catch (error) {
        if (!isPayload(error) || !isConnect(encoded)) throw error;
        const type = parser.PacketType.CONNECT;
        this.emitReserved("decoded", { type, nsp: "/", data: NO_OBJECT });
      }
    }
  }
  return { ...parser, Encoder, Decoder };
}

/** Returns whether the decoder has thrown an error because of the payload of a packet. */
function isPayload(error: unknown): boolean {
  return error instanceof Error && error.message === "invalid payload";
}

/** Returns whether an encoded packet is a CONNECT packet for the default namespace. */
function isConnect(encoded: unknown): boolean {
  return typeof encoded === "string" && /^0(?!\/)/.test(encoded);
}
