/**
 * Converts errors of Redis into errors with Roomcast's own codes.
 *
 * @module
 */
import { ApiError, type ErrorCode } from "../errors.ts";
import { DeadlineError } from "../util/deadline.ts";

/** The advice in an error after which a retry may succeed. */
const RETRY = "try again later";
/**
 * The advice in an error after which the same publish may succeed; the idempotency key ensures that its message appears
 * only once.
 */
const PUBLISH_AGAIN =
  "try again later and publish with the same idempotency key";

const CHECK_URL = "check the user name and the password in REDIS_URL";

/**
 * An error that Redis can return: its first word, Roomcast's error code, and what Roomcast's error sentence says about
 * Redis. `advice` is set if a retry does not help, and replaces the advice to retry.
 */
type KnownError = readonly [
  prefix: string,
  code: ErrorCode,
  state: string,
  advice?: string,
];

const KNOWN_ERRORS: readonly KnownError[] = [
  ["READONLY", "log_read_only", "Redis is a read-only replica"],
  ["OOM", "log_full", "Redis is out of memory"],
  ["MISCONF", "log_full", "Redis cannot write to its disk"],
  ["LOADING", "log_loading", "Redis is still loading its data"],
  ["MASTERDOWN", "log_loading", "Redis has lost its master"],
  ["UNBLOCKED", "log_loading", "Redis is becoming a replica"],
  ["BUSY", "log_loading", "Redis is busy with a script"],
  ["CLUSTERDOWN", "log_loading", "the Redis cluster is down"],
  ["NOREPLICAS", "log_read_only", "Redis has too few replicas to take writes"],
  ["NOAUTH", "log_denied", "Redis requires a password", CHECK_URL],
  ["WRONGPASS", "log_denied", "Redis rejects the password", CHECK_URL],
  [
    "NOPERM",
    "log_denied",
    "the Redis user lacks a permission",
    "compare its ACL with docs/security.md",
  ],
  [
    "WRONGTYPE",
    "log_wrong_type",
    "another program has written to a key of Roomcast",
    "delete that key, or set another KEY_PREFIX",
  ],
];

/**
 * Converts an error of Redis, or of the connection to Redis, into an {@linkcode ApiError}. The error's sentence begins
 * with "Cannot" and `verb`, for example "Cannot publish: …". An `ApiError` is returned unchanged.
 */
export function toLogError(error: unknown, verb: string): ApiError {
  if (error instanceof ApiError) return error;
  const retry = verb === "publish" ? PUBLISH_AGAIN : RETRY;
  const text = error instanceof Error ? error.message : String(error);
  for (const [prefix, code, state, advice = retry] of KNOWN_ERRORS) {
    if (new RegExp(`\\b${prefix}\\b`).test(text)) {
      return new ApiError(code, `Cannot ${verb}: ${state}; ${advice}`);
    }
  }
  if (error instanceof DeadlineError) {
    return new ApiError(
      "log_timeout",
      `Cannot ${verb}: Redis does not reply in time; ${retry}`,
    );
  }
  // Redis' own errors begin with a word in capitals. Any other error means that the connection has ended.
  if (/^[A-Z]{3,} /.test(text)) {
    return new ApiError(
      "log_failed",
      `Cannot ${verb}: Redis rejected the command; ${retry}`,
    );
  }
  return new ApiError(
    "log_unreachable",
    `Cannot ${verb}: Redis is not reachable; ${retry}`,
  );
}
