import assert from "node:assert/strict";
import { type Watched, watchNode } from "../../../lib/telemetry/gauges.ts";
import { Metrics } from "../../../lib/telemetry/metrics.ts";

async function exposed(watched: Watched): Promise<string[]> {
  const metrics = new Metrics();
  watchNode((name, help, read) => metrics.watch(name, help, read), watched);
  return (await metrics.expose()).body.split("\n");
}

const PARTS = {
  publisher: { inFlight: 3 },
  clientPublisher: { inFlight: 6 },
  ring: { bytes: 4096, spanMs: 1500 },
  replayMemory: { bytes: 512 },
  connections: { count: 7, max: Infinity },
  streams: { count: 6 },
};

Deno.test("watchNode() adds gauges that show the current values of a node", async () => {
  const lines = await exposed({
    ...PARTS,
    hooks: { running: 4, waiting: 5 },
    bridge: { synchronized: true, pending: 2 },
  });
  for (
    const line of [
      "roomcast_publishes_in_flight 3",
      "roomcast_client_publishes_in_flight 6",
      "roomcast_ring_bytes 4096",
      "roomcast_ring_seconds 1.5",
      "roomcast_replay_bytes 512",
      "roomcast_connections 7",
      "roomcast_connections_max +Inf",
      "roomcast_streams 6",
      "roomcast_hook_calls_in_flight 4",
      "roomcast_hook_calls_waiting 5",
      "roomcast_bridge_in_step 1",
      "roomcast_bridge_pending 2",
    ]
  ) assert.ok(lines.includes(line), line);
});

Deno.test("watchNode() adds no gauges of parts that the node does not have", async () => {
  const lines = await exposed({
    ...PARTS,
    hooks: undefined,
    bridge: undefined,
  });
  assert.ok(lines.includes("roomcast_ring_bytes 4096"));
  assert.ok(
    !lines.some((line) =>
      /roomcast_(bridge_in_step|hook_calls_in_flight)/.test(line)
    ),
  );
});
