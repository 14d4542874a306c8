/**
 * Counts observations as metrics for Prometheus.
 *
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ClientTransport, Observation, Observe } from "../observer.ts";

/** Counts an observation. */
type Count = (observation: Observation) => void;
/** How to count the observations of a kind, by kind. */
type Counts = {
  readonly [K in Observation["kind"]]?: (
    observation: Extract<Observation, { kind: K }>,
  ) => void;
};

/**
 * Counts observations as metrics. The labels of metrics never contain rooms, users or idempotency keys, because there
 * may be any number of these.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #connections = this.#gauge(
    "roomcast_clients",
    "Clients connected to this node, with streams of Server-Sent Events",
  );
  /** Number of clients of each transport. */
  readonly #clients = new Map<ClientTransport, number>();
  readonly #published = this.#counter(
    "roomcast_published_total",
    "Messages that this node appended to the log for backends and clients, by the name of the backend's key",
    ["key"],
  );
  readonly #failures = this.#counter(
    "roomcast_publish_failures_total",
    "Publishes that failed, by error code and the name of their key",
    ["code", "key"],
  );
  readonly #delivered = this.#counter(
    "roomcast_deliveries_total",
    "Messages sent to clients of this node",
  );
  readonly #replaced = this.#counter(
    "roomcast_messages_skipped_total",
    "Messages of LATEST_ROOMS that a newer message replaced before they were sent",
  );
  readonly #cut = this.#counter(
    "roomcast_slow_clients_disconnected_total",
    "Clients disconnected because their send buffer exceeded its limit",
  );
  readonly #notLetIn = this.#counter(
    "roomcast_clients_refused_total",
    "Clients that were not let in, by error code",
    ["code"],
  );
  readonly #unknownSids = this.#counter(
    "roomcast_unknown_connections_total",
    "Requests of clients that poll which named a connection that this node does not have",
  );
  readonly #limited = this.#counter(
    "roomcast_limited_total",
    "Times a limit was reached and something was refused, delayed or disconnected, by limit",
    ["limit"],
  );
  readonly #unauthorized = this.#counter(
    "roomcast_requests_unauthorized_total",
    "HTTP requests, except those for streams, refused with 401, because their key or token was missing or not accepted",
  );
  readonly #unknown = this.#counter(
    "roomcast_unknown_events_total",
    "Events of clients with a name that the server does not know",
  );
  readonly #recovered = this.#counter(
    "roomcast_recoveries_total",
    "Clients that reconnected and asked for missed messages, by outcome",
    ["outcome"],
  );
  readonly #evicted = this.#counter(
    "roomcast_sessions_evicted_total",
    "Sessions of disconnected clients that were deleted before they expired, because they exceeded their limit",
  );
  readonly #bridged = this.#counter(
    "roomcast_bridged_total",
    "Messages of Redis channels that this node appended to the log",
  );
  readonly #appends = this.#counter(
    "roomcast_bridge_appends_total",
    "Scripts that this node ran to append messages of Redis channels, with any result",
  );
  readonly #refused = this.#counter(
    "roomcast_bridge_refused_total",
    "Payloads of Redis channels that were rejected, by reason",
    ["reason"],
  );
  readonly #takeOvers = this.#counter(
    "roomcast_bridge_takeovers_total",
    "Times this node took over appending messages of Redis channels from another node",
  );
  readonly #gaps = this.#counter(
    "roomcast_bridge_gaps_total",
    "Times messages of Redis channels may have been lost, reported to clients as a gap",
  );
  readonly #overflows = this.#counter(
    "roomcast_bridge_overflows_total",
    "Times this node discarded its queue of messages of Redis channels because it was full",
  );
  readonly #lag = this.#histogram(
    "roomcast_bridge_lag_seconds",
    "Time from receiving a message on a Redis channel to appending it",
  );
  readonly #skipped = this.#counter(
    "roomcast_entries_skipped_total",
    "Log entries that were skipped because they were invalid",
  );
  readonly #epochs = this.#counter(
    "roomcast_epoch_changes_total",
    "Times the log was emptied or lost its newest entries",
  );
  readonly #cuts = this.#counter(
    "roomcast_log_trimmed_unread_total",
    "Times the log was trimmed before this node had read it",
  );
  readonly #lost = this.#counter(
    "roomcast_redis_disconnections_total",
    "Connections to Redis that were lost, by connection",
    ["connection"],
  );
  readonly #turnedAway = this.#counter(
    "roomcast_connections_refused_total",
    "Connections that were closed at once because the limit of file descriptors was reached",
  );
  readonly #deaf = this.#counter(
    "roomcast_listener_failures_total",
    "Times this node stopped accepting connections, because its listener failed or no file descriptor was free",
  );
  readonly #refusedTokens = this.#counter(
    "roomcast_tokens_refused_total",
    "Client tokens that were not accepted, by reason",
    ["reason"],
  );
  readonly #verifiedTokens = this.#counter(
    "roomcast_tokens_verified_total",
    "Client tokens that were valid, revoked ones included, by whether their signature was verified, or this node or another one had verified the same token before",
    ["how"],
  );
  readonly #forgottenTokens = this.#counter(
    "roomcast_verified_tokens_forgotten_total",
    "Verified client tokens that were forgotten before they had expired, because too many were remembered",
  );
  readonly #keyFetches = this.#counter(
    "roomcast_token_key_fetches_total",
    "Fetches of the keys of TOKEN_JWKS_URL, by outcome",
    ["outcome"],
  );
  readonly #revocations = this.#counter(
    "roomcast_revocations_total",
    "Users and tokens that were revoked by requests to this node, by what was named",
    ["by"],
  );
  readonly #revoked = this.#counter(
    "roomcast_clients_revoked_total",
    "Clients disconnected because their token or their user was revoked",
  );
  readonly #directives = this.#counter(
    "roomcast_directives_total",
    "Requests to this node to put clients into rooms, to take them out, or to disconnect them, by directive",
    ["directive"],
  );
  readonly #directed = this.#counter(
    "roomcast_directives_applied_total",
    "Clients of this node that were put into a room, taken out or disconnected, by directive and outcome",
    ["directive", "outcome"],
  );
  readonly #hookCalls = this.#counter(
    "roomcast_hook_calls_total",
    "Calls of hooks, by hook and outcome",
    ["hook", "outcome"],
  );
  readonly #hookDurations = this.#histogram(
    "roomcast_hook_call_seconds",
    "Time of calls of hooks, with the time that they waited, by hook",
    ["hook"],
  );
  readonly #errors = this.#counter(
    "roomcast_errors_total",
    "Internal errors of Roomcast",
  );

  /** How to count the observations of each kind; those of other kinds are not counted. */
  readonly #counts: Counts = {
    published: ({ count, key }) => this.#published.inc(keyLabel(key), count),
    publish_failed: ({ code, key }) =>
      this.#failures.inc({ code, ...keyLabel(key) }),
    delivered: ({ count }) => this.#delivered.inc(count),
    skipped: ({ count }) => this.#replaced.inc(count),
    slow_client_disconnected: () => this.#cut.inc(),
    client_connected: (observation) => this.#countClients(observation),
    client_disconnected: (observation) => this.#countClients(observation),
    client_refused: ({ code }) => this.#notLetIn.inc({ code }),
    connections_unknown: ({ count }) => this.#unknownSids.inc(count),
    limited: ({ limit }) => this.#limited.inc({ limit }),
    client_revoked: () => this.#revoked.inc(),
    token_refused: ({ reason }) => this.#refusedTokens.inc({ reason }),
    token_verified: ({ how }) => this.#verifiedTokens.inc({ how }),
    verified_token_forgotten: () => this.#forgottenTokens.inc(),
    token_keys_fetched: ({ outcome }) => this.#keyFetches.inc({ outcome }),
    revoked: ({ by }) => this.#revocations.inc({ by }),
    directed: ({ directive }) => this.#directives.inc({ directive }),
    directive_applied: ({ directive }) =>
      this.#directed.inc({ directive, outcome: "applied" }),
    directive_failed: ({ directive, code }) =>
      this.#directed.inc({ directive, outcome: code }),
    request_unauthorized: () => this.#unauthorized.inc(),
    unknown_event: () => this.#unknown.inc(),
    recovered: () => this.#recovered.inc({ outcome: "recovered" }),
    recovery_incomplete: ({ reason }) =>
      this.#recovered.inc({ outcome: reason }),
    sessions_evicted: ({ count }) => this.#evicted.inc(count),
    bridged: ({ lagsMs }) => {
      this.#appends.inc();
      this.#bridged.inc(lagsMs.length);
      for (const lagMs of lagsMs) this.#lag.observe(lagMs / 1000);
    },
    bridge_refused: ({ reason, count }) => this.#refused.inc({ reason }, count),
    bridge_taken_over: () => this.#takeOvers.inc(),
    bridge_gap: () => this.#gaps.inc(),
    bridge_overflow: () => this.#overflows.inc(),
    entry_skipped: () => this.#skipped.inc(),
    epoch_changed: () => this.#epochs.inc(),
    log_trimmed_unread: () => this.#cuts.inc(),
    redis_connection_lost: ({ connection }) => this.#lost.inc({ connection }),
    connections_refused: ({ count }) => this.#turnedAway.inc(count),
    listener_failed: () => this.#deaf.inc(),
    listener_full: () => this.#deaf.inc(),
    hook_called: ({ hook, outcome, durationMs }) => {
      this.#hookCalls.inc({ hook, outcome });
      this.#hookDurations.observe({ hook }, durationMs / 1000);
    },
    error: () => this.#errors.inc(),
  };

  /** Starts all counts at zero. */
  constructor() {
    // Without this, the metric would not exist before the first message.
    this.#published.inc(0);
  }

  /** Counts an observation, if there is a metric for its kind. */
  readonly observe: Observe = (observation) => {
    const count = this.#counts[observation.kind] as Count | undefined;
    count?.(observation);
  };

  /**
   * Starts a timer that measures how late it runs, which shows how long work waits for the event loop. The timer runs
   * until the process ends.
   */
  watchEventLoop(intervalMs = 20): void {
    const lag = this.#histogram(
      "roomcast_event_loop_lag_seconds",
      "How late a timer of this node ran",
    );
    let due = performance.now() + intervalMs;
    setInterval(() => {
      const now = performance.now();
      lag.observe(Math.max(0, now - due) / 1000);
      due = now + intervalMs;
    }, intervalMs);
  }

  /** Adds a gauge. `read` returns its value at each request for `/metrics`. */
  watch(name: string, help: string, read: () => number): void {
    const gauge = this.#gauge(name, help, () => gauge.set(read()));
  }

  /** Returns all metrics in the text format of Prometheus. */
  async expose(): Promise<{ type: string; body: string }> {
    return {
      type: this.#registry.contentType,
      body: await this.#registry.metrics(),
    };
  }

  #countClients(
    { transport, clients }: { transport: ClientTransport; clients: number },
  ): void {
    this.#clients.set(transport, clients);
    const counts = [...this.#clients.values()];
    this.#connections.set(counts.reduce((sum, count) => sum + count, 0));
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  #histogram(
    name: string,
    help: string,
    labelNames: string[] = [],
  ): Histogram {
    const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
    const registers = [this.#registry];
    return new Histogram({ name, help, buckets, labelNames, registers });
  }

  #gauge(name: string, help: string, collect?: () => void): Gauge {
    const registers = [this.#registry];
    return new Gauge({ name, help, registers, ...(collect && { collect }) });
  }
}

/** Returns the label with the name of a publish key; no label if there is no key. */
function keyLabel(key: string | undefined): { key?: string } {
  return key === undefined ? {} : { key };
}
