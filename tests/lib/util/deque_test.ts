import fc from "fast-check";
import assert from "node:assert/strict";
import { Deque } from "../../../lib/util/deque.ts";
import { collectGarbage } from "../../support/collect_garbage.ts";

Deno.test("Deque has the same items as an array after the same calls of push() and shift()", () => {
  const operation = fc.oneof(
    { weight: 3, arbitrary: fc.constant("push" as const) },
    { weight: 2, arbitrary: fc.constant("shift" as const) },
  );
  fc.assert(fc.property(
    fc.array(operation, { maxLength: 600, size: "max" }),
    fc.integer({ min: -3, max: 300 }),
    (operations, index) => {
      const deque = new Deque<number>(), array: number[] = [];
      for (const [n, operation] of operations.entries()) {
        if (operation === "push") {
          deque.push(n);
          array.push(n);
        } else assert.equal(deque.shift(), array.shift());
      }
      assert.equal(deque.size, array.length);
      assert.equal(deque.first, array[0]);
      assert.equal(deque.last, array.at(-1));
      assert.equal(deque.at(index), array[index]);
      assert.deepEqual(deque.slice(), array);
      const from = Math.max(index, 0);
      assert.deepEqual(deque.slice(from), array.slice(from));
    },
  ));
});

Deno.test("Deque.shift() drops the reference to the removed item", async () => {
  const deque = new Deque<object>();
  const items = Array.from({ length: 1000 }, () => {
    const item = {};
    deque.push(item);
    return new WeakRef(item);
  });
  for (let i = 0; i < 490; i++) deque.shift();
  await collectGarbage();
  const alive = items.map((item) => item.deref() !== undefined);
  assert.equal(alive.slice(0, 490).filter(Boolean).length, 0);
  assert.equal(alive.slice(490).filter(Boolean).length, 510);
});
