/**
 * The errors of publishes that could not be appended to the log, or whose outcome is not known.
 *
 * @module
 */
import { ApiError } from "../errors.ts";

/** Makes the error of a publish to which Redis has not replied within `timeoutMs`. */
export function timedOut(timeoutMs: number): ApiError {
  return new ApiError(
    "log_timeout",
    `Cannot publish: Redis has not replied within ${timeoutMs} ms; ` +
      "try again later with the same idempotency key",
  );
}

/**
 * Makes the error of a publish that this node was handling when it stopped, or received afterwards. The publish may
 * have been sent to Redis.
 */
export function stopping(): ApiError {
  return new ApiError(
    "draining",
    "Cannot confirm the publish: this node is stopping, so the message may or may not be delivered; " +
      "publish again with the same idempotency key",
  );
}

/**
 * Makes the error of a publish during which Roomcast reconnected to Redis, perhaps to another server, which may lack
 * the message.
 */
export function failedOver(): ApiError {
  return new ApiError(
    "log_unreachable",
    "Cannot confirm the publish: the connection to Redis ended before the message was confirmed; " +
      "publish again with the same idempotency key",
  );
}

/**
 * Makes the error of a publish that only `count` replicas have confirmed, although `wanted` are required
 * (`ACK_REPLICAS`).
 */
export function notReplicated(count: number, wanted: number): ApiError {
  return new ApiError(
    "log_not_replicated",
    `Cannot acknowledge the publish: ACK_REPLICAS requires ${wanted} replicas of Redis, and only ${count} have ` +
      "confirmed the message, which may be delivered nevertheless; publish it again with the same idempotency key",
  );
}

/**
 * Returns a sentence for operators: fewer than `wanted` replicas of Redis are in sync, so no publish is acknowledged.
 */
export function tooFewReplicas(wanted: number): string {
  return `Cannot acknowledge publishes: fewer than ${wanted} replicas of Redis are in sync (ACK_REPLICAS); ` +
    "attach more replicas, or lower ACK_REPLICAS";
}

/**
 * Makes the error of a publish that is refused because `pendingMax` publishes, or publishes with `lengthMax` characters
 * together, are pending.
 */
export function overloaded(pendingMax: number, lengthMax: number): ApiError {
  return new ApiError(
    "overloaded",
    `Cannot publish: ${pendingMax} publishes, or ${
      lengthMax >> 20
    } MiB of messages, are already waiting for Redis on this node; try again later`,
  );
}
