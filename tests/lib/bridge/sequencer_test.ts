import assert from "node:assert/strict";
import fc from "fast-check";
import { Sequencer, type Step } from "../../../lib/bridge/sequencer.ts";
import type { ReceivedItem } from "../../../lib/bridge/received_window.ts";
import { FRESH_MS, ModelNode, World } from "../../support/bridge_model.ts";

/** How often each thing happens. */
const WEIGHTS = {
  publish: 6,
  hear: 10,
  decide: 8,
  execute: 8,
  answer: 8,
  pass: 4,
  listen: 3,
  unlisten: 1,
  break: 1,
  crash: 1,
  start: 1,
  pause: 1,
  resume: 2,
} as const;
/** What only Redis does. */
const WILD = { ...WEIGHTS, save: 1, failOver: 0.5, flush: 0.2 } as const;

type Kind = keyof typeof WILD;
type Happening = { kind: Kind; node: number; amount: number };

function happenings(
  weights: Partial<Record<Kind, number>>,
): fc.Arbitrary<Happening[]> {
  const kind = fc.oneof(
    ...Object.entries(weights).map(([kind, weight]) => ({
      arbitrary: fc.constant(kind as Kind),
      weight: weight * 10,
    })),
  );
  return fc.array(
    fc.record({
      kind,
      node: fc.nat({ max: 2 }),
      amount: fc.nat({ max: 400 }),
    }),
    { minLength: 20, maxLength: 200, size: "max" },
  );
}

/** Lets something happen; `guarded`: nothing that takes the last node in step away. */
function happen(
  world: World,
  { kind, node: index, amount }: Happening,
  guarded: boolean,
): void {
  const node = world.nodes[index];
  if (node === undefined) return;
  const harms = kind === "unlisten" || kind === "crash" || kind === "pause";
  if (guarded && harms && !world.standing(node)) return;
  switch (kind) {
    case "publish":
      return world.publish(amount % 3 === 0 ? 1 : 0);
    case "pass":
      return world.pass(amount);
    case "save":
      return world.save();
    case "failOver":
      return world.failOver(amount % 2 === 0);
    case "flush":
      return world.flush();
    case "hear":
      return node.hear(1 + amount % 7);
    case "start":
      return node.start(guarded || amount % 5 > 0 ? "a" : "b");
    default:
      return node[kind]();
  }
}

function begin(): World {
  const world = new World();
  for (let i = 0; i < 3; i++) world.nodes.push(new ModelNode(world, `n${i}`));
  // One is in step at the start, so that there is something to lose.
  world.nodes[0]?.listen();
  world.settle(() => world.nodes[0]?.ingress.inStep === true);
  return world;
}

Deno.test("while one node in step lives, every message is appended once, in order, and no gap is made", () => {
  fc.assert(
    fc.property(happenings(WEIGHTS), (all) => {
      const world = begin();
      for (const one of all) happen(world, one, true);
      world.heal();
      assert.equal(world.gaps, 0);
      assert.deepEqual(world.log, world.published(0));
    }),
    { numRuns: 10_000 },
  );
});

Deno.test("whatever happens nothing is appended twice or out of order, and what is missing is told as a gap", () => {
  fc.assert(
    fc.property(happenings(WILD), (all) => {
      const world = begin();
      for (const one of all) happen(world, one, false);
      world.heal();
      const rising = world.log.filter((value) => typeof value === "number");
      assert.deepEqual(rising, [...new Set(rising)].sort((a, b) => a - b));
      assert.deepEqual(world.silentlyMissing(), []);
    }),
    { numRuns: 10_000 },
  );
});

Deno.test("a node goes on at once after it has appended, and holds back while another is at it", () => {
  const ingress = new Sequencer({ node: "n", group: "a", patienceMs: 60 });
  const place = { marker: "n.1", number: 0, group: "a" };
  ingress.listening();
  assert.deepEqual(ingress.next(0), {
    kind: "ask",
    marker: "n.1",
    anew: true,
  });
  ingress.asked("n.1", { marker: "", number: 0, group: "" });
  ingress.marker("n.1", 0);
  assert.equal(ingress.next(0).kind, "resume");
  ingress.resumed(true, place, 0);
  assert.ok(ingress.inStep);
  const heard = (heardAt: number) =>
    ingress.heard({ kind: "message", room: "chat", json: "1", heardAt });
  heard(100);
  assert.equal(ingress.next(100).kind, "append");
  ingress.announced({ ...place, number: 1 }, "another");
  heard(200);
  assert.deepEqual(ingress.next(200), { kind: "wait", ms: 60 });
  assert.equal(ingress.next(260).kind, "append");
});

Deno.test("too much that waits is given up as a whole, and the node joins anew", () => {
  const ingress = new Sequencer({ node: "n", group: "a", patienceMs: 60 });
  ingress.listening();
  ingress.next(0);
  ingress.marker("n.1", 0);
  const item = {
    kind: "message",
    room: "chat",
    json: "1",
    heardAt: 0,
  } as const;
  let taken = 0;
  while (ingress.heard(item)) taken++;
  assert.equal(taken, 100_000);
  assert.equal(ingress.pending, 0);
  const step: Step = ingress.next(0);
  assert.deepEqual(step, { kind: "ask", marker: "n.2", anew: true });
});

Deno.test("the model believes a node as long as Redis does", async () => {
  const source = await Deno.readTextFile(
    new URL("../../../lib/bridge/scripts.ts", import.meta.url),
  );
  assert.match(source, new RegExp(`FRESH_MS = ${FRESH_MS};`));
});

/** An Ingress in step at the first marker of its own. */
function standing(): Sequencer {
  const ingress = new Sequencer({ node: "n", group: "a", patienceMs: 60 });
  ingress.listening();
  ingress.next(0);
  ingress.asked("n.1", { marker: "", number: 0, group: "" });
  ingress.marker("n.1", 0);
  ingress.next(0);
  ingress.resumed(true, { marker: "n.1", number: 0, group: "a" }, 0);
  return ingress;
}

function message(value: number): ReceivedItem {
  return { kind: "message", room: "chat", json: String(value), heardAt: 0 };
}

Deno.test("what a lost subscription had heard is appended, behind the question and before any gap", () => {
  const ingress = standing();
  ingress.heard(message(1));
  ingress.lost();
  const step = ingress.next(10);
  assert.ok(step.kind === "append");
  assert.deepEqual(step.items, [message(1)]);
  ingress.failed(10);
  ingress.listening();
  const ask = ingress.next(100);
  assert.ok(ask.kind === "ask" && ask.anew);
  ingress.asked(ask.marker, { marker: "n.1", number: 0, group: "a" });
  ingress.marker(ask.marker, 101);
  assert.equal(ingress.next(102).kind, "append");
});

Deno.test("a gap is made only where the log stood still between two questions", () => {
  const ingress = standing();
  ingress.lost();
  ingress.listening();
  const place = { marker: "other.1", number: 3, group: "a" };
  const first = ingress.next(0);
  assert.ok(first.kind === "ask");
  ingress.asked(first.marker, place);
  ingress.marker(first.marker, 1);
  assert.deepEqual(ingress.next(2), { kind: "wait", ms: 248 });
  const second = ingress.next(250);
  assert.ok(second.kind === "ask");
  ingress.asked(second.marker, place);
  ingress.marker(second.marker, 251);
  assert.deepEqual(ingress.next(252), {
    kind: "resume",
    from: place,
    to: { marker: first.marker, number: 0, group: "a" },
  });
});

Deno.test("a place that others count is none of ours, and what was heard before the question may be theirs", () => {
  const ingress = standing();
  ingress.announced({ marker: "n.1", number: 0, group: "b" }, "other");
  ingress.heard(message(1));
  const ask = ingress.next(1000);
  assert.ok(ask.kind === "ask");
  ingress.asked(ask.marker, { marker: "n.1", number: 7, group: "b" });
  ingress.marker(ask.marker, 1001);
  assert.equal(ingress.inStep, false);
  assert.equal(ingress.pending, 0);
});

Deno.test("a log that has lost what it had is joined anew", () => {
  const ingress = standing();
  ingress.heard(message(1));
  const step = ingress.next(100);
  assert.ok(step.kind === "append");
  ingress.appended(step.slice, {
    outcome: "back",
    place: { marker: "n.1", number: 0, group: "a" },
  }, 101);
  const ask = ingress.next(102);
  assert.ok(ask.kind === "ask" && ask.anew);
});
