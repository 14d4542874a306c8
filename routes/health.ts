/**
 * Serves `/livez`, `/readyz` and `/metrics`, for the operation of a node.
 *
 * @module
 */
import { ApiError } from "../lib/errors.ts";
import type { Observe } from "../lib/observer.ts";
import { respondWithError } from "./errors.ts";
import { type Handler, outgoingResponse } from "./exchange.ts";
import { PageBudget } from "./page_budget.ts";

/** The functions from which the health of a node is read. */
export interface HealthOptions {
  /** Returns whether the last check of the listener found that the node accepts connections. */
  readonly accepting: () => boolean;
  /** Returns whether the node is stopping. */
  readonly draining: () => boolean;
  /**
   * Rejects if a message that is published now would not reach the log, or if this node would not read the message.
   * Settles within 300 ms.
   */
  readonly probe: () => Promise<void>;
  /** Returns problems of Redis' configuration that can cause the loss of messages, as sentences. */
  readonly warnings: () => readonly string[];
  /** Returns all metrics in the text format of Prometheus. */
  readonly expose: () => Promise<{ type: string; body: string }>;
  readonly observe: Observe;
}

/** Maximum length of the metrics that clients have not read yet, all together, in characters. */
const METRICS_LENGTH_MAX = 32 << 20;

/**
 * Creates the handler of `GET /livez`, which responds with 200 if the process accepts connections, otherwise with 503.
 */
export function livez({ accepting }: HealthOptions): Handler {
  return function livez(c) {
    return accepting()
      ? c.json({ live: true })
      : respondWithError(c, notAccepting());
  };
}

/**
 * Creates the handler of `GET /readyz`. It responds with 200 if the node accepts connections, and if a message that is
 * published now would reach the log and be read by this node; otherwise with 503.
 */
export function readyz(
  { accepting, draining, probe, warnings }: HealthOptions,
): Handler {
  return async function readyz(c) {
    if (draining()) {
      return respondWithError(
        c,
        new ApiError(
          "draining",
          "Cannot serve: this node is stopping; use another node",
        ),
      );
    }
    if (!accepting()) return respondWithError(c, notAccepting());
    await probe();
    return c.json({ ready: true, warnings: warnings() });
  };
}

function notAccepting(): ApiError {
  return new ApiError(
    "not_accepting",
    "Cannot serve: this node accepts no connections; use another node, and restart this one if it does not recover",
  );
}

/**
 * Creates the handler of `GET /metrics`, which responds with all metrics in the text format of Prometheus. Everyone who
 * reaches the port may send this request, and need not read the response, so its memory is limited.
 */
export function metrics({ expose, observe }: HealthOptions): Handler {
  const pages = new PageBudget(
    observe,
    { lengthMax: METRICS_LENGTH_MAX },
    { verb: "read the metrics", limit: "metrics" },
  );
  return async function metrics(c) {
    const { type, body } = await pages.make(outgoingResponse(c), expose);
    return c.body(body, 200, { "content-type": type });
  };
}
