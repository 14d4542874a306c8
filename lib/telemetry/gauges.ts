/**
 * The gauges of a node: metrics whose values are read at each request for `/metrics`.
 *
 * @module
 */

/** Adds a gauge to the metrics. `read` returns the gauge's current value. */
export type Watch = (name: string, help: string, read: () => number) => void;

/** The parts of a node from which gauges are read. */
export interface Watched {
  readonly publisher: { readonly inFlight: number };
  readonly clientPublisher: { readonly inFlight: number };
  readonly ring: { readonly bytes: number; readonly spanMs: number };
  readonly replayMemory: { readonly bytes: number };
  readonly connections: { readonly count: number; readonly max: number };
  readonly streams: { readonly count: number };
  /** The node's hooks; undefined if it has none. */
  readonly hooks:
    | { readonly running: number; readonly waiting: number }
    | undefined;
  /** The node's bridge; undefined if the node has no Redis. */
  readonly bridge:
    | { readonly synchronized: boolean; readonly pending: number }
    | undefined;
}

/** Adds all gauges of a node. */
export function watchNode(
  watch: Watch,
  {
    publisher,
    clientPublisher,
    ring,
    replayMemory,
    connections,
    streams,
    hooks,
    bridge,
  }: Watched,
): void {
  watch(
    "roomcast_publishes_in_flight",
    "Publishes that wait for the log",
    () => publisher.inFlight,
  );
  watch(
    "roomcast_client_publishes_in_flight",
    "Publishes of clients that wait for the publish hook or the log",
    () => clientPublisher.inFlight,
  );
  watchMessages(watch, ring, replayMemory);
  watch(
    "roomcast_connections",
    "Open connections to this node, of clients and of other programs",
    () => connections.count,
  );
  watch(
    "roomcast_connections_max",
    "Connections that the limit of file descriptors allows; +Inf if that limit is too high to count",
    () => connections.max,
  );
  watch(
    "roomcast_streams",
    "Streams of Server-Sent Events, which count in roomcast_clients too",
    () => streams.count,
  );
  if (hooks !== undefined) watchHooks(watch, hooks);
  if (bridge === undefined) return;
  watch(
    "roomcast_bridge_in_step",
    "1 if this node can append the messages that it receives on Redis channels",
    () => Number(bridge.synchronized),
  );
  watch(
    "roomcast_bridge_pending",
    "Messages received on Redis channels that this node has not yet read in the log",
    () => bridge.pending,
  );
}

/** Adds the gauges of the messages that are in memory. */
function watchMessages(
  watch: Watch,
  ring: Watched["ring"],
  replayMemory: Watched["replayMemory"],
): void {
  watch(
    "roomcast_ring_bytes",
    "Bytes of recent messages that this node keeps in memory",
    () => ring.bytes,
  );
  watch(
    "roomcast_ring_seconds",
    "Age of the oldest message that this node keeps in memory",
    () => ring.spanMs / 1000,
  );
  watch(
    "roomcast_replay_bytes",
    "Bytes of messages that this node has read from histories for clients and keeps in memory",
    () => replayMemory.bytes,
  );
}

function watchHooks(
  watch: Watch,
  hooks: { readonly running: number; readonly waiting: number },
): void {
  watch(
    "roomcast_hook_calls_in_flight",
    "Calls of hooks to which the backend has not responded yet",
    () => hooks.running,
  );
  watch(
    "roomcast_hook_calls_waiting",
    "Calls of hooks that wait, because too many are in flight",
    () => hooks.waiting,
  );
}
