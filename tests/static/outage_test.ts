import assert from "node:assert/strict";
import { Outage } from "../../static/outage.js";

Deno.test("Outage.result() counts as missed the messages that arrive after the connect and before their room is joined", () => {
  const outage = new Outage(1000, ["a", "b"]);
  outage.message("a");
  outage.attempt(6000);
  outage.connected();
  assert.equal(outage.message("a"), true);
  assert.equal(outage.message("a"), true);
  outage.settled("a");
  assert.equal(outage.message("a"), false);
  assert.equal(outage.isOver, false);
  assert.equal(outage.message("b"), true);
  outage.settled("b");
  assert.equal(outage.isOver, true);
  assert.deepEqual(outage.result(6084), {
    awayMs: 5000,
    recoveryMs: 84,
    missed: 3,
    gaps: 0,
  });
});

Deno.test("Outage.isOver stays false if the connection breaks again before all rooms are joined", () => {
  const outage = new Outage(0, ["a", "b"]);
  outage.attempt(1000);
  outage.connected();
  outage.settled("a");
  outage.attempt(3000);
  assert.equal(outage.isOver, false);
  outage.settled("b");
  assert.equal(outage.isOver, false);
  outage.connected();
  assert.equal(outage.isOver, true);
  outage.gap();
  const { awayMs, gaps } = outage.result(3100);
  assert.deepEqual({ awayMs, gaps }, { awayMs: 3000, gaps: 1 });
});
