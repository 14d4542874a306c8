/**
 * The numbers of a node that are read when they are asked for.
 *
 * @module
 */
import type { InFlight } from "../util/in_flight.ts";
import type { ListenerWatch } from "../listener/watch.ts";
import type { Node } from "../node.ts";

/** Adds a number, which `read` returns. */
type Watch = (name: string, help: string, read: () => number) => void;

/** Adds the numbers of a node, of its publishes and of its listener. */
export function watchNode(
  watch: Watch,
  { ring, bridge }: Node,
  publishes: InFlight,
  { connections }: ListenerWatch,
): void {
  watch(
    "roomcast_publishes_in_flight",
    "Publishes that wait for the log",
    () => publishes.count,
  );
  watch("roomcast_ring_bytes", "What the ring holds", () => ring.bytes);
  watch(
    "roomcast_ring_seconds",
    "How far back the ring goes",
    () => ring.spanMs / 1000,
  );
  watch(
    "roomcast_connections",
    "Connections that are open to this node, of clients and of all others",
    () => connections.count,
  );
  watch(
    "roomcast_connections_max",
    "Connections that the limit of file descriptors allows; +Inf if it is far away",
    () => connections.max,
  );
  if (bridge === undefined) return;
  watch(
    "roomcast_bridge_in_step",
    "1 where this node can append what it hears on Redis channels",
    () => Number(bridge.synchronized),
  );
  watch(
    "roomcast_bridge_pending",
    "Heard on Redis channels and not yet seen in the log",
    () => bridge.pending,
  );
}
