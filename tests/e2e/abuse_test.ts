/** Good clients of a node that is abused. `bench/abuse.ts` measures the same for longer. */
import assert from "node:assert/strict";
import { AbuseStage } from "../support/abuse.ts";
import { ATTACK_NAMES } from "../support/abuse_attacks.ts";

const SECONDS = 2;
/** What each attack has to reach, so that the test fails if an attack no longer attacks. */
const LIMITS: Readonly<Record<string, RegExp>> = {
  events: /limit="frames"\} [1-9]/,
  pings: /limit="frames"\} [1-9]/,
  fragments: /limit="frames"\} [1-9]/,
  connections: /limit="too_many_connections"\} [1-9]/,
  polls: /limit="packets"\} [1-9]/,
  tokens: /clients_refused_total\{code="unauthorized"\} [1-9]/,
};

Deno.test("good clients miss nothing while a node is abused in every way, and its memory stays bounded", async (t) => {
  await using stage = await AbuseStage.start();
  const before = await stage.node.memory();
  for (const name of ATTACK_NAMES) {
    await t.step(name, async () => {
      const { done, deliveries } = await stage.attack(name, SECONDS);
      assert.ok(done > 0, "the attack did something");
      assert.ok(deliveries > 0, "messages arrive during the attack");
      await stage.settle();
      const { text } = await stage.node.get("/metrics");
      assert.match(text, LIMITS[name] ?? /^/);
    });
  }
  const grown = await stage.node.memory() - before;
  assert.ok(grown < 300 << 20, `the memory grew by ${grown} bytes`);
});
