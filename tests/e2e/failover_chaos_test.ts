/** A short form of `deno task chaos failover`. */
import assert from "node:assert/strict";
import { failOverAll, newSeeds } from "../support/failover_chaos.ts";

Deno.test("nodes and Redis fail at random: every client gets every message once, in order, or is told of the loss", async () => {
  const outcomes = await failOverAll(newSeeds(10));
  for (const { plan, wrong, evidence, acknowledged, returns } of outcomes) {
    // A run can be repeated: `deno task chaos failover <seed>`.
    assert.deepEqual(wrong, [], [plan, ...wrong, ...evidence].join("\n"));
    assert.ok(acknowledged > 20 && returns > 0, plan);
  }
});
