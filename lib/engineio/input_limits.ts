/**
 * Limits what one client may make an Engine.IO server do.
 *
 * @module
 */
import type { Socket as Connection } from "engine.io";
import { ApiError } from "../errors.ts";
import type { FrameLimit } from "../websocket/connection.ts";
import { closeBecause } from "./closing.ts";
import {
  pollingOf,
  type PollingTransport,
  type QueuedPacket,
} from "./internals.ts";
import { WebSocketTransport } from "./transport.ts";

/** Separates the packets in the body of a request (Engine.IO protocol 4). */
const SEPARATOR = "\x1e";
/**
 * Maximum number of packets without messages that may be queued for a client. These packets are answers and errors,
 * which a client can cause without ever reading them. The bytes of messages are limited by fan-out.
 */
const UNSENT_MAX = 1000;
const UNSENT = Symbol("unsent");
type CountedConnection = Connection & { [UNSENT]?: number };

/** The limits of what each client may send. */
export interface InputLimits {
  /** The limit of WebSocket frames per second. */
  readonly frames: FrameLimit;
  /** Maximum number of packets in one request of a client that polls. */
  readonly packetsMax: number;
  /** Called when a client was disconnected because one of its requests has more packets. */
  readonly onTooManyPackets: () => void;
  /** Called when a client that polls was disconnected because one of its requests is too large. */
  readonly onTooLarge: () => void;
}

/**
 * Disconnects a client that polls if one of its requests has too many packets, before any of these packets is read.
 * Engine.IO would decode and handle all of them in one step. Reports requests that Engine.IO refuses because they are
 * too large.
 */
export function limitPackets(
  connection: Connection,
  { packetsMax, onTooManyPackets, onTooLarge }: InputLimits,
): void {
  const transport = pollingOf(connection.transport);
  const read = transport.onData.bind(transport);
  const readRequest = transport.onDataRequest.bind(transport);
  const limited: Pick<PollingTransport, "onDataRequest" | "onData"> = {
    onDataRequest: (request, response): void => {
      const length = Number(request.headers["content-length"]);
      if (length > transport.maxHttpBufferSize) onTooLarge();
      readRequest(request, response);
    },
    onData: (body): void => {
      const packets = String(body).split(SEPARATOR, packetsMax + 1);
      if (packets.length <= packetsMax) return read(body);
      onTooManyPackets();
      closeBecause(connection, tooManyPackets(packetsMax));
    },
  };
  Object.assign(transport, limited);
}

/**
 * Creates the listener that disconnects a client if more than {@linkcode UNSENT_MAX} packets were queued for the client
 * since Engine.IO last passed its queue to the transport. All connections share this listener.
 */
export function makeLimitUnsent(
  onSlowClient: (packets: number) => void,
): (this: CountedConnection) => void {
  return function () {
    const unsent = (this[UNSENT] ?? 0) + 1;
    this[UNSENT] = unsent;
    if (unsent <= UNSENT_MAX) return;
    const { transport } = this;
    this.close(true);
    if (transport instanceof WebSocketTransport) transport.terminate();
    onSlowClient(unsent);
  };
}

/** Records that Engine.IO has passed the queue of a connection to its transport. */
export function clearUnsent(connection: CountedConnection): void {
  connection[UNSENT] = 0;
}

/** Counts the packets that a transport has not sent and has put back into the queue of a connection. */
export function countUnsent(
  connection: CountedConnection,
  packets: readonly QueuedPacket[],
): void {
  // Packets of messages have frames.
  connection[UNSENT] =
    packets.filter(({ options }) => options?.wsPreEncodedFrame === undefined)
      .length;
}

function tooManyPackets(packetsMax: number): ApiError {
  return new ApiError(
    "too_many_events",
    `Cannot read the request: it has more than ${packetsMax} packets; send fewer events at once`,
  );
}
