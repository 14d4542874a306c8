import assert from "node:assert/strict";
import fc from "fast-check";
import { Sequencer } from "../../../lib/bridge/sequencer.ts";
import type { ReceivedItem } from "../../../lib/bridge/received_window.ts";
import {
  ModelNode,
  SYNCHRONIZED_TTL_MS,
  World,
} from "../../support/bridge_model.ts";

/** The relative frequency of each random event. */
const WEIGHTS = {
  publish: 6,
  receive: 10,
  decide: 8,
  execute: 8,
  receiveReply: 8,
  pass: 4,
  subscribe: 3,
  unsubscribe: 1,
  break: 1,
  crash: 1,
  start: 1,
  pause: 1,
  resume: 2,
} as const;
/** The frequencies of {@linkcode WEIGHTS}, and those of faults of Redis itself. */
const WITH_REDIS_FAULTS = {
  ...WEIGHTS,
  save: 1,
  failOver: 0.5,
  flush: 0.2,
} as const;

/** The bridge position of an empty log. */
const NO_POSITION = { marker: "", number: 0, channelGroup: "" };

type Kind = keyof typeof WITH_REDIS_FAULTS;
type ScheduledEvent = { kind: Kind; node: number; amount: number };

function events(
  weights: Partial<Record<Kind, number>>,
): fc.Arbitrary<ScheduledEvent[]> {
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

/** Applies a random event. If `guarded` is set, skips events after which no node would be synchronized. */
function apply(
  world: World,
  { kind, node: index, amount }: ScheduledEvent,
  guarded: boolean,
): void {
  const node = world.nodes[index];
  if (node === undefined) return;
  const harms = kind === "unsubscribe" || kind === "crash" ||
    kind === "pause";
  if (guarded && harms && !world.reliableWithout(node)) return;
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
    case "receive":
      return node.receive(1 + amount % 7);
    case "start":
      return node.start(guarded || amount % 5 > 0 ? "a" : "b");
    default:
      return node[kind]();
  }
}

function begin(): World {
  const world = new World();
  for (let i = 0; i < 3; i++) world.nodes.push(new ModelNode(world, `n${i}`));
  // Synchronize one node at the start, so that messages can be lost.
  world.nodes[0]?.subscribe();
  world.settle(() => world.nodes[0]?.sequencer.synchronized === true);
  return world;
}

Deno.test("Sequencer appends every message once, in order and without a gap, as long as one synchronized node keeps running", () => {
  fc.assert(
    fc.property(events(WEIGHTS), (all) => {
      const world = begin();
      for (const one of all) apply(world, one, true);
      world.heal();
      assert.equal(world.gaps, 0);
      assert.deepEqual(world.log, world.published(0));
    }),
    { numRuns: 10_000 },
  );
});

Deno.test("if Redis fails at random, Sequencer appends no message twice or out of order, and records a gap for missing messages", () => {
  fc.assert(
    fc.property(events(WITH_REDIS_FAULTS), (all) => {
      const world = begin();
      for (const one of all) apply(world, one, false);
      world.heal();
      const rising = world.log.filter((value) => typeof value === "number");
      assert.deepEqual(rising, [...new Set(rising)].sort((a, b) => a - b));
      assert.deepEqual(world.silentlyMissing(), []);
    }),
    { numRuns: 10_000 },
  );
});

Deno.test("Sequencer appends a message at once if its own node appended last, but only after the takeover delay if another node did", () => {
  const sequencer = new Sequencer({
    node: "n",
    channelGroup: "a",
    takeoverDelayMs: 60,
  });
  const position = { marker: "n.1", number: 0, channelGroup: "a" };
  sequencer.subscribed();
  assert.deepEqual(sequencer.next(0), {
    kind: "publish_marker",
    marker: "n.1",
    outOfSync: true,
  });
  sequencer.markerPublished("n.1", NO_POSITION);
  sequencer.markerReceived("n.1", 0);
  assert.equal(sequencer.next(0).kind, "resume");
  sequencer.resumed(true, position, 0);
  assert.ok(sequencer.synchronized);
  const receive = (receivedAt: number) =>
    sequencer.received({
      kind: "message",
      room: "chat",
      json: "1",
      receivedAt,
    });
  receive(100);
  assert.equal(sequencer.next(100).kind, "append");
  sequencer.positionAnnounced({ ...position, number: 1 }, "another");
  receive(200);
  assert.deepEqual(sequencer.next(200), { kind: "wait", ms: 60 });
  assert.equal(sequencer.next(260).kind, "append");
});

Deno.test("if too many items are pending, Sequencer discards all received items and then publishes a new marker", () => {
  const sequencer = new Sequencer({
    node: "n",
    channelGroup: "a",
    takeoverDelayMs: 60,
  });
  sequencer.subscribed();
  sequencer.next(0);
  sequencer.markerReceived("n.1", 0);
  const item = {
    kind: "message",
    room: "chat",
    json: "1",
    receivedAt: 0,
  } as const;
  let accepted = 0;
  while (sequencer.received(item)) accepted++;
  assert.equal(accepted, 100_000);
  assert.equal(sequencer.pending, 0);
  assert.deepEqual(sequencer.next(0), {
    kind: "publish_marker",
    marker: "n.2",
    outOfSync: true,
  });
});

Deno.test("the model of the bridge's scripts uses the scripts' SYNCHRONIZED_TTL_MS", async () => {
  const source = await Deno.readTextFile(
    new URL("../../../lib/bridge/scripts.ts", import.meta.url),
  );
  assert.match(
    source,
    new RegExp(`SYNCHRONIZED_TTL_MS = ${SYNCHRONIZED_TTL_MS};`),
  );
});

/** Creates a sequencer that is synchronized at its own first marker. */
function synchronizedSequencer(): Sequencer {
  const sequencer = new Sequencer({
    node: "n",
    channelGroup: "a",
    takeoverDelayMs: 60,
  });
  sequencer.subscribed();
  sequencer.next(0);
  sequencer.markerPublished("n.1", NO_POSITION);
  sequencer.markerReceived("n.1", 0);
  sequencer.next(0);
  sequencer.resumed(true, { marker: "n.1", number: 0, channelGroup: "a" }, 0);
  return sequencer;
}

/** Creates a received message. */
function message(value: number): ReceivedItem {
  return { kind: "message", room: "chat", json: String(value), receivedAt: 0 };
}

Deno.test("if appending the items of a lost subscription failed, Sequencer's first step after the new marker is to append them", () => {
  const sequencer = synchronizedSequencer();
  sequencer.received(message(1));
  sequencer.subscriptionLost();
  const step = sequencer.next(10);
  assert.ok(step.kind === "append");
  assert.deepEqual(step.items, [message(1)]);
  sequencer.failed(10);
  sequencer.subscribed();
  const request = sequencer.next(100);
  assert.ok(request.kind === "publish_marker" && request.outOfSync);
  sequencer.markerPublished(request.marker, {
    marker: "n.1",
    number: 0,
    channelGroup: "a",
  });
  sequencer.markerReceived(request.marker, 101);
  assert.equal(sequencer.next(102).kind, "append");
});

Deno.test("Sequencer records a gap once two of its markers in a row have shown the same bridge position of the log", () => {
  const sequencer = synchronizedSequencer();
  sequencer.subscriptionLost();
  sequencer.subscribed();
  const position = { marker: "other.1", number: 3, channelGroup: "a" };
  const first = sequencer.next(0);
  assert.ok(first.kind === "publish_marker");
  sequencer.markerPublished(first.marker, position);
  sequencer.markerReceived(first.marker, 1);
  assert.deepEqual(sequencer.next(2), { kind: "wait", ms: 248 });
  const second = sequencer.next(250);
  assert.ok(second.kind === "publish_marker");
  sequencer.markerPublished(second.marker, position);
  sequencer.markerReceived(second.marker, 251);
  assert.deepEqual(sequencer.next(252), {
    kind: "resume",
    from: position,
    to: { marker: first.marker, number: 0, channelGroup: "a" },
  });
});

Deno.test("Sequencer drops the items that it received before its new marker if the log's bridge position has another channel group", () => {
  const sequencer = synchronizedSequencer();
  sequencer.positionAnnounced(
    { marker: "n.1", number: 0, channelGroup: "b" },
    "other",
  );
  sequencer.received(message(1));
  const request = sequencer.next(1000);
  assert.ok(request.kind === "publish_marker");
  sequencer.markerPublished(request.marker, {
    marker: "n.1",
    number: 7,
    channelGroup: "b",
  });
  sequencer.markerReceived(request.marker, 1001);
  assert.equal(sequencer.synchronized, false);
  assert.equal(sequencer.pending, 0);
});

Deno.test("Sequencer publishes a new marker if an append shows that the log has lost messages", () => {
  const sequencer = synchronizedSequencer();
  sequencer.received(message(1));
  const step = sequencer.next(100);
  assert.ok(step.kind === "append");
  sequencer.appended(step.window, {
    outcome: "back",
    position: { marker: "n.1", number: 0, channelGroup: "a" },
  }, 101);
  const request = sequencer.next(102);
  assert.ok(request.kind === "publish_marker" && request.outOfSync);
});
