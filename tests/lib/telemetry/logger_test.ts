import assert from "node:assert/strict";
import { ApiError } from "../../../lib/errors.ts";
import { LOG_LEVELS, type Observation } from "../../../lib/observer.ts";
import { createLogger } from "../../../lib/telemetry/logger.ts";
import { ALL } from "./observations.ts";

type Line = Record<string, unknown>;

/** Returns the lines that a logger of `level` writes for observations. */
function logged(
  level: typeof LOG_LEVELS[number],
  ...observations: Observation[]
): Line[] {
  const lines: string[] = [];
  const log = createLogger(level, (line) => lines.push(line));
  for (const observation of observations) log(observation);
  assert.ok(lines.every((line) => !line.includes("\n")), "one line each");
  return lines.map((line) => JSON.parse(line));
}

const BY_LEVEL = {
  info: [
    "started",
    "connections_refused",
    "listener_failed",
    "listener_full",
    "listener_recovered",
    "listener_lost",
    "listener_unwatched",
    "direct_write_disabled",
    "stopping",
    "stopped",
    "publishes_refused",
    "requests_unauthorized",
    "pages_refused",
    "slow_client_disconnected",
    "slow_client_disconnected",
    "clients_turned_away",
    "clients_refused",
    "events_refused",
    "proxy_untrusted",
    "occupancy_restored",
    "directive_failed",
    "directives_restored",
    "directives_missed",
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
    "config_warning",
    "revocations_restored",
    "token_keys_unreachable",
    "token_ignored",
    "client_without_rooms",
    "token_keys_recovered",
    "hook_failed",
    "hook_down",
    "hook_recovered",
    "error",
  ],
  warn: [
    "connections_refused",
    "listener_failed",
    "listener_full",
    "listener_recovered",
    "listener_lost",
    "listener_unwatched",
    "direct_write_disabled",
    "publishes_refused",
    "requests_unauthorized",
    "pages_refused",
    "clients_turned_away",
    "clients_refused",
    "events_refused",
    "proxy_untrusted",
    "occupancy_restored",
    "directives_restored",
    "directives_missed",
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
    "config_warning",
    "revocations_restored",
    "token_keys_unreachable",
    "token_ignored",
    "hook_failed",
    "hook_down",
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

/** The kinds that only a logger of the level `debug` writes, by the kind before which they are observed. */
const DEBUG: Readonly<Record<string, readonly string[]>> = {
  revocations_restored: ["revoked"],
  directive_failed: ["directed", "directed"],
};

Deno.test("createLogger() writes observations of its level and above, with all their fields", () => {
  for (const level of LOG_LEVELS) {
    const lines = logged(level, ...ALL);
    assert.deepEqual(
      lines.map(({ kind }) => kind),
      level === "debug"
        ? BY_LEVEL.info.flatMap((kind) => [...DEBUG[kind] ?? [], kind])
        : BY_LEVEL[level],
    );
    for (const { time, level: own } of lines) {
      assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.ok(
        LOG_LEVELS.findIndex((l) => l === own) >=
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

Deno.test("createLogger() writes errors with their stack", () => {
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

Deno.test("createLogger() writes an ApiError with its code and without a stack", () => {
  const error = new ApiError("log_full", "Cannot save: Redis is full; grow it");
  const [line] = logged("error", { kind: "error", where: "a test", error });
  assert.equal(line?.error, "log_full: Cannot save: Redis is full; grow it");
});

Deno.test("createLogger() writes any thrown value as an error, and never throws itself", () => {
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

Deno.test("createLogger() shortens texts of more than 1000 characters", () => {
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
