import assert from "node:assert/strict";
import { Metrics } from "../../../lib/telemetry/metrics.ts";
import { ALL } from "./observations.ts";

Deno.test("Metrics.expose() returns the numbers of observations in the text format of Prometheus", async () => {
  const metrics = new Metrics();
  for (const observation of [...ALL, ...ALL]) metrics.observe(observation);
  const { type, body } = await metrics.expose();
  assert.match(type, /^text\/plain/);
  for (
    const line of [
      "roomcast_clients 8",
      "roomcast_published_total 4",
      'roomcast_published_total{key="web"} 6',
      'roomcast_publish_failures_total{code="log_full"} 2',
      'roomcast_publish_failures_total{code="forbidden",key="web"} 2',
      'roomcast_tokens_refused_total{reason="expired"} 2',
      'roomcast_token_key_fetches_total{outcome="ok"} 2',
      'roomcast_revocations_total{by="user"} 2',
      "roomcast_clients_revoked_total 2",
      "roomcast_deliveries_total 80",
      'roomcast_clients_refused_total{code="invalid_room"} 2',
      'roomcast_limited_total{limit="too_many_clients"} 2',
      "roomcast_requests_unauthorized_total 2",
      "roomcast_unknown_events_total 2",
      "roomcast_bridged_total 4",
      "roomcast_bridge_appends_total 2",
      'roomcast_bridge_refused_total{reason="invalid_room"} 6',
      "roomcast_bridge_takeovers_total 2",
      "roomcast_bridge_gaps_total 2",
      "roomcast_bridge_overflows_total 2",
      'roomcast_bridge_lag_seconds_bucket{le="0.05"} 2',
      "roomcast_entries_skipped_total 2",
      "roomcast_epoch_changes_total 2",
      "roomcast_log_trimmed_unread_total 2",
      'roomcast_redis_disconnections_total{connection="reader"} 2',
      "roomcast_connections_refused_total 8",
      "roomcast_listener_failures_total 4",
      'roomcast_hook_calls_total{hook="connect",outcome="refused"} 2',
      'roomcast_hook_call_seconds_bucket{le="0.01",hook="connect"} 2',
      "roomcast_errors_total 2",
    ]
  ) assert.ok(body.split("\n").includes(line), `${line} is not in\n${body}`);
});

Deno.test("a new Metrics starts all counts at zero, even if another instance has counted", async () => {
  const [one, two] = [new Metrics(), new Metrics()];
  one.observe({ kind: "published", count: 5 });
  assert.match((await one.expose()).body, /^roomcast_published_total 5$/m);
  assert.match((await two.expose()).body, /^roomcast_published_total 0$/m);
});
