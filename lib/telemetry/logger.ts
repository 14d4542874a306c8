/**
 * The logger: writes observations as lines of JSON.
 *
 * @module
 */
import { inspect } from "node:util";
import {
  LOG_LEVELS,
  type LogLevel,
  type Observation,
  type Observe,
} from "../observer.ts";

/** The log level of each kind of observation. A kind without a level is only counted. */
const LEVELS: Readonly<Record<Observation["kind"], LogLevel | undefined>> = {
  started: "info",
  connections_refused: "warn",
  listener_failed: "error",
  listener_full: "error",
  listener_recovered: "warn",
  listener_lost: "error",
  listener_unwatched: "warn",
  direct_write_disabled: "warn",
  stopping: "info",
  stopped: "info",
  published: undefined,
  publish_failed: undefined,
  delivered: undefined,
  skipped: undefined,
  slow_client_disconnected: "info",
  client_connected: undefined,
  client_disconnected: undefined,
  recovered: undefined,
  recovery_incomplete: undefined,
  sessions_evicted: undefined,
  bridged: undefined,
  bridge_refused: "warn",
  bridge_taken_over: undefined,
  bridge_gap: "warn",
  bridge_overflow: "error",
  bridge_subscription_stale: "warn",
  bridge_stuck: "warn",
  bridge_recovered: "info",
  entry_skipped: "warn",
  epoch_changed: "warn",
  epoch_unconfirmed: "warn",
  epoch_confirmed: "info",
  redis_is_replica: "warn",
  log_trimmed_unread: "warn",
  redis_connected: "info",
  redis_disconnected: "warn",
  redis_config_warning: "error",
  error: "error",
};

/** Maximum length of a text in a line, in characters, because texts of Redis and of other programs may be long. */
const TEXT_LENGTH_MAX = 1000;

/** Makes a function that writes observations of `level` and above, each as one line of JSON. It never throws. */
export function createLogger(
  level: LogLevel,
  write: (line: string) => void,
): Observe {
  const least = LOG_LEVELS.indexOf(level);
  return ({ kind, ...facts }) => {
    const own = LEVELS[kind];
    if (own === undefined || LOG_LEVELS.indexOf(own) < least) return;
    write(
      JSON.stringify({
        time: new Date().toISOString(),
        level: own,
        kind,
        ...facts,
        ...("error" in facts && { error: describe(facts.error) }),
      }, shorten),
    );
  };
}

/** Describes a thrown value, which may be one that `JSON.stringify` cannot handle. */
function describe(error: unknown): string {
  if (error instanceof Error) return error.stack ?? String(error);
  return typeof error === "string" ? error : inspect(error);
}

function shorten(_key: string, value: unknown): unknown {
  return typeof value === "string" && value.length > TEXT_LENGTH_MAX
    ? `${value.slice(0, TEXT_LENGTH_MAX)}…`
    : value;
}
