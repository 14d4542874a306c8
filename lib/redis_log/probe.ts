/**
 * Probes: whether a publish would now reach the log and come back to this node.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { RedisConnection } from "../redis/connection.ts";
import { toLogError } from "../redis/errors.ts";
import { deadline } from "../util/deadline.ts";
import type { Appender } from "./appender.ts";
import type { RedisLogReader } from "./reader.ts";

/** How long a probe may take, in ms: `/readyz` responds within 300 ms whatever is broken. */
const PROBE_TIMEOUT_MS = 250;
/** How long the result of a probe is reused, in ms. */
const PROBE_FRESH_MS = 200;

/** What a {@linkcode Probe} needs. */
export interface ProbeOptions {
  readonly appender: Appender;
  readonly reader: RedisLogReader;
  /** The connections that a publish and its way back need. */
  readonly connections: readonly RedisConnection[];
  readonly ackReplicas: number;
}

/** Writes probes into the log and waits for each to come back, one at a time for all callers. */
export class Probe {
  readonly #options: ProbeOptions;
  #last: { settledAt: number; readonly result: Promise<void> } | undefined;

  /** Writes nothing yet. */
  constructor(options: ProbeOptions) {
    this.#options = options;
  }

  /** Resolves if a probe comes back in time. Shares a probe in flight, and the result of one that has just ended. */
  run(): Promise<void> {
    const now = performance.now();
    if (
      this.#last === undefined || now - this.#last.settledAt > PROBE_FRESH_MS
    ) {
      const last = {
        settledAt: Infinity,
        result: this.#write().finally(() => last.settledAt = performance.now()),
      };
      this.#last = last;
      last.result.catch(() => {});
    }
    return this.#last.result;
  }

  async #write(): Promise<void> {
    const { appender, reader, connections, ackReplicas } = this.#options;
    const lost = connections.find(({ client }) => client === undefined);
    if (lost !== undefined) {
      const why = lost.lastError ?? new Error("not connected");
      throw toLogError(why, "reach the log");
    }
    const nonce = crypto.randomUUID();
    const [read, stop] = reader.probe(nonce);
    let isRead = false;
    void read.then(() => isRead = true);
    try {
      // A failed append shows in that the probe is not read.
      await deadline(
        Promise.all([read, appender.probe(nonce)]),
        PROBE_TIMEOUT_MS,
        "a probe",
      );
    } catch {
      if (reader.why !== undefined) {
        throw toLogError(reader.why, "reach the log");
      }
      if (isRead && ackReplicas > 0) {
        throw new ApiError(
          "log_not_replicated",
          `Cannot acknowledge publishes: fewer than ${ackReplicas} replicas of Redis are in sync (ACK_REPLICAS); ` +
            "attach a replica",
        );
      }
      throw new ApiError(
        "log_timeout",
        `Cannot reach the log: a probe was not read back within ${PROBE_TIMEOUT_MS} ms; ` +
          "check that Redis is up and not overloaded",
      );
    } finally {
      stop();
    }
  }
}
