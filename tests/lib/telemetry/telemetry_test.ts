import assert from "node:assert/strict";
import { LOG_LEVELS, type Observation } from "../../../lib/observer.ts";
import { createLogger, Metrics } from "../../../lib/telemetry/telemetry.ts";

type Line = Record<string, unknown>;

/** The lines a logger of `level` writes of `happenings`. */
function logged(
  level: typeof LOG_LEVELS[number],
  ...happenings: Observation[]
): Line[] {
  const lines: string[] = [];
  const log = createLogger(level, (line) => lines.push(line));
  for (const happening of happenings) log(happening);
  assert.ok(lines.every((line) => !line.includes("\n")), "one line each");
  return lines.map((line) => JSON.parse(line));
}

/** One happening of each kind. */
const ALL: readonly Observation[] = [
  {
    kind: "started",
    url: "http://127.0.0.1:4000",
    log: "embedded",
    rooms: ["chat"],
    channels: [],
    connectionsMax: Infinity,
  },
  { kind: "connections_refused", count: 4, connectionsMax: 60 },
  { kind: "listener_failed" },
  { kind: "listener_full" },
  { kind: "listener_recovered", how: "rearmed", durationMs: 900 },
  { kind: "listener_lost" },
  { kind: "listener_unwatched", why: "ETIMEDOUT" },
  { kind: "stopping", signal: "SIGTERM", clients: 3 },
  { kind: "stopped", durationMs: 5 },
  { kind: "published", count: 2 },
  { kind: "publish_failed", code: "log_full" },
  { kind: "delivered", count: 40 },
  { kind: "skipped", count: 9 },
  { kind: "slow_client_disconnected", waitingBytes: 1_048_577 },
  { kind: "slow_client_disconnected", waitingPackets: 1001 },
  { kind: "client_connected", clients: 7 },
  { kind: "client_disconnected", clients: 6 },
  { kind: "recovered", messages: 5 },
  { kind: "recovery_incomplete", reason: "trimmed" },
  { kind: "bridged", lagsMs: [1, 70] },
  { kind: "bridge_refused", reason: "invalid_room", count: 3 },
  { kind: "bridge_taken_over" },
  { kind: "bridge_gap" },
  { kind: "bridge_overflow" },
  { kind: "bridge_subscription_stale" },
  { kind: "bridge_stuck", why: "OOM" },
  { kind: "bridge_recovered" },
  { kind: "entry_skipped", id: "1-0", why: "broken" },
  { kind: "epoch_changed", epoch: "0123456789abcdef", why: "it is lost" },
  { kind: "epoch_unconfirmed", nodes: 3, why: "another server" },
  { kind: "epoch_confirmed", durationMs: 12 },
  { kind: "redis_is_replica", why: "no writes" },
  { kind: "log_trimmed_unread", after: "1-0" },
  { kind: "redis_connected", connection: "reader" },
  { kind: "redis_disconnected", connection: "reader", why: "closed" },
  { kind: "redis_config_warning", why: "no AOF" },
  { kind: "error", where: "a test", error: new Error("broken") },
];

const LOUD = {
  info: [
    "started",
    "connections_refused",
    "listener_failed",
    "listener_full",
    "listener_recovered",
    "listener_lost",
    "listener_unwatched",
    "stopping",
    "stopped",
    "slow_client_disconnected",
    "slow_client_disconnected",
    "bridge_refused",
    "bridge_gap",
    "bridge_overflow",
    "bridge_subscription_stale",
    "bridge_stuck",
    "bridge_recovered",
    "entry_skipped",
    "epoch_changed",
    "epoch_unconfirmed",
    "epoch_confirmed",
    "redis_is_replica",
    "log_trimmed_unread",
    "redis_connected",
    "redis_disconnected",
    "redis_config_warning",
    "error",
  ],
  warn: [
    "connections_refused",
    "listener_failed",
    "listener_full",
    "listener_recovered",
    "listener_lost",
    "listener_unwatched",
    "bridge_refused",
    "bridge_gap",
    "bridge_overflow",
    "bridge_subscription_stale",
    "bridge_stuck",
    "entry_skipped",
    "epoch_changed",
    "epoch_unconfirmed",
    "redis_is_replica",
    "log_trimmed_unread",
    "redis_disconnected",
    "redis_config_warning",
    "error",
  ],
  error: [
    "listener_failed",
    "listener_full",
    "listener_lost",
    "bridge_overflow",
    "redis_config_warning",
    "error",
  ],
};

Deno.test("the logger writes what is as loud as its level or louder, with all facts", () => {
  for (const level of LOG_LEVELS) {
    const lines = logged(level, ...ALL);
    assert.deepEqual(
      lines.map(({ kind }) => kind),
      level === "debug" ? LOUD.info : LOUD[level],
    );
    for (const { time, level: loudness } of lines) {
      assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.ok(
        LOG_LEVELS.findIndex((l) => l === loudness) >=
          LOG_LEVELS.indexOf(level),
      );
    }
  }
  const [line] = logged("info", {
    kind: "stopping",
    signal: "SIGINT",
    clients: 3,
  });
  assert.deepEqual({ ...line, time: "" }, {
    time: "",
    level: "info",
    kind: "stopping",
    signal: "SIGINT",
    clients: 3,
  });
});

Deno.test("the logger shows errors with their stack", () => {
  const error = new RangeError("no more room");
  const [line] = logged("error", { kind: "error", where: "a test", error });
  assert.match(String(line?.error), /^RangeError: no more room\n {4}at /);
  const [bare] = logged("error", {
    kind: "error",
    where: "a test",
    error: "only text",
  });
  assert.equal(bare?.error, "only text");
});

Deno.test("the logger takes whatever was thrown, and never throws itself", () => {
  const circle: Record<string, unknown> = {};
  circle.circle = circle;
  for (
    const error of [circle, 10n, Symbol("s"), undefined, null, () => {}, {
      toJSON(): never {
        throw new Error("no");
      },
    }, Object.create(null)]
  ) {
    const [line] = logged("error", { kind: "error", where: "a test", error });
    assert.equal(line?.where, "a test");
  }
});

Deno.test("the logger cuts long text", () => {
  const error = new Error("x".repeat(100_000));
  const [line] = logged("error", {
    kind: "error",
    where: "y".repeat(5000),
    error,
  });
  for (const text of [line?.error, line?.where]) {
    assert.equal(String(text).length, 1001);
    assert.ok(String(text).endsWith("…"));
  }
  const [whole] = logged("warn", {
    kind: "bridge_stuck",
    why: "z".repeat(1000),
  });
  assert.equal(whole?.why, "z".repeat(1000));
});

Deno.test("Metrics counts what happens and shows it to Prometheus", async () => {
  const metrics = new Metrics();
  for (const happening of [...ALL, ...ALL]) metrics.observe(happening);
  const { type, body } = await metrics.expose();
  assert.match(type, /^text\/plain/);
  for (
    const line of [
      "roomcast_clients 6",
      "roomcast_published_total 4",
      'roomcast_publish_failures_total{code="log_full"} 2',
      "roomcast_deliveries_total 80",
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
      "roomcast_errors_total 2",
    ]
  ) assert.ok(body.split("\n").includes(line), `${line} is not in\n${body}`);
});

Deno.test("Metrics starts at zero, and two do not share their numbers", async () => {
  const [one, two] = [new Metrics(), new Metrics()];
  one.observe({ kind: "published", count: 5 });
  assert.match((await one.expose()).body, /^roomcast_published_total 5$/m);
  assert.match((await two.expose()).body, /^roomcast_published_total 0$/m);
});
