/**
 * Observations: everything that a node can log or count. Each part of Roomcast calls `observe()` when something has
 * happened. The tables in `telemetry/` list which observations are logged, and at which level, and which are counted.
 *
 * @module
 */

/** The levels of log lines, from least to most important. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** An event in a node. It never holds the content of a message or a secret. */
export type Observation =
  | {
    kind: "started";
    url: string;
    log: "redis" | "embedded";
    rooms: readonly string[];
    channels: readonly string[];
    /**
     * Number of connections that the limit of file descriptors allows; Infinity if the limit is too high to be counted.
     */
    connectionsMax: number;
    /** Whether messages are written to clients without the stream of their socket. */
    directWrite: boolean;
  }
  /** Connections were accepted and closed at once, because the limit of file descriptors allows no more. */
  | { kind: "connections_refused"; count: number; connectionsMax: number }
  /** The process no longer accepts connections. */
  | { kind: "listener_failed" }
  /** The process cannot accept connections because no file descriptor is free. */
  | { kind: "listener_full" }
  /** The process accepts connections again: after the repair named by `how`, or because descriptors are free again. */
  | {
    kind: "listener_recovered";
    how: "nothing" | "rearmed" | "reopened";
    durationMs: number;
  }
  /** No repair has succeeded, so the process exits. */
  | { kind: "listener_lost" }
  /** The process cannot connect to itself, so it cannot detect a failed listener. */
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
  /** A client was sent a gap, because some of the messages that it missed are not available. */
  | { kind: "recovery_incomplete"; reason: string }
  /**
   * Sessions of clients that disconnected without leaving were deleted before they expired, because there were too
   * many.
   */
  | { kind: "sessions_evicted"; count: number }
  /**
   * This node appended messages of Redis channels in one script. `lagsMs` has the time of each message from receipt to
   * append.
   */
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
  /** Messages of Redis channels cannot be appended at the moment. Reported once for each outage. */
  | { kind: "bridge_stuck"; why: string }
  /** Messages of Redis channels can be appended again, after `bridge_stuck`. */
  | { kind: "bridge_recovered" }
  /** An entry of the log was not valid. */
  | { kind: "entry_skipped"; id: string; why: string }
  /** A new epoch has begun, because the log was emptied or lost its newest entries. */
  | { kind: "epoch_changed"; epoch: string; why: string }
  /** Redis is another server or has another history. All nodes now have to confirm that it lacks no message. */
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
  /** Writes to clients use Deno's streams from now on, which are slower than direct writes. */
  | { kind: "direct_write_disabled"; why: string }
  /** An internal error of Roomcast, which is a bug. */
  | { kind: "error"; where: string; error: unknown };

/** Records an observation. Never throws and never waits. */
export type Observe = (observation: Observation) => void;
