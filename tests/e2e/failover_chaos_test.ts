/** A short form of `deno task chaos failover`. */
import assert from "node:assert/strict";
import { failOverAll, newSeeds } from "../support/failover_chaos.ts";

Deno.test("clients get every message once and in order, or are told of the loss, while nodes and Redis fail at random", async () => {
  const outcomes = await failOverAll(newSeeds(10));
  for (const { plan, wrong, evidence, acknowledged, returns } of outcomes) {
    // To repeat a run: `deno task chaos failover <seed>`.
    assert.deepEqual(wrong, [], [plan, ...wrong, ...evidence].join("\n"));
    assert.ok(acknowledged > 20 && returns > 0, plan);
  }
});
