/** The short form of `deno task fuzz`, with a new seed each time. */
import assert from "node:assert/strict";
import { caseOf, fuzz } from "../support/fuzz/fuzz.ts";

/** Number of cases. All of them take about 10 s. */
const COUNT = 5000;

Deno.test("a node survives malformed frames, packets, bodies, tokens and requests, and lets nothing through", async () => {
  const seed = Math.floor(Math.random() * 1e9);
  const { wrong, canary, statuses, connected } = await fuzz({
    seed,
    count: COUNT,
    // Other tests run at the same time.
    hangMs: 5000,
    memoryMax: 1 << 30,
    waitsForEnd: false,
  });
  assert.deepEqual(
    wrong,
    [],
    `for the same cases again: deno task fuzz ${seed} ${COUNT}`,
  );
  assert.ok(canary.published > 10, "the canary was not served");
  assert.ok(connected > COUNT / 20, `only ${connected} clients connected`);
  for (const reached of ["requests 200", "requests 400", "tokens 401"]) {
    assert.ok(statuses.has(reached), `no ${reached}`);
  }
});

Deno.test("caseOf() repeats a case by its numbers", () => {
  for (let number = 0; number < 20; number++) {
    assert.deepEqual(caseOf(7, number), caseOf(7, number));
    assert.notDeepEqual(caseOf(7, number), caseOf(8, number));
  }
});
