/**
 * Describes `/livez`, `/readyz` and `/metrics`.
 *
 * @module
 */
import * as v from "valibot";
import { OF_LOG, type Operation } from "./operation.ts";
import { NO_QUERY } from "./schemas.ts";

export const livez: Operation = {
  id: "livez",
  tag: "Health",
  for: "backends",
  summary: "Returns whether the process runs and accepts connections",
  query: NO_QUERY,
  responses: {
    200: {
      description: "The process accepts connections.",
      content: { "application/json": v.object({ live: v.literal(true) }) },
    },
  },
  errors: ["not_accepting"],
};

export const readyz: Operation = {
  id: "readyz",
  tag: "Health",
  for: "backends",
  summary: "Returns whether the node can publish and deliver",
  description:
    "Tries it: a publish would reach the log and be read back by this node.",
  query: NO_QUERY,
  responses: {
    200: {
      description: "The node can publish and deliver.",
      content: {
        "application/json": v.object({
          ready: v.literal(true),
          warnings: v.pipe(
            v.array(v.string()),
            v.description(
              "Problems of Redis' configuration that can lose messages, as sentences.",
            ),
          ),
        }),
      },
    },
  },
  errors: [...OF_LOG, "not_accepting", "log_not_replicated"],
};

export const metrics: Operation = {
  id: "metrics",
  tag: "Health",
  for: "backends",
  summary: "Returns the metrics of the node for Prometheus",
  query: NO_QUERY,
  responses: {
    200: {
      description: "All metrics in the text format of Prometheus.",
      content: { "text/plain": v.string() },
    },
  },
  errors: ["overloaded"],
};
