import assert from "node:assert/strict";
import { ApiError } from "../../../lib/errors.ts";
import { toLogError } from "../../../lib/redis/errors.ts";
import { DeadlineError } from "../../../lib/util/deadline.ts";

/** Errors as Redis 7 and node-redis write them, and what publishers receive. */
const ERRORS: readonly [error: unknown, code: string, sentence: RegExp][] = [
  [
    "READONLY You can't write against a read only replica.",
    "log_read_only",
    /is a read-only replica; try again later/,
  ],
  [
    "OOM command not allowed when used memory > 'maxmemory'.",
    "log_full",
    /out of memory/,
  ],
  [
    "MISCONF Redis is configured to save RDB snapshots",
    "log_full",
    /write to its disk/,
  ],
  [
    "LOADING Redis is loading the dataset in memory",
    "log_loading",
    /still loading/,
  ],
  [
    "ERR Error running script: @user_script:3: LOADING Redis is loading",
    "log_loading",
    /still loading/,
  ],
  [
    "BUSY Redis is busy running a script.",
    "log_loading",
    /busy with a script/,
  ],
  [
    "NOAUTH Authentication required.",
    "log_denied",
    /requires a password; check the user name and the password in REDIS_URL$/,
  ],
  [
    "WRONGPASS invalid username-password pair or user is disabled.",
    "log_denied",
    /rejects the password; check the user name and the password in REDIS_URL$/,
  ],
  [
    "NOPERM User roomcast has no permissions to run the 'evalsha' command",
    "log_denied",
    /^Cannot publish: the Redis user lacks a permission; compare its ACL with docs\/security\.md$/,
  ],
  [
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "log_wrong_type",
    /delete that key, or set another KEY_PREFIX$/,
  ],
  ["ERR unknown command 'XADD'", "log_failed", /rejected the command/],
  [new DeadlineError("a ping"), "log_timeout", /does not reply in time/],
  [new Error("Socket closed unexpectedly"), "log_unreachable", /not reachable/],
  [new Error("connect ECONNREFUSED"), "log_unreachable", /not reachable/],
  [undefined, "log_unreachable", /not reachable/],
];

for (const [error, code, sentence] of ERRORS) {
  Deno.test(`toLogError() converts ${JSON.stringify(String(error))} into ${code}`, () => {
    for (const thrown of [error, new Error(String(error))]) {
      if (error instanceof Error && thrown !== error) continue;
      const { code: actual, message, retryable } = toLogError(
        thrown,
        "publish",
      );
      assert.equal(actual, code);
      assert.match(message, sentence);
      assert.match(message, /^Cannot publish: [^;]+; [^;]+$/);
      assert.equal(retryable, true);
    }
  });
}

Deno.test("toLogError() advises to publish with the same idempotency key only if the verb is publish", () => {
  const error = new Error("OOM");
  assert.match(toLogError(error, "publish").message, /idempotency key$/);
  assert.match(toLogError(error, "read the log").message, /; try again later$/);
});

Deno.test("toLogError() returns an ApiError unchanged", () => {
  const error = new ApiError("draining", "Cannot publish: stopping; retry");
  assert.equal(toLogError(error, "publish"), error);
});

Deno.test("ApiError.isOutage is true only for the codes log_unreachable and log_loading", () => {
  for (const [error, code] of ERRORS) {
    assert.equal(
      toLogError(error, "publish").isOutage,
      code === "log_unreachable" || code === "log_loading",
      code,
    );
  }
});
