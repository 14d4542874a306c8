import assert from "node:assert/strict";
import { SHOWN_MAX, Timeline } from "../../static/timeline.js";

// deno-lint-ignore no-explicit-any -- a row has whatever a message has
type Row = any;

const row = (n: number): Row => ({ id: `${n}-0`, characters: 1 });
const rows = (from: number, to: number): Row[] =>
  Array.from({ length: to - from }, (_, i) => row(from + i));

function shown(timeline: Timeline): string[] {
  const ids: string[] = [];
  for (let number = timeline.from; number < timeline.to; number++) {
    ids.push((timeline.at(number) as Row).id);
  }
  return ids;
}

const ids = (from: number, to: number): string[] =>
  rows(from, to).map(({ id }) => id);

Deno.test("Timeline.append() adds each id once, but adds a gap even if a message has the same id", () => {
  const timeline = new Timeline();
  assert.equal(timeline.append(row(1)), true);
  assert.equal(timeline.append(row(1)), false);
  assert.equal(timeline.append({ ...row(1), reason: "trimmed" }), true);
  assert.equal(timeline.append({ ...row(1), reason: "trimmed" }), false);
  assert.equal(timeline.end - timeline.begin, 2);
});

Deno.test("Timeline shows the newest rows first, and then older rows at each showOlder()", () => {
  const timeline = new Timeline();
  for (const each of rows(1000, 3000)) timeline.append(each);
  timeline.showNewest();
  assert.deepEqual(shown(timeline), ids(3000 - 120, 3000));
  let oldest = 3000;
  while (timeline.from > timeline.begin) {
    timeline.showOlder();
    const now = shown(timeline);
    assert.ok(now.length <= SHOWN_MAX);
    oldest = Number(now[0]?.split("-")[0]);
  }
  assert.equal(oldest, 1000);
  while (timeline.to < timeline.end) timeline.showNewer();
  assert.deepEqual(shown(timeline), ids(3000 - SHOWN_MAX, 3000));
});

Deno.test("Timeline.prepend() adds older rows before all others, each only once", () => {
  const timeline = new Timeline();
  for (const each of rows(50, 60)) timeline.append(each);
  timeline.showNewest();
  timeline.prepend(rows(40, 52));
  assert.deepEqual(shown(timeline), ids(50, 60));
  timeline.showOlder();
  assert.deepEqual(shown(timeline), ids(40, 60));
  assert.equal(timeline.oldestId, "40-0");
});

Deno.test("Timeline.extend() shows new rows only up to its limit", () => {
  const timeline = new Timeline();
  for (const each of rows(0, 10)) timeline.append(each);
  timeline.showNewest();
  for (const each of rows(10, 1000)) timeline.append(each);
  timeline.extend();
  assert.deepEqual(shown(timeline), ids(0, SHOWN_MAX));
});

Deno.test("Timeline removes its oldest rows if its limit of rows or of characters is exceeded", () => {
  const timeline = new Timeline();
  for (const each of rows(0, 10_000)) timeline.append(each);
  timeline.showNewest();
  assert.ok(timeline.end - timeline.begin <= 5000);
  assert.ok(timeline.isCut);
  assert.deepEqual(shown(timeline), ids(10_000 - 120, 10_000));
  // What was removed can be loaded again.
  timeline.prepend(rows(4900, 5000));
  assert.equal(timeline.isCut, false);
  assert.equal(timeline.oldestId, "4900-0");

  timeline.append({ id: "10000-0", characters: 1e9 });
  assert.equal(timeline.end - timeline.begin, 1);
  assert.ok(timeline.from >= timeline.begin && timeline.to >= timeline.from);
});
