/**
 * Observations: everything that can happen, as a closed union of facts. Each part of Roomcast reports what happened;
 * `telemetry/` decides what is logged and counted.
 *
 * @module
 */

/** How important a log line is, from least to most. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** One thing that happened. It never holds the content of a message or a secret. */
export type Observation =
  | {
    kind: "started";
    url: string;
    log: "redis" | "embedded";
    rooms: readonly string[];
    channels: readonly string[];
    /** How many connections the limit of file descriptors allows; Infinity if it is far away. */
    connectionsMax: number;
  }
  /** Connections closed as soon as they were accepted, because the limit of file descriptors allows no more. */
  | { kind: "connections_refused"; count: number; connectionsMax: number }
  /** This process no longer accepts connections. */
  | { kind: "listener_failed" }
  /** It cannot accept any, because no file descriptor is free. */
  | { kind: "listener_full" }
  /** It accepts connections again: because of what was done, or because descriptors are free again. */
  | {
    kind: "listener_recovered";
    how: "nothing" | "rearmed" | "reopened";
    durationMs: number;
  }
  /** Nothing has helped: the process ends. */
  | { kind: "listener_lost" }
  /** The process cannot connect to itself, so it would not notice. */
  | { kind: "listener_unwatched"; why: string }
  | { kind: "stopping"; signal: string; clients: number }
  | { kind: "stopped"; durationMs: number }
  | { kind: "published"; count: number }
  | { kind: "publish_failed"; code: string }
  | { kind: "delivered"; count: number }
  | { kind: "skipped"; count: number }
  | { kind: "slow_client_disconnected"; waitingBytes: number }
  | { kind: "slow_client_disconnected"; waitingPackets: number }
  | { kind: "client_connected"; clients: number }
  | { kind: "client_disconnected"; clients: number }
  | { kind: "recovered"; messages: number }
  | { kind: "recovery_incomplete"; reason: string }
  /** One append of this node: messages of Redis channels it took, each with its time from receipt to append. */
  | { kind: "bridged"; lagsMs: readonly number[] }
  | { kind: "bridge_refused"; reason: string; count: number }
  /** This node went on where another appended before. */
  | { kind: "bridge_taken_over" }
  /** Messages of Redis channels may be missing from the log. */
  | { kind: "bridge_gap" }
  /** Too much waited for Redis; it was given up. */
  | { kind: "bridge_overflow" }
  /** The subscription no longer brings what is published. */
  | { kind: "bridge_subscription_stale" }
  /** Messages of Redis channels cannot be appended at the moment; reported once until it recovers. */
  | { kind: "bridge_stuck"; why: string }
  /** Whatever `bridge_stuck` reported works again. */
  | { kind: "bridge_recovered" }
  | { kind: "entry_skipped"; id: string; why: string }
  | { kind: "epoch_changed"; epoch: string; why: string }
  /** Redis is another server, or has another history: nodes have to confirm that it lacks nothing. */
  | { kind: "epoch_unconfirmed"; nodes: number; why: string }
  | { kind: "epoch_confirmed"; durationMs: number }
  /** The server that this node is connected to takes no writes. */
  | { kind: "redis_is_replica"; why: string }
  | { kind: "log_trimmed_unread"; after: string }
  | { kind: "redis_connected"; connection: string }
  | { kind: "redis_disconnected"; connection: string; why: string }
  | { kind: "redis_config_warning"; why: string }
  /** Writes to clients use Deno's streams from now on, which is slower. */
  | { kind: "direct_write_disabled"; why: string }
  | { kind: "error"; where: string; error: unknown };

/** Records an observation. Never throws and never waits. */
export type Observe = (observation: Observation) => void;
