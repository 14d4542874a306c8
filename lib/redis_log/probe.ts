/**
 * Probes, which show whether a publish would now reach the log and be read by this node.
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

/** Maximum duration of a probe, in ms, so that `/readyz` responds within 300 ms in any case. */
const PROBE_TIMEOUT_MS = 250;
/** How long the result of a probe is reused, in ms. */
const PROBE_FRESH_MS = 200;

/** Options of {@linkcode Probe}. */
export interface ProbeOptions {
  readonly appender: Appender;
  readonly reader: RedisLogReader;
  /** The connections that appending and reading need. */
  readonly connections: readonly RedisConnection[];
  readonly ackReplicas: number;
}

/** Writes probes to the log and waits until this node reads them. All callers share the probe in flight. */
export class Probe {
  readonly #options: ProbeOptions;
  #last: { settledAt: number; readonly result: Promise<void> } | undefined;

  /** Creates the probe without writing one. */
  constructor(options: ProbeOptions) {
    this.#options = options;
  }

  /**
   * Resolves if a probe is read in time. Shares a probe in flight, and the result of one that ended within
   * {@linkcode PROBE_FRESH_MS}.
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
      // If the append fails, the probe is not read in time.
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
