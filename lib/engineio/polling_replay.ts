/**
 * Sends a client that polls the messages that it missed in chunks, one with each response.
 *
 * Engine.IO would put everything that is queued into one response. A client that does not read it would keep a copy of
 * the whole history in memory.
 *
 * @module
 */
import type { Socket as Connection } from "engine.io";
import { internalsOf, type QueuedPacket } from "./internals.ts";
import { isReplay } from "./transport.ts";

/** A transport, with the method that Engine.IO calls with its whole queue (build/socket.js, `flush`). */
interface PollingTransport {
  send(packets: QueuedPacket[]): void;
}

/**
 * Makes the polling transport of a connection send at most one chunk of replayed messages in a response. What follows
 * stays at the beginning of Engine.IO's queue, also for a WebSocket to which the client upgrades.
 */
export function sendReplayInChunks(connection: Connection): void {
  const transport = connection.transport as unknown as PollingTransport;
  const send = transport.send.bind(transport);
  Object.assign(transport, {
    send: (packets: QueuedPacket[]): void => {
      const first = packets.findIndex(isReplay);
      if (first < 0) return send(packets);
      const [now, later] = splitAt(packets, first);
      internalsOf(connection).writeBuffer.unshift(...later);
      send(now);
    },
  });
}

/**
 * Splits a queue into the packets for the next response and the packets after it. The queue's first replay is at the
 * index `first`.
 */
function splitAt(
  packets: readonly QueuedPacket[],
  first: number,
): [now: QueuedPacket[], later: readonly QueuedPacket[]] {
  const replay = packets[first];
  const before = packets.slice(0, first);
  if (replay === undefined || !isReplay(replay)) return [before, []];
  const now = [...before, ...replay.takePackets()];
  if (!replay.isDone) return [now, packets.slice(first)];
  const after = packets.slice(first + 1);
  const next = after.findIndex(isReplay);
  const end = next < 0 ? after.length : next;
  return [[...now, ...after.slice(0, end)], after.slice(end)];
}
