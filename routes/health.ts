/**
 * `/livez`, `/readyz`, `/metrics`: for those who watch over a node.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError, toApiError } from "../lib/errors.ts";
import { answerFault, type Env } from "./http.ts";

/** What is asked of a node. */
export interface HealthOptions {
  /** Whether connections are accepted, as far as is known. */
  readonly accepting: () => boolean;
  /** Whether it is on its way out. */
  readonly draining: () => boolean;
  /** Rejects where a publish would not reach the log and come back; in under 300 ms, whatever is broken. */
  readonly probe: () => Promise<void>;
  /** What may lose messages although all works now. */
  readonly warnings: () => readonly string[];
  readonly expose: () => Promise<{ type: string; body: string }>;
}

/** The process lives, and others can connect to it: 200, otherwise 503. */
export function livez(
  { accepting }: HealthOptions,
): (c: Context<Env>) => Response {
  return function livez(c) {
    return accepting()
      ? c.json({ live: true })
      : answerFault(c, notAccepting());
  };
}

/** A publish would now reach the log and come back to this node, and others can connect: 200, otherwise 503. */
export function readyz(
  { accepting, draining, probe, warnings }: HealthOptions,
): (c: Context<Env>) => Promise<Response> {
  return async function readyz(c) {
    if (draining()) {
      return answerFault(
        c,
        new ApiError(
          "draining",
          "Cannot serve: this node is stopping; use another",
        ),
      );
    }
    if (!accepting()) return answerFault(c, notAccepting());
    try {
      await probe();
    } catch (error) {
      return answerFault(c, toApiError(error));
    }
    return c.json({ ready: true, warnings: warnings() });
  };
}

function notAccepting(): ApiError {
  return new ApiError(
    "not_accepting",
    "Cannot serve: this node accepts no connections; use another, and restart this one if it does not recover",
  );
}

/** Numbers for Prometheus. */
export function metrics(
  { expose }: HealthOptions,
): (c: Context<Env>) => Promise<Response> {
  return async function metrics(c) {
    const { type, body } = await expose();
    return c.body(body, 200, { "content-type": type });
  };
}
