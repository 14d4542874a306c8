/** A short form of `deno task chaos failover`. */
import assert from "node:assert/strict";
import { failOverAll, newSeeds } from "../support/failover_chaos.ts";

Deno.test("clients get every message once and in order, or are told of the loss, while nodes and Redis fail at random", async () => {
  const outcomes = await failOverAll(newSeeds(10));
  // To repeat a run: `deno task chaos failover <seed>`.
  const red = outcomes.filter(({ wrong }) => wrong.length > 0)
    .flatMap(({ plan, wrong, evidence }) => [plan, ...wrong, ...evidence]);
  assert.equal(red.length, 0, red.join("\n"));
  for (const { plan, acknowledged, returns } of outcomes) {
    assert.ok(acknowledged > 20 && returns > 0, `too little happened: ${plan}`);
  }
});
