/** Tests of the limits of pending publishes. */
import assert from "node:assert/strict";
import type { PublishResult } from "../../../lib/log/log.ts";
import { RedisLog } from "../../../lib/redis_log/redis_log.ts";
import { Redis } from "../../support/redis.ts";
import { soon, until } from "../../support/wait.ts";
import { silentReader } from "../../support/silent_reader.ts";

function codeOf([outcomes]: readonly PublishResult[][]): string {
  const [outcome] = outcomes ?? [];
  return outcome !== undefined && "error" in outcome
    ? outcome.error.code
    : "none";
}

for (
  const [what, json, fit] of [
    ["10,000 publishes", '"small"', 10_000],
    ["64 MiB of publishes", `"${"x".repeat((1 << 20) - 2)}"`, 64],
  ] as const
) {
  Deno.test(`RedisLog.append() queues ${what} while Redis does not reply, and returns overloaded for further ones at once`, async () => {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await Redis.start());
    const log = new RedisLog({
      url: redis.url,
      keyPrefix: "test",
      historySize: 1,
      historySeconds: 60,
      idempotencySeconds: 60,
      ackReplicas: 0,
      recoverySeconds: 120,
      reader: silentReader,
      observe: () => {},
    });
    stack.defer(() => log.close());
    stack.defer(() => redis.signal("SIGCONT"));
    const reachable = (): Promise<boolean> =>
      log.probe().then(() => true, () => false);
    await until("the log can be reached", reachable);
    redis.signal("SIGSTOP");
    const publish = { rooms: ["chat"], json };
    const waiting = Array.from({ length: fit }, () => log.append([publish]));
    const start = performance.now();
    const over = await soon(log.append([publish]), "it is rejected");
    assert.equal(codeOf(over), "overloaded");
    assert.ok(performance.now() - start < 500, "at once");
    const outcomes = await soon(Promise.all(waiting), "all are settled");
    assert.deepEqual(new Set(outcomes.map(codeOf)), new Set(["log_timeout"]));
    redis.signal("SIGCONT");
    await until(
      "there is room",
      async () => codeOf(await log.append([publish])) === "none",
    );
  });
}
