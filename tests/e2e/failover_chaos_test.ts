/** A short form of `deno task chaos failover`. */
import assert from "node:assert/strict";
import { failOverAll, newSeeds } from "../support/failover_chaos.ts";

Deno.test("clients get every message once and in order, or a gap, while nodes and Redis fail at random", async () => {
  const outcomes = await failOverAll(newSeeds(10));
  // To repeat a run: `deno task chaos failover <seed>`.
  const red = outcomes.filter(({ wrong }) => wrong.length > 0)
    .flatMap(({ plan, wrong, evidence }) => [plan, ...wrong, ...evidence]);
  assert.equal(red.length, 0, red.join("\n"));
  const sum = (counts: number[]) => counts.reduce((all, one) => all + one, 0);
  const acknowledged = sum(outcomes.map(({ acknowledged }) => acknowledged));
  const returns = sum(outcomes.map(({ returns }) => returns));
  assert.ok(
    acknowledged > 200 && returns > 50,
    `too little happened: ${acknowledged} acknowledged, ${returns} returns`,
  );
});
