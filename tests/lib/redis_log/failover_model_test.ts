/**
 * Runs real {@linkcode Witness} objects in a model of servers, nodes, clients and publishers with random schedules.
 * Each client must receive every acknowledged message of its rooms once, or a gap.
 *
 * Each schedule is determined by its seed. To run more of them: `MODEL_RUNS=100000 deno test -A
 * tests/lib/redis_log/failover_model_test.ts`.
 */
import assert from "node:assert/strict";
import { World } from "../../support/failover_model.ts";
import type { Mutant } from "../../support/failover_redis.ts";
import { happen, reduced, scheduleOf } from "../../support/failover_steps.ts";
import type { Happening } from "../../support/failover_steps.ts";

const RUNS = Number(Deno.env.get("MODEL_RUNS") ?? 1500);

/**
 * The first steps of each schedule: three nodes that know each other, each with clients, and a replica with all data.
 */
function begin(mutant: Mutant): World {
  const world = new World(mutant);
  const settle = (rounds: number): void => {
    for (let i = 0; i < rounds; i++) {
      world.pass(60);
      for (const node of world.nodes) world.turn(node);
    }
  };
  settle(9);
  for (const [i, client] of world.clients.entries()) {
    const node = world.nodes[i % world.nodes.length];
    if (node !== undefined) client.connect(node);
  }
  settle(4);
  for (const client of world.clients) client.socket?.read(Infinity);
  world.other.replicate(Infinity);
  return world;
}

/** Runs a schedule in the model, and returns what was wrong at its end; undefined if nothing was. */
function wrongWith(
  schedule: readonly Happening[],
  mutant: Mutant = {},
): string | undefined {
  try {
    const world = begin(mutant);
    for (const happening of schedule) happen(world, happening);
    world.heal();
    return world.wrong();
  } catch (error) {
    return String((error as Error).stack);
  }
}

Deno.test("clients in the model receive every acknowledged message once, or a gap, if nodes, servers and connections fail at random", () => {
  for (let seed = 0; seed < RUNS; seed++) {
    const schedule = scheduleOf(seed);
    const wrong = wrongWith(schedule);
    if (wrong === undefined) continue;
    const kind = wrong.replace(/\d+/g, "").slice(0, 40);
    const least = reduced(
      schedule,
      (some) => wrongWith(some)?.replace(/\d+/g, "").slice(0, 40) === kind,
    );
    const steps = least.map(({ kind, who, how }) => `${kind} ${who} ${how}`);
    assert.fail(`seed ${seed}: ${wrong}\n${steps.join("\n")}`);
  }
});

/**
 * Parts of the protocol that a mutant leaves out, each with a seed: of the schedules from this seed on, one soon fails.
 */
const MUTANTS: readonly (readonly [
  left: string,
  mutant: Mutant,
  seed: number,
])[] = [
  [
    "checks that the log has the entries that the node acknowledged",
    { asksForNothing: true },
    540,
  ],
  [
    "waits with acknowledgements until the other nodes know that the node exists",
    {
      joinsAtOnce: true,
    },
    10,
  ],
  [
    "refuses to confirm an epoch that it has not read",
    { anyoneVouches: true },
    110,
  ],
  ["waits until all nodes confirm an epoch", { confirmsAlone: true }, 0],
  ["distrusts sessions of another lineage", { sameLineage: true }, 670],
  ["keeps its connections on one server", { acknowledgesLate: true }, 2050],
  ["gives messages ids that no other server gives", { plainIds: true }, 130],
];

for (const [what, mutant, from] of MUTANTS) {
  Deno.test(`the model reports an error if a node no longer ${what}`, () => {
    const seeds = Array.from({ length: 400 }, (_, i) => from + i);
    assert.ok(
      seeds.some((seed) => wrongWith(scheduleOf(seed), mutant) !== undefined),
    );
  });
}
