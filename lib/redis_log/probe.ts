/**
 * Probes: entries without messages that a node writes to the log and reads back. They show whether publishes would now
 * reach the log and this node would read them.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { RedisConnection } from "../redis/connection.ts";
import { toLogError } from "../redis/errors.ts";
import { deadline } from "../util/deadline.ts";
import { tooFewReplicas } from "./append_errors.ts";
import type { Appender } from "./appender.ts";
import type { RedisLogReader } from "./reader.ts";

/** Maximum time until a probe is read back, in ms, so that `/readyz` always responds within 300 ms. */
const PROBE_TIMEOUT_MS = 250;
/** How long the result of a probe is reused for further callers, in ms. */
const PROBE_FRESH_MS = 200;

/** Options of {@linkcode Probe}. */
export interface ProbeOptions {
  readonly appender: Appender;
  readonly reader: RedisLogReader;
  /** The connections that appending and reading use. */
  readonly connections: readonly RedisConnection[];
  readonly ackReplicas: number;
}

/**
 * Writes probes, entries without messages, to the log and waits until this node has read them. Concurrent callers share
 * one probe.
 */
export class Probe {
  readonly #options: ProbeOptions;
  #last: { settledAt: number; readonly result: Promise<void> } | undefined;

  /** Stores the options. Call {@linkcode Probe.run} to write a probe. */
  constructor(options: ProbeOptions) {
    this.#options = options;
  }

  /**
   * Resolves if this node reads a probe back from the log within {@linkcode PROBE_TIMEOUT_MS}, and otherwise rejects
   * with the reason. Uses the probe in flight, or the result of the last probe if it is not older than {@linkcode
   * PROBE_FRESH_MS}.
   */
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
      // A failed append needs no handling here, because the probe is then not read in time.
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
        throw new ApiError("log_not_replicated", tooFewReplicas(ackReplicas));
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
