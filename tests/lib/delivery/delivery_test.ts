import assert from "node:assert/strict";
import { Delivery } from "../../../lib/delivery/delivery.ts";
import { FanOut } from "../../../lib/delivery/fanout.ts";
import { Ring } from "../../../lib/delivery/ring.ts";
import {
  RecordingEncoder,
  RecordingSubscriber,
} from "../../support/recording_subscriber.ts";

/** Creates a delivery with one subscriber, which is in room "a". */
function setUp() {
  const ring = new Ring(10_000), gaps: string[] = [];
  const fanOut = new FanOut({
    clientBufferBytesMax: 1000,
    latestOnly: () => false,
    observe: () => {},
  });
  const subscriber = new RecordingSubscriber(new RecordingEncoder());
  fanOut.join(subscriber, "a");
  let lineages = 0;
  const delivery = new Delivery({
    ring,
    fanOut,
    onGap: (...args) => {
      // All subscribers have received the gap at this point.
      gaps.push([...args, subscriber.frames.length].join());
    },
    onLineageChanged: () => lineages++,
  });
  const lineageChanges = () => lineages;
  return { ring, subscriber, delivery, gaps, lineageChanges };
}

Deno.test("Delivery.started() adds earlier messages to the ring and writes none of them to subscribers", () => {
  const { ring, subscriber, delivery } = setUp();
  delivery.started([{ id: "3-0", room: "a", json: "1" }], "2-0");
  assert.equal(ring.floor, "2-0");
  assert.equal(ring.has("3-0"), true);
  assert.deepEqual(subscriber.writes, []);
});

Deno.test("Delivery.entries() adds messages to the ring before it writes them to subscribers", () => {
  const { ring, subscriber, delivery } = setUp();
  const inRing: boolean[] = [];
  subscriber.onWrite = () => inRing.push(ring.has("5-0"));
  delivery.entries([
    { id: "4-0", room: "a", json: "1" },
    { id: "5-0", room: "b", json: "1" },
  ]);
  assert.deepEqual(subscriber.writes, ["4-0"]);
  assert.deepEqual(inRing, [true]);
});

Deno.test("Delivery.gap() empties the ring, writes the gap to the subscribers, and then calls onGap", () => {
  const { ring, subscriber, delivery, gaps } = setUp();
  delivery.entries([{ id: "4-0", room: "a", json: "1" }]);
  delivery.gap("trimmed", "9-0", "epoch001.4-0");
  assert.equal(ring.has("4-0"), false);
  assert.equal(ring.floor, "9-0");
  assert.deepEqual(subscriber.writes, ["4-0", "gap"]);
  assert.deepEqual(gaps, ["trimmed,9-0,epoch001.4-0,2"]);
});

Deno.test("Delivery.ingressGap() keeps the ring's messages and writes the gap to the affected rooms", () => {
  const { ring, subscriber, delivery, gaps } = setUp();
  delivery.entries([{ id: "4-0", room: "a", json: "1" }]);
  delivery.ingressGap((room) => room === "b", "5-0", "4-0");
  assert.deepEqual(subscriber.writes, ["4-0"]);
  delivery.ingressGap((room) => room === "a", "6-0", "5-0");
  assert.equal(subscriber.frames.at(-1)?.gap?.reason, "ingress");
  assert.equal(ring.has("4-0"), true);
  assert.deepEqual(gaps, []);
});

Deno.test("Delivery.lineageChanged() calls onLineageChanged", () => {
  const { delivery, lineageChanges } = setUp();
  delivery.lineageChanged();
  assert.equal(lineageChanges(), 1);
});
