/**
 * What becomes of happenings: a line of JSON on stdout, a number for Prometheus.
 *
 * @module
 */
import { inspect } from "node:util";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import {
  LOG_LEVELS,
  type LogLevel,
  type Observation,
  type Observe,
} from "../observer.ts";

/** How loud each happening is; `undefined` is only counted. */
const LEVELS: Readonly<Record<Observation["kind"], LogLevel | undefined>> = {
  started: "info",
  connections_refused: "warn",
  listener_failed: "error",
  listener_full: "error",
  listener_recovered: "warn",
  listener_lost: "error",
  listener_unwatched: "warn",
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

/** Longest text in a line; what others sent us may be long. */
const TEXT_LENGTH_MAX = 1000;

/** Writes happenings of `level` and above as JSON lines. */
export function createLogger(
  level: LogLevel,
  write: (line: string) => void,
): Observe {
  const least = LOG_LEVELS.indexOf(level);
  return ({ kind, ...facts }) => {
    const loudness = LEVELS[kind];
    if (loudness === undefined || LOG_LEVELS.indexOf(loudness) < least) return;
    write(
      JSON.stringify({
        time: new Date().toISOString(),
        level: loudness,
        kind,
        ...facts,
        ...("error" in facts && { error: describe(facts.error) }),
      }, shorten),
    );
  };
}

/** Anything can be thrown, also what JSON cannot hold. */
function describe(error: unknown): string {
  if (error instanceof Error) return error.stack ?? String(error);
  return typeof error === "string" ? error : inspect(error);
}

function shorten(_key: string, value: unknown): unknown {
  return typeof value === "string" && value.length > TEXT_LENGTH_MAX
    ? `${value.slice(0, TEXT_LENGTH_MAX)}…`
    : value;
}

/** Counts happenings. Rooms, users and keys are never labels: their number has no bound. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #connections = this.#gauge(
    "roomcast_clients",
    "Clients connected to this node",
  );
  readonly #published = this.#counter(
    "roomcast_published_total",
    "Messages this node has put into the log",
  );
  readonly #failures = this.#counter(
    "roomcast_publish_failures_total",
    "Messages refused, by code",
    ["code"],
  );
  readonly #delivered = this.#counter(
    "roomcast_deliveries_total",
    "Messages handed to clients of this node",
  );
  readonly #replaced = this.#counter(
    "roomcast_messages_skipped_total",
    "Messages of LATEST_ROOMS that a newer one replaced while they waited",
  );
  readonly #cut = this.#counter(
    "roomcast_slow_clients_disconnected_total",
    "Clients cut off because too much waited for them",
  );
  readonly #recovered = this.#counter(
    "roomcast_recoveries_total",
    "Clients that came back, by outcome",
    ["outcome"],
  );
  readonly #bridged = this.#counter(
    "roomcast_bridged_total",
    "Messages taken from Redis channels",
  );
  readonly #appends = this.#counter(
    "roomcast_bridge_appends_total",
    "Scripts this node has run to append messages of Redis channels, whatever they came to",
  );
  readonly #refused = this.#counter(
    "roomcast_bridge_refused_total",
    "Payloads of Redis channels refused, by reason",
    ["reason"],
  );
  readonly #takeOvers = this.#counter(
    "roomcast_bridge_takeovers_total",
    "Times this node went on where another had appended messages of Redis channels",
  );
  readonly #gaps = this.#counter(
    "roomcast_bridge_gaps_total",
    "Times messages of Redis channels may have been missed, told as a gap",
  );
  readonly #overflows = this.#counter(
    "roomcast_bridge_overflows_total",
    "Times too many messages of Redis channels waited, and were given up",
  );
  readonly #lag = this.#histogram(
    "roomcast_bridge_lag_seconds",
    "Time from a message's receipt on a Redis channel to its append",
  );
  readonly #skipped = this.#counter(
    "roomcast_entries_skipped_total",
    "Entries of the log that could not be read, or that no node writes",
  );
  readonly #epochs = this.#counter(
    "roomcast_epoch_changes_total",
    "Times the log was emptied or went back",
  );
  readonly #cuts = this.#counter(
    "roomcast_log_trimmed_unread_total",
    "Times the log was trimmed before this node had read it",
  );
  readonly #lost = this.#counter(
    "roomcast_redis_disconnections_total",
    "Connections to Redis lost",
    ["connection"],
  );
  readonly #turnedAway = this.#counter(
    "roomcast_connections_refused_total",
    "Connections closed at once because the limit of file descriptors allowed no more",
  );
  readonly #deaf = this.#counter(
    "roomcast_listener_failures_total",
    "Times this node accepted no connections: it failed to, or no file descriptor was free",
  );
  readonly #errors = this.#counter(
    "roomcast_errors_total",
    "Errors of Roomcast itself",
  );

  /** Takes note of a happening. */
  readonly observe: Observe = (happening) => {
    switch (happening.kind) {
      case "published":
        return this.#published.inc(happening.count);
      case "publish_failed":
        return this.#failures.inc({ code: happening.code });
      case "delivered":
        return this.#delivered.inc(happening.count);
      case "skipped":
        return this.#replaced.inc(happening.count);
      case "slow_client_disconnected":
        return this.#cut.inc();
      case "client_connected":
      case "client_disconnected":
        return this.#connections.set(happening.clients);
      case "recovered":
        return this.#recovered.inc({ outcome: "recovered" });
      case "recovery_incomplete":
        return this.#recovered.inc({ outcome: happening.reason });
      case "bridged":
        this.#appends.inc();
        this.#bridged.inc(happening.lagsMs.length);
        for (const lagMs of happening.lagsMs) this.#lag.observe(lagMs / 1000);
        return;
      case "bridge_refused":
        return this.#refused.inc({ reason: happening.reason }, happening.count);
      case "bridge_taken_over":
        return this.#takeOvers.inc();
      case "bridge_gap":
        return this.#gaps.inc();
      case "bridge_overflow":
        return this.#overflows.inc();
      case "entry_skipped":
        return this.#skipped.inc();
      case "epoch_changed":
        return this.#epochs.inc();
      case "log_trimmed_unread":
        return this.#cuts.inc();
      case "redis_disconnected":
        return this.#lost.inc({ connection: happening.connection });
      case "connections_refused":
        return this.#turnedAway.inc(happening.count);
      case "listener_failed":
      case "listener_full":
        return this.#deaf.inc();
      case "error":
        return this.#errors.inc();
    }
  };

  /**
   * Watches how late timers run, which is how long anything waits that wants the event loop.
   * Ends with the process.
   */
  watchEventLoop(intervalMs = 20): void {
    const lag = this.#histogram(
      "roomcast_event_loop_lag_seconds",
      "How late a timer of this node runs",
    );
    let due = performance.now() + intervalMs;
    setInterval(() => {
      const now = performance.now();
      lag.observe(Math.max(0, now - due) / 1000);
      due = now + intervalMs;
    }, intervalMs);
  }

  /** Adds a number that is asked for when it is wanted. */
  watch(name: string, help: string, read: () => number): void {
    const gauge = this.#gauge(name, help, () => gauge.set(read()));
  }

  /** All numbers, as Prometheus reads them. */
  async expose(): Promise<{ type: string; body: string }> {
    return {
      type: this.#registry.contentType,
      body: await this.#registry.metrics(),
    };
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string): Histogram {
    const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
    return new Histogram({ name, help, buckets, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, collect?: () => void): Gauge {
    const registers = [this.#registry];
    return new Gauge({ name, help, registers, ...(collect && { collect }) });
  }
}
