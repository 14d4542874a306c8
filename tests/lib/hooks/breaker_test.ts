import assert from "node:assert/strict";
import { Breaker } from "../../../lib/hooks/breaker.ts";

/** A breaker with a clock that tests move. */
class Setup {
  now = 0;
  readonly changes: string[] = [];
  readonly breaker = new Breaker({
    onOpen: () => this.changes.push("open"),
    onClose: () => this.changes.push("close"),
    now: () => this.now,
  });

  /** Makes a call. Returns whether it was permitted. */
  call(hasResponded: boolean): boolean {
    const permit = this.breaker.enter();
    if (permit !== undefined) this.breaker.settle(permit, hasResponded);
    return permit !== undefined;
  }

  fail(count: number): void {
    for (let i = 0; i < count; i++) assert.ok(this.call(false));
  }
}

Deno.test("Breaker opens after five calls in a row without a response, and not before", () => {
  const setup = new Setup();
  setup.fail(4);
  assert.ok(setup.call(true));
  setup.fail(4);
  assert.deepEqual(setup.changes, []);
  setup.fail(1);
  assert.deepEqual(setup.changes, ["open"]);
  assert.equal(setup.call(true), false);
});

Deno.test("Breaker permits one probe at a time, after 1, 2, 4, 8, 10 and 10 s", () => {
  const setup = new Setup();
  setup.fail(5);
  for (const seconds of [1, 2, 4, 8, 10, 10]) {
    setup.now += seconds * 1000 - 1;
    assert.equal(setup.breaker.enter(), undefined);
    setup.now += 1;
    const probe = setup.breaker.enter();
    assert.ok(probe !== undefined);
    assert.equal(setup.breaker.enter(), undefined, "while the probe runs");
    setup.breaker.settle(probe, false);
  }
  assert.deepEqual(setup.changes, ["open"]);
});

Deno.test("Breaker closes when a probe gets a response, and then starts again with 1 s", () => {
  const setup = new Setup();
  setup.fail(5);
  setup.now += 1000;
  setup.fail(1);
  setup.now += 2000;
  assert.ok(setup.call(true));
  assert.deepEqual(setup.changes, ["open", "close"]);
  setup.fail(5);
  setup.now += 1000;
  assert.ok(setup.call(true));
  assert.deepEqual(setup.changes, ["open", "close", "open", "close"]);
});

Deno.test("Breaker ignores the outcome of calls that began before it opened or closed", () => {
  const setup = new Setup();
  const before = [1, 2, 3].map(() => setup.breaker.enter());
  setup.fail(5);
  for (const permit of before) {
    if (permit !== undefined) setup.breaker.settle(permit, true);
  }
  assert.equal(setup.call(true), false);
  setup.now += 1000;
  assert.ok(setup.call(true));
  assert.ok(setup.call(true));
});
