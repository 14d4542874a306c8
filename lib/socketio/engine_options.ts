/**
 * The options of Engine.IO's server: how much a client may send, and which pages may connect.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";
import { EXPOSED_HEADERS, type OriginRule } from "../access/origins.ts";
import type { EngineServer } from "../engineio/server.ts";

/**
 * The maximum size of a client's packet is that of a message plus this number of bytes, for example for a handshake
 * with many rooms.
 */
const PACKET_OVERHEAD_BYTES = 64 << 10;

/** The options of the package `cors` that depend on a request. */
interface CorsOptions {
  readonly origin: string | false;
  readonly credentials: boolean;
  readonly exposedHeaders: string;
}

/** Creates the options of the server below a Socket.IO server. */
export function engineOptions(
  { originRule, messageBytesMax }: {
    readonly originRule: OriginRule;
    readonly messageBytesMax: number;
  },
): ConstructorParameters<typeof EngineServer>[0] {
  const cors = (
    { headers }: IncomingMessage,
    callback: (error: null, options: CorsOptions) => void,
  ): void => {
    const { readableBy = false, credentials } = originRule(headers);
    callback(null, {
      origin: readableBy,
      credentials,
      exposedHeaders: EXPOSED_HEADERS,
    });
  };
  return {
    maxHttpBufferSize: packetBytesMax(messageBytesMax),
    // CORS only tells browsers whether a page may read a response. The server itself decides who may connect.
    cors: cors as never,
  };
}

/** Returns how many bytes a client may send at once: in one message of a WebSocket, or in one request. */
export function packetBytesMax(messageBytesMax: number): number {
  return messageBytesMax + PACKET_OVERHEAD_BYTES;
}
