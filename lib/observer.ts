/**
 * Observations: the events of a node that can be logged or counted. Each part of Roomcast calls `observe()` when such
 * an event has happened. The tables in `lib/telemetry/` say which observations are logged, at which level, and which
 * are counted.
 *
 * @module
 */

/** The levels of log lines, from least to most important. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The hooks: questions that a backend is asked about clients. */
export type HookName = "connect" | "join" | "publish";

/**
 * What a call of a hook has brought. `bad_status`: a status that says nothing about the client. `invalid`: a body of a
 * wrong form. `overloaded`: not made, because too many calls waited or it waited too long. `breaker_open`: not made,
 * because the backend is down. `abandoned`: not made, because the client has left.
 */
export type HookOutcome =
  | "allowed"
  | "refused"
  | "timeout"
  | "unreachable"
  | "bad_status"
  | "invalid"
  | "overloaded"
  | "breaker_open"
  | "abandoned";

/** How clients are counted: those of Socket.IO, and streams of Server-Sent Events. */
export type ClientTransport = "socket.io" | "sse";

/** An event in a node that can be logged or counted. It never contains a secret or the content of a message. */
export type Observation =
  | {
    kind: "started";
    url: string;
    /** The URL for backends and operators; undefined if they use `url` as well. */
    internalUrl: string | undefined;
    log: "redis" | "embedded";
    rooms: readonly string[];
    channels: readonly string[];
    /**
     * Number of connections that the process's limit of file descriptors allows; Infinity if that number is not known.
     */
    connectionsMax: number;
    /** Whether messages are written directly to the sockets of clients, without Deno's streams. */
    directWrite: boolean;
  }
  /**
   * Connections were accepted and closed at once, because the process's limit of file descriptors allows no more
   * connections.
   */
  | { kind: "connections_refused"; count: number; connectionsMax: number }
  /** The process no longer accepts connections. */
  | { kind: "listener_failed" }
  /** The process cannot accept connections because no file descriptor is free. */
  | { kind: "listener_full" }
  /**
   * The process accepts connections again. `how` says how the listener was repaired; `nothing` means that no repair was
   * needed, because file descriptors are free again.
   */
  | {
    kind: "listener_recovered";
    how: "nothing" | "rearmed" | "reopened";
    durationMs: number;
  }
  /** The listener could not be repaired, so the process exits. */
  | { kind: "listener_lost" }
  /** The process cannot connect to itself, so it cannot detect that its listener has failed. */
  | { kind: "listener_unwatched"; why: string }
  /** The process has begun to stop, because of a signal or because its listener could not be repaired. */
  | { kind: "stopping"; signal: string; clients: number }
  | { kind: "stopped"; durationMs: number }
  /**
   * Publishes have appended `count` messages to the log. Messages of Redis channels, and repeated publishes with the
   * same idempotency key, do not count. `key` is the name of the publish key, if they had one; clients have none.
   */
  | { kind: "published"; count: number; key?: string }
  | { kind: "publish_failed"; code: string; key?: string }
  /**
   * Publishes with the publish key `key` were refused. `count` is their number since the last report. Reported at most
   * once a minute for each key and each `code`.
   */
  | { kind: "publishes_refused"; key: string; code: string; count: number }
  /**
   * An HTTP request was refused with 401, because its key or token is missing or not accepted. A request for a stream is
   * a `client_refused` instead.
   */
  | { kind: "request_unauthorized" }
  /**
   * `count` HTTP requests were refused with 401 since the last report, and the last of them was sent the sentence `why`.
   * At most once a minute for each port.
   */
  | { kind: "requests_unauthorized"; count: number; why: string }
  /**
   * `count` HTTP requests of pages were refused with the error `code` since the last report, because of the page's origin
   * or the host. At most once a minute for each port and code.
   */
  | { kind: "pages_refused"; code: string; count: number; why: string }
  /** Messages were written to clients. A message counts once for each client. */
  | { kind: "delivered"; count: number }
  /** Messages of `LATEST_ROOMS` were replaced by newer messages before they were sent. */
  | { kind: "skipped"; count: number }
  /** A client was disconnected because too many bytes or packets were queued for it. */
  | { kind: "slow_client_disconnected"; waitingBytes: number }
  | { kind: "slow_client_disconnected"; waitingPackets: number }
  /** A client has connected; `clients` is how many this node now has with this transport. */
  | { kind: "client_connected"; transport: ClientTransport; clients: number }
  | { kind: "client_disconnected"; transport: ClientTransport; clients: number }
  /** A client that wanted to connect was refused with the error `code`. */
  | { kind: "client_refused"; code: string }
  /**
   * Clients could not connect because of an outage, and will retry. `count` is the number of failed attempts since the
   * last report, and `why` the sentence that the last client was sent. Reported at most once a minute for each `code`.
   */
  | { kind: "clients_turned_away"; code: string; count: number; why: string }
  /**
   * Clients that wanted to connect, or to open a stream, were refused for another reason than an outage, so that it does
   * not pass by itself. The fields and the rate are those of `clients_turned_away`.
   */
  | { kind: "clients_refused"; code: string; count: number; why: string }
  /**
   * Events of connected clients were refused for such a reason. The fields and the rate are those of
   * `clients_turned_away`.
   */
  | { kind: "events_refused"; code: string; count: number; why: string }
  /**
   * `count` requests of clients that poll have named connections which this node does not have, since the last report. At
   * most once a minute.
   */
  | { kind: "connections_unknown"; count: number }
  /**
   * A request has the header `X-Forwarded-For` and comes from `address`, which `TRUSTED_PROXIES` does not list although
   * it is set. Reported once.
   */
  | { kind: "proxy_untrusted"; address: string }
  /** A limit was reached, and something was refused, delayed or disconnected because of it. */
  | { kind: "limited"; limit: string }
  /** A client sent an event whose name the server does not know. */
  | { kind: "unknown_event" }
  /** A client has reconnected and received everything that it missed. */
  | { kind: "recovered"; messages: number }
  /** A client was sent a gap, because some of the messages that it missed are not available. */
  | { kind: "recovery_incomplete"; reason: string }
  /**
   * Sessions of disconnected clients were deleted before they expired, because they took up too much memory together.
   */
  | { kind: "sessions_evicted"; count: number }
  /**
   * This node appended messages of Redis channels in one script. `lagsMs` lists, for each message, the time from its
   * receipt to its append, in ms.
   */
  | { kind: "bridged"; lagsMs: readonly number[] }
  /** Payloads that were received on Redis channels were not valid messages and were discarded. */
  | { kind: "bridge_refused"; reason: string; count: number }
  /** This node took over appending messages of Redis channels from another node. */
  | { kind: "bridge_taken_over" }
  /** Messages of Redis channels may be missing from the log; their rooms' clients receive a `gap` event. */
  | { kind: "bridge_gap" }
  /** The bridge's queue of received messages was full, so the bridge discarded all messages in it. */
  | { kind: "bridge_overflow" }
  /** The bridge's subscription to Redis channels stopped delivering and is being re-established. */
  | { kind: "bridge_subscription_stale" }
  /** Messages of Redis channels cannot be appended at the moment. Reported once for each outage. */
  | { kind: "bridge_stuck"; why: string }
  /** Messages of Redis channels can be appended again, after `bridge_stuck`. */
  | { kind: "bridge_recovered" }
  /** An entry of the log, or a message of Socket.IO's adapter on another node, was skipped for the reason `why`. */
  | { kind: "entry_skipped"; id: string; why: string }
  /** A new epoch has begun, because the log was emptied or lost its newest entries. */
  | { kind: "epoch_changed"; epoch: string; why: string }
  /**
   * The Redis server or its data was replaced. All nodes now have to confirm that the log in Redis still has every
   * message.
   */
  | { kind: "epoch_unconfirmed"; nodes: number; why: string }
  /** All nodes have confirmed that the log in Redis still has every message. */
  | { kind: "epoch_confirmed"; durationMs: number }
  /** The Redis server that this node is connected to is a replica and accepts no writes. */
  | { kind: "redis_is_replica"; why: string }
  /** Entries of the log were trimmed before this node had read them; all clients receive a `gap` event. */
  | { kind: "log_trimmed_unread"; after: string }
  /**
   * All connections of this node to Redis are open. `durationMs` is how long the outage before lasted or, after the
   * start, how long connecting took.
   */
  | { kind: "redis_connected"; durationMs: number }
  /**
   * Redis has been unreachable for `durationMs` over the connections that `connections` names. Reported again every
   * minute until `redis_connected`.
   */
  | {
    kind: "redis_disconnected";
    connections: readonly string[];
    durationMs: number;
    why: string;
  }
  /**
   * One connection to Redis was lost or could not be opened. Reported only for the first of several failures in a row.
   */
  | { kind: "redis_connection_lost"; connection: string }
  /** A setting of the Redis server can cause the loss of messages. */
  | { kind: "redis_config_warning"; why: string }
  /** A valid setting probably does not do what the operator wants. Reported at start. */
  | { kind: "config_warning"; why: string }
  /**
   * The keys of `TOKEN_JWKS_URL` could not be fetched, or the response has no usable key. Keys that were fetched before
   * stay valid. `url` is the setting without credentials and query. Reported only for the first of several failures in a
   * row.
   */
  | { kind: "token_keys_unreachable"; url: string; why: string }
  /**
   * A client has sent a token to a server that verifies no tokens and whose hooks were not asked about it. Reported once.
   */
  | { kind: "token_ignored" }
  /**
   * A client has connected and is in no room. The client named no rooms, and it may not join any default room.
   * Reported once.
   */
  | { kind: "client_without_rooms" }
  /** The keys of `TOKEN_JWKS_URL` were fetched, or the fetch has failed. */
  | { kind: "token_keys_fetched"; outcome: "ok" | "failed" }
  /**
   * A token was valid. `signature`: its signature was verified. `remembered`: this node had verified the same token
   * before. `sealed`: another node had, as the client's session proves. The token may have been revoked;
   * `token_refused` is then observed, too.
   */
  | { kind: "token_verified"; how: "signature" | "remembered" | "sealed" }
  /** A verified token was forgotten before it had expired, because too many are remembered. */
  | { kind: "verified_token_forgotten" }
  /** A token was not accepted. */
  | { kind: "token_refused"; reason: string }
  /** The keys of `TOKEN_JWKS_URL` could be fetched again, after `token_keys_unreachable`. */
  | { kind: "token_keys_recovered" }
  /** A user or a token was revoked by a request to this node, with the publish key of this name if it had one. */
  | { kind: "revoked"; by: "user" | "jti"; key: string | undefined }
  /** A client was disconnected, because its token or its user has been revoked. */
  | { kind: "client_revoked" }
  /** Redis had lost revocations, and this node stored them again. */
  | { kind: "revocations_restored"; count: number }
  /**
   * Redis lacked what this node had reported about its clients, because Redis has lost it or this node did not respond
   * for some time. The node has reported all of its `rooms` again.
   */
  | { kind: "occupancy_restored"; rooms: number }
  /**
   * A backend has asked this node to put clients into a room, to take them out, or to disconnect them. `key` is the name
   * of its publish key; undefined if it has none.
   */
  | {
    kind: "directed";
    directive: "join" | "leave" | "disconnect";
    key: string | undefined;
  }
  /** A client of this node was put into a room, taken out of it, or disconnected, as a backend has asked. */
  | { kind: "directive_applied"; directive: "join" | "leave" | "disconnect" }
  /** What a backend has asked for failed for a client of this node, for example because it is in too many rooms. */
  | {
    kind: "directive_failed";
    directive: "join" | "leave" | "disconnect";
    code: string;
  }
  /** Redis had lost directives (what backends have asked for), and this node stored them again. */
  | { kind: "directives_restored"; count: number }
  /**
   * This node could not reach Redis for so long that it may have missed directives, and has disconnected all of its
   * `clients`, which connect again as new clients.
   */
  | { kind: "directives_missed"; clients: number }
  /** A call of a hook has ended, or was not made. `durationMs` includes the time that it waited. */
  | {
    kind: "hook_called";
    hook: HookName;
    outcome: HookOutcome;
    durationMs: number;
  }
  /**
   * `count` calls of a hook have brought no usable answer since the last report with this reason. `url` is the hook's URL
   * without its query. Reported at most once a minute for each reason `why`; reasons beyond ten of an `outcome` are
   * reported together, with the last one as `why`.
   */
  | {
    kind: "hook_failed";
    hook: HookName;
    url: string;
    outcome: HookOutcome;
    why: string;
    count: number;
  }
  /** A hook's backend does not respond, so calls of the hook fail at once for some time. */
  | { kind: "hook_down"; hook: HookName }
  /** A hook's backend responds again, after `hook_down`. */
  | { kind: "hook_recovered"; hook: HookName }
  /**
   * Direct writes are switched off: messages are from now on written to clients over Deno's streams, which are slower.
   */
  | { kind: "direct_write_disabled"; why: string }
  /** An unexpected error in Roomcast, most likely a bug. */
  | { kind: "error"; where: string; error: unknown };

/** Records an observation. Never throws and never waits. */
export type Observe = (observation: Observation) => void;
