import fc from "fast-check";
import assert from "node:assert/strict";
import { entryBytes, Ring } from "../../../lib/delivery/ring.ts";
import type { Entry } from "../../../lib/log/log.ts";
import { compareIds, idBefore } from "../../../lib/log/position.ts";

const ROOMS = ["a", "b", "c"];

/** Generates a message: its room, the time since the message before it in ms, and the length of its JSON. */
const message = fc.record({
  room: fc.constantFrom(...ROOMS),
  afterMs: fc.nat(3),
  length: fc.nat(200),
});

function entriesOf(
  messages: readonly { room: string; afterMs: number; length: number }[],
): Entry[] {
  let ms = 1_000, seq = 0;
  return messages.map(({ room, afterMs, length }) => {
    seq = afterMs === 0 ? seq + 1 : 0;
    ms += afterMs;
    return { id: `${ms}-${seq}`, room, json: `"${"x".repeat(length)}"` };
  });
}

Deno.test("Ring.after() returns the same messages as a plain array of the newest messages, for every room and id", () => {
  fc.assert(fc.property(
    fc.array(message, { maxLength: 60 }),
    fc.integer({ min: 500, max: 20_000 }),
    (messages, bytesMax) => {
      const ring = new Ring(bytesMax), floor = "999-5";
      ring.reset(floor);
      const entries = entriesOf(messages);
      for (const entry of entries) ring.push(entry);

      // The ring may keep any number of messages, but they must be the newest, without a gap.
      const kept = entries.filter(({ id }) => ring.has(id));
      assert.deepEqual(kept, entries.slice(entries.length - kept.length));
      const dropped = entries.length - kept.length;
      assert.equal(ring.floor, entries[dropped - 1]?.id ?? floor);

      const ids = ["0-0", floor, ...entries.map(({ id }) => id), "5000-0"];
      for (const id of ids.flatMap((id) => [id, idBefore(`${id}1`)])) {
        assert.equal(ring.covers(id), compareIds(id, ring.floor) >= 0, id);
        assert.equal(ring.has(id), kept.some((entry) => entry.id === id), id);
        for (const room of ROOMS) {
          const expected = kept.filter((entry) =>
            entry.room === room && compareIds(entry.id, id) > 0
          );
          assert.deepEqual(ring.after(room, id), expected, `${room} ${id}`);
        }
      }
    },
  ));
});

Deno.test("Ring.bytes never exceeds the ring's limit and is 0 when the ring is empty, and droppedBytes has the rest", () => {
  fc.assert(fc.property(
    fc.array(message, { maxLength: 60 }),
    fc.integer({ min: 0, max: 10_000 }),
    (messages, bytesMax) => {
      const ring = new Ring(bytesMax);
      let total = 0;
      for (const entry of entriesOf(messages)) {
        const before = ring.bytes;
        ring.push(entry);
        total += entryBytes(entry);
        assert.equal(ring.bytes + ring.droppedBytes, total);
        assert.ok(ring.bytes <= bytesMax);
        const least = 2 * entry.json.length;
        // No message was removed that still fitted into the ring.
        if (ring.floor === "0-0") assert.ok(ring.bytes >= before + least);
      }
      ring.reset("1-0");
      assert.equal(ring.bytes, 0);
      assert.equal(ring.droppedBytes, total);
    },
  ));
});

Deno.test("Ring.push() removes a message that is as large as the ring's limit when the next message is added", () => {
  const ring = new Ring(3000);
  const large = { id: "1-0", room: "a", json: "x".repeat(600) };
  ring.push(large);
  assert.deepEqual(ring.after("a", "0-0"), [large]);
  ring.push({ id: "2-0", room: "b", json: "1" });
  assert.deepEqual(ring.after("a", "0-0"), []);
  assert.equal(ring.floor, "1-0");
  assert.equal(ring.has("1-0"), false);
});

Deno.test("Ring.after() returns the same array for the same arguments until the room gets a message", () => {
  const ring = new Ring(3000);
  const push = (id: string, room: string) => ring.push({ id, room, json: "1" });
  push("1-0", "a");
  push("2-0", "a");
  const list = ring.after("a", "1-0");
  push("3-0", "b");
  assert.equal(ring.after("a", "1-0"), list);
  assert.notEqual(ring.after("a", "0-0"), list);
  push("4-0", "a");
  assert.deepEqual(ring.after("a", "1-0").map(({ id }) => id), ["2-0", "4-0"]);
  // A list that was returned earlier does not change, even if its messages are removed from the ring.
  const all = ring.after("a", "0-0");
  for (let n = 5; n < 20; n++) push(`${n}-0`, "b");
  assert.deepEqual(ring.after("a", "0-0"), []);
  assert.deepEqual(all.map(({ id }) => id), ["1-0", "2-0", "4-0"]);
});

Deno.test("Ring.reset() removes all messages and sets the floor to the given id", () => {
  const ring = new Ring(3000);
  ring.push({ id: "1-0", room: "a", json: "1" });
  ring.push({ id: "5001-0", room: "a", json: "1" });
  assert.equal(ring.spanMs, 5000);
  ring.reset("9000-3");
  assert.equal(ring.spanMs, 0);
  assert.equal(ring.floor, "9000-3");
  assert.equal(ring.has("5001-0"), false);
  assert.equal(ring.covers("9000-2"), false);
  assert.equal(ring.covers("9000-3"), true);
  assert.deepEqual(ring.after("a", "0-0"), []);
});

Deno.test("Ring.bytes counts the meta of messages, and forgets it with them", () => {
  const ring = new Ring(10_000);
  ring.reset("999-0");
  const plain = { id: "1000-0", room: "a", json: "1" };
  ring.push(plain);
  const { bytes } = ring;
  const meta = { event: "e".repeat(128) };
  ring.push({ ...plain, id: "1000-1", meta });
  assert.ok(ring.bytes - bytes >= bytes + 256, `${ring.bytes}`);
  for (let i = 2; i < 1000; i++) ring.push({ ...plain, id: `1000-${i}`, meta });
  for (let i = 1000; i < 2000; i++) ring.push({ ...plain, id: `1000-${i}` });
  assert.equal(ring.bytes % bytes, 0);
  assert.ok(ring.bytes <= 10_000);
});
