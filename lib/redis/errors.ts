/**
 * What Redis' refusals are called to a publisher.
 *
 * @module
 */
import { DeadlineError } from "../util/deadline.ts";
import { ApiError, type ErrorCode } from "../errors.ts";

/** What all are told to do, what publishers besides, and what helps where waiting does not. */
const LATER = "try again later";
const PUBLISHERS = `${LATER}; publish again with the same idempotency key`;
const OWN_ADVICE: Readonly<Record<string, string>> = {
  NOAUTH: "look at the name and the password in REDIS_URL",
  WRONGPASS: "look at the name and the password in REDIS_URL",
  NOPERM: "give its user the ACL of docs/operating.md",
  WRONGTYPE: "delete it, or give Roomcast another KEY_PREFIX",
};

/** First words of Redis' errors, what we call them, and what the caller is told. */
const REFUSALS: readonly [prefix: string, code: ErrorCode, state: string][] = [
  ["READONLY", "log_read_only", "Redis is a read-only replica"],
  ["OOM", "log_full", "Redis is out of memory"],
  ["MISCONF", "log_full", "Redis cannot write to its disk"],
  ["LOADING", "log_loading", "Redis is still loading its data"],
  ["MASTERDOWN", "log_loading", "Redis has no master"],
  ["UNBLOCKED", "log_loading", "Redis is becoming a replica"],
  ["BUSY", "log_loading", "Redis is busy with a script"],
  ["CLUSTERDOWN", "log_loading", "the Redis cluster is down"],
  ["NOREPLICAS", "log_read_only", "Redis has too few replicas to take writes"],
  ["NOAUTH", "log_denied", "Redis asks for a password"],
  ["WRONGPASS", "log_denied", "Redis refuses the password"],
  ["NOPERM", "log_denied", "Redis does not permit a command"],
  ["WRONGTYPE", "log_wrong_type", "a Redis key of ours holds something else"],
];

/** Whether Redis is just away, which is said where the connection is lost, and once. */
export function isOutage({ code }: ApiError): boolean {
  return code === "log_unreachable" || code === "log_loading";
}

/**
 * Names an error of Redis, or of the way to it, in the closed list. `verb` begins the sentence: "Cannot publish: …".
 */
export function toLogError(error: unknown, verb: string): ApiError {
  if (error instanceof ApiError) return error;
  const advice = verb === "publish" ? PUBLISHERS : LATER;
  const text = error instanceof Error ? error.message : String(error);
  for (const [prefix, code, state] of REFUSALS) {
    if (new RegExp(`\\b${prefix}\\b`).test(text)) {
      const own = OWN_ADVICE[prefix] ?? advice;
      return new ApiError(code, `Cannot ${verb}: ${state}; ${own}`);
    }
  }
  if (error instanceof DeadlineError) {
    return new ApiError(
      "log_timeout",
      `Cannot ${verb}: Redis is silent; ${advice}`,
    );
  }
  // What Redis says of our commands begins with a word in capitals; anything else is the connection's end.
  if (/^[A-Z]{3,} /.test(text)) {
    return new ApiError(
      "log_failed",
      `Cannot ${verb}: Redis refused the command; ${advice}`,
    );
  }
  return new ApiError(
    "log_unreachable",
    `Cannot ${verb}: Redis is not reachable; ${advice}`,
  );
}
