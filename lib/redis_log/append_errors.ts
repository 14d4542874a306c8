/**
 * The errors of publishes that the appender could not append, or whose outcome it does not know.
 *
 * @module
 */
import { ApiError } from "../errors.ts";

/** Makes the error of a publish that was not settled within `timeoutMs`. */
export function timedOut(timeoutMs: number): ApiError {
  return new ApiError(
    "log_timeout",
    `Cannot publish: Redis has not replied within ${timeoutMs} ms; ` +
      "try again later with the same idempotency key",
  );
}

/** Makes the error of a publish on a node that is stopping. */
export function stopping(): ApiError {
  return new ApiError(
    "draining",
    "Cannot publish: this node is stopping; publish to another node",
  );
}

/** Makes the error of a publish whose connection led to another server before the message was confirmed. */
export function failedOver(): ApiError {
  return new ApiError(
    "log_unreachable",
    "Cannot publish: the connection to Redis changed before the message was confirmed; " +
      "publish again with the same idempotency key",
  );
}

/** Makes the error of a publish that only `count` of `wanted` replicas have confirmed. */
export function notReplicated(count: number, wanted: number): ApiError {
  return new ApiError(
    "log_not_replicated",
    `Cannot acknowledge the publish: ${count} of ${wanted} replicas of Redis have confirmed it, but it may be ` +
      "delivered; publish it again with the same idempotency key",
  );
}

/** Returns the sentence for a Redis of whose replicas fewer than `wanted` are in sync. */
export function tooFewReplicas(wanted: number): string {
  return `Cannot acknowledge publishes: fewer than ${wanted} replicas of Redis are in sync (ACK_REPLICAS); ` +
    "attach a replica";
}

/** Makes the error of a publish beyond the limits of pending publishes and of their characters. */
export function overloaded(pendingMax: number, lengthMax: number): ApiError {
  return new ApiError(
    "overloaded",
    `Cannot publish: ${pendingMax} publishes, or ${
      lengthMax >> 20
    } MiB of them, are waiting for Redis; try again later`,
  );
}
