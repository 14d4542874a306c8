import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type BridgePosition,
  type ReceivedItem,
  ReceivedWindow,
} from "../../../lib/bridge/received_window.ts";

const GROUP = "a";

function message(json: string): ReceivedItem {
  return { kind: "message", room: "chat", json, receivedAt: 0 };
}

function marker(name: string): ReceivedItem {
  return { kind: "marker", marker: name, receivedAt: 0 };
}

/** Creates a window after the marker `m0` that has received `items`. */
function windowOf(items: readonly ReceivedItem[]): ReceivedWindow {
  const window = new ReceivedWindow("m0", GROUP);
  for (const item of items) window.push(item);
  return window;
}

/** Returns all items that a window holds. */
function itemsOf(window: ReceivedWindow): ReceivedItem[] {
  return window.batch(Infinity, Infinity);
}

/** Creates random items, among them markers `m1`, `m2`, …, each of which occurs once. */
const items: fc.Arbitrary<ReceivedItem[]> = fc.array(
  fc.constantFrom("message", "refused", "marker"),
  { maxLength: 30 },
).map((kinds) => {
  let markers = 0;
  return kinds.map((kind, index): ReceivedItem =>
    kind === "message"
      ? message(String(index))
      : kind === "marker"
      ? marker(`m${++markers}`)
      : { kind: "refused", reason: "empty", receivedAt: index }
  );
});

/** Returns the bridge position directly before each item and, as the last element, the position after all items. */
function positionsOf(items: readonly ReceivedItem[]): BridgePosition[] {
  let position = { marker: "m0", number: 0, channelGroup: GROUP };
  return [
    position,
    ...items.map((item) =>
      position = item.kind === "marker"
        ? { ...position, marker: item.marker, number: 0 }
        : { ...position, number: position.number + 1 }
    ),
  ];
}

Deno.test("advanceTo() drops exactly the items before the given position if the position lies in the window", () => {
  fc.assert(fc.property(items, fc.nat(), (items, choice) => {
    const window = windowOf(items);
    const positions = positionsOf(items);
    const index = choice % positions.length;
    const position = positions[index];
    assert.ok(position);
    assert.equal(window.advanceTo(position), true);
    assert.deepEqual(itemsOf(window), items.slice(index));
    assert.deepEqual(window.start, position);
    assert.equal(window.size, items.length - index);
  }));
});

Deno.test("advanceTo() drops nothing if the given position lies before the window", () => {
  const window = windowOf([message("1"), message("2")]);
  const start = window.start;
  window.advanceTo({ ...start, number: 1 });
  assert.equal(window.advanceTo(start), true);
  assert.deepEqual(itemsOf(window), [message("2")]);
});

Deno.test("advanceTo() drops all items up to the next marker if the given position lies after the window's last item", () => {
  const window = windowOf([message("1"), marker("m1"), message("2")]);
  assert.equal(window.advanceTo({ ...window.start, number: 9 }), true);
  assert.deepEqual(itemsOf(window), [marker("m1"), message("2")]);
  assert.equal(window.start.number, 1);
});

Deno.test("advanceTo() returns false and drops nothing if the window has never contained the given position's marker", () => {
  const items = [message("1"), marker("m1"), message("2")];
  const window = windowOf(items);
  assert.equal(window.advanceTo({ ...window.start, marker: "m9" }), false);
  assert.equal(window.advanceTo({ ...window.start, marker: "" }), false);
  assert.deepEqual(itemsOf(window), items);
});

Deno.test("advanceTo() returns false if the window has already dropped the given position's marker", () => {
  const window = windowOf([marker("m1"), message("1")]);
  const { start } = window;
  assert.equal(window.advanceTo({ ...start, marker: "m1" }), true);
  assert.equal(window.advanceTo(start), false);
  assert.deepEqual(itemsOf(window), [message("1")]);
});

Deno.test("advanceTo() returns false and drops nothing if the given position has another channel group", () => {
  const window = windowOf([message("1")]);
  const position = { marker: "m0", number: 1, channelGroup: "b" };
  assert.equal(window.advanceTo(position), false);
  assert.equal(window.size, 1);
});

Deno.test("batch() returns as many of the oldest items as both limits allow, but at least one item", () => {
  const window = windowOf(["1", "22", "333"].map(message));
  const bytes = (count: number) =>
    windowOf(itemsOf(window).slice(0, count)).bytes;
  assert.deepEqual(window.batch(2, Infinity), ["1", "22"].map(message));
  assert.deepEqual(window.batch(9, bytes(2)), ["1", "22"].map(message));
  assert.deepEqual(window.batch(9, bytes(2) - 1), [message("1")]);
  assert.deepEqual(window.batch(9, 0), [message("1")]);
  assert.deepEqual(windowOf([]).batch(9, 0), []);
  assert.equal(window.size, 3);
});

Deno.test("ReceivedWindow.bytes is 0 before the first item is added and after all items are dropped", () => {
  fc.assert(fc.property(items, (items) => {
    const window = windowOf(items);
    assert.equal(window.bytes > 0, items.length > 0);
    const end = positionsOf(items).at(-1);
    assert.ok(end);
    window.advanceTo(end);
    assert.equal(window.bytes, 0);
  }));
});
