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
    /** Connections that the limit of file descriptors allows; Infinity if the limit is far away. */
    connectionsMax: number;
    /** Whether messages are written to clients without the stream of their socket. */
    directWrite: boolean;
  }
  /** Connections were accepted and closed at once, because the limit of file descriptors allows no more. */
  | { kind: "connections_refused"; count: number; connectionsMax: number }
  /** The process has stopped accepting connections. */
  | { kind: "listener_failed" }
  /** The process cannot accept connections because no file descriptor is free. */
  | { kind: "listener_full" }
  /** The process accepts connections again, after the repair named by `how` or because descriptors are free again. */
  | {
    kind: "listener_recovered";
    how: "nothing" | "rearmed" | "reopened";
    durationMs: number;
  }
  /** No repair has succeeded, so the process exits. */
  | { kind: "listener_lost" }
  /** The process cannot connect to itself, so it would not notice a failed listener. */
  | { kind: "listener_unwatched"; why: string }
  /** The process stops because of a signal or a lost listener. */
  | { kind: "stopping"; signal: string; clients: number }
  | { kind: "stopped"; durationMs: number }
  /** Messages were appended for a publisher. Duplicates do not count. */
  | { kind: "published"; count: number }
  | { kind: "publish_failed"; code: string }
  /** Messages were written to clients; a message counts once for each client. */
  | { kind: "delivered"; count: number }
  /** Messages of `LATEST_ROOMS` were replaced by newer ones before they were sent. */
  | { kind: "skipped"; count: number }
  /** A client was disconnected because too many bytes or packets were queued for it. */
  | { kind: "slow_client_disconnected"; waitingBytes: number }
  | { kind: "slow_client_disconnected"; waitingPackets: number }
  | { kind: "client_connected"; clients: number }
  | { kind: "client_disconnected"; clients: number }
  /** A client has reconnected and received everything that it missed. */
  | { kind: "recovered"; messages: number }
  /** A client was told that some of what it missed is not available. */
  | { kind: "recovery_incomplete"; reason: string }
  /** Sessions of vanished clients were deleted before their time, because too many were left behind. */
  | { kind: "sessions_evicted"; count: number }
  /** This node appended messages of Redis channels in one script; each has its time from receipt to append. */
  | { kind: "bridged"; lagsMs: readonly number[] }
  /** Payloads of Redis channels were not valid as messages. */
  | { kind: "bridge_refused"; reason: string; count: number }
  /** This node took over appending messages of Redis channels from another node. */
  | { kind: "bridge_taken_over" }
  /** Messages of Redis channels may be missing from the log; clients get a `gap`. */
  | { kind: "bridge_gap" }
  /** The bridge discarded its queue because it was full. */
  | { kind: "bridge_overflow" }
  /** The subscription stopped delivering and is being re-established. */
  | { kind: "bridge_subscription_stale" }
  /** Messages of Redis channels cannot be appended at the moment; reported once until it recovers. */
  | { kind: "bridge_stuck"; why: string }
  /** Whatever `bridge_stuck` reported works again. */
  | { kind: "bridge_recovered" }
  /** An entry of the log was not valid. */
  | { kind: "entry_skipped"; id: string; why: string }
  /** A new epoch has begun, because the log was emptied or lost its newest entries. */
  | { kind: "epoch_changed"; epoch: string; why: string }
  /** Redis is another server or has another history, so all nodes have to confirm that it lacks no message. */
  | { kind: "epoch_unconfirmed"; nodes: number; why: string }
  /** All nodes have confirmed that Redis lacks no message. */
  | { kind: "epoch_confirmed"; durationMs: number }
  /** The Redis server that this node is connected to is a replica and accepts no writes. */
  | { kind: "redis_is_replica"; why: string }
  /** The log was trimmed before this node had read all of it; clients get a `gap`. */
  | { kind: "log_trimmed_unread"; after: string }
  | { kind: "redis_connected"; connection: string }
  | { kind: "redis_disconnected"; connection: string; why: string }
  /** A setting of Redis can lose messages. */
  | { kind: "redis_config_warning"; why: string }
  /** Writes to clients use Deno's streams from now on, which is slower. */
  | { kind: "direct_write_disabled"; why: string }
  /** An internal error of Roomcast, which is a bug. */
  | { kind: "error"; where: string; error: unknown };

/** Records an observation. Never throws and never waits. */
export type Observe = (observation: Observation) => void;
