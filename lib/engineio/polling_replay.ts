/**
 * Sends a client that polls the messages that it missed in chunks, one with each response.
 *
 * Engine.IO would put everything that is queued into one response. A client that does not read it would keep a copy of
 * the whole history in memory.
 *
 * Engine.IO closes a connection after it has emptied its queue, so that no response has both messages and the close
 * packet. With chunks the queue may not be empty then, so this module sends the close packet in a response of its own: a
 * stock client handles a close packet before the messages in the same response, and reconnects with its offset before
 * them (socket.io-client 4.8, `Manager.ondecoded` and `Socket.onevent`). It would receive these messages twice.
 *
 * @module
 */
import type { Socket as Connection } from "engine.io";
import { countUnsent } from "./input_limits.ts";
import { internalsOf, pollingOf, type QueuedPacket } from "./internals.ts";
import { isReplay } from "./transport.ts";

/**
 * Makes the polling transport of a connection send at most one chunk of replayed messages in a response. What follows
 * stays at the beginning of Engine.IO's queue, also for a WebSocket to which the client upgrades. A close packet is sent
 * alone, after all packets that are queued.
 */
export function sendReplayInChunks(connection: Connection): void {
  const transport = pollingOf(connection.transport);
  const respond = transport.send.bind(transport);
  const send = (packets: QueuedPacket[]): void => {
    const { shouldClose } = transport;
    // Engine.IO responds with a "noop" to a poll that is waiting while nothing is queued.
    if (!shouldClose || packets.every(isNoop)) return respond(packets);
    transport.shouldClose = undefined;
    respond(packets);
    transport.shouldClose = shouldClose;
  };
  Object.assign(transport, {
    send: (packets: QueuedPacket[]): void => {
      const first = packets.findIndex(isReplay);
      if (first < 0) return send(packets);
      const [now, later] = splitAt(packets, first);
      internalsOf(connection).writeBuffer.unshift(...later);
      countUnsent(connection, later);
      send(now);
    },
  });
}

function isNoop({ type }: QueuedPacket): boolean {
  return type === "noop";
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
