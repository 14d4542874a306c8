import assert from "node:assert/strict";
import {
  type Case,
  type Happening,
  judgeFailover,
  type Published,
} from "./failover_judge.ts";

/** A publish of `key` that began at `sentAt` and was acknowledged 2 ms later; its id is its number and its time. */
function publish(key: string, sentAt: number, room = "a"): Published {
  return { key, room, sentAt, acknowledged: { at: sentAt + 2, id: idOf(key) } };
}

/** Returns the id of the message with this key. The keys are `m1`, `m2`, …, in the order of the log. */
function idOf(key: string): string {
  return `${key.slice(1)}-0`;
}

function got(key: string, at: number, room = "a"): Happening {
  return { kind: "message", at, room, key, id: idOf(key) };
}

function connected(at: number, recovered = false): Happening {
  return { kind: "connected", at, recovered };
}

function joined(at: number, room = "a"): Happening {
  return { kind: "joined", at, room };
}

function gap(at: number, room = "a"): Happening {
  return { kind: "gap", at, room, reason: "epoch" };
}

function leaving(at: number, room = "a"): Happening {
  return { kind: "leaving", at, room };
}

function answered(
  at: number,
  keys: readonly string[] = [],
  { since = true, recovered = true, room = "a" } = {},
): Happening {
  const messages = keys.map((key) => ({ key, id: idOf(key) }));
  return { kind: "answered", at, room, since, recovered, messages };
}

/** Returns the judge's errors for one client with this timeline and these publishes. */
function judge(
  published: readonly Published[],
  happenings: readonly Happening[],
  rest: Partial<Case> = {},
): readonly string[] {
  const timelines = [{ client: "c", happenings }];
  return judgeFailover({ published, timelines, ...rest }).wrong;
}

const START = [connected(0), joined(1)];
const THREE = [publish("m1", 10), publish("m2", 20), publish("m3", 30)];

Deno.test("judgeFailover accepts a client that received every message once and in order", () => {
  const all = [got("m1", 12), got("m2", 22), got("m3", 32)];
  assert.deepEqual(judge(THREE, [...START, ...all]), []);
});

Deno.test("judgeFailover reports a single message that did not arrive", () => {
  const all = [got("m1", 12), got("m2", 22), got("m3", 32)];
  for (const missing of all) {
    const rest = all.filter((one) => one !== missing);
    const [first = "", ...others] = judge(THREE, [...START, ...rest]);
    assert.match(first, /^c in a lost m\d \(sent at \d0, acknowledged as/);
    assert.deepEqual(others, []);
  }
});

Deno.test("judgeFailover reports a lost message if the client then reconnected with recovered: true", () => {
  const away: Happening = { kind: "disconnected", at: 15 };
  const some = [...START, got("m1", 12), away, connected(25, true)];
  assert.match(
    judge(THREE, [...some, got("m3", 32)]).join(),
    /^c in a lost m2 .*, after recovered: true$/,
  );
  assert.deepEqual(judge(THREE, [...some, got("m2", 26), got("m3", 32)]), []);
});

Deno.test("judgeFailover requires only messages that were published after a connect with recovered: false", () => {
  const some = [...START, got("m1", 12), connected(25, false), joined(26)];
  assert.deepEqual(judge(THREE, [...some, got("m3", 32)]), []);
  assert.match(judge(THREE, some).join(), /^c in a lost m3/);
  // The client is no longer in a room that it was in before.
  const other = [...START, joined(2, "b"), connected(25), joined(26)];
  assert.deepEqual(judge([publish("m4", 40, "b")], other), []);
});

Deno.test("judgeFailover requires only messages that were published into the client's room", () => {
  const two = [publish("m1", 10), publish("m2", 20, "b")];
  assert.deepEqual(judge(two, [...START, got("m1", 12)]), []);
});

Deno.test("judgeFailover accepts a loss if the client is notified later", () => {
  const rest = [got("m1", 12), got("m3", 32)];
  const verdict = judgeFailover({
    published: THREE,
    timelines: [{ client: "c", happenings: [...START, ...rest, gap(99)] }],
  });
  assert.deepEqual(verdict, {
    wrong: [],
    notified: 1,
    notifiedEarly: 0,
    again: 0,
  });
});

Deno.test("judgeFailover ignores the gap of another room", () => {
  const some = [...START, joined(2, "b"), got("m1", 12), got("m3", 32)];
  assert.match(judge(THREE, [...some, gap(99, "b")]).join(), /lost m2/);
});

Deno.test("judgeFailover accepts a gap before the acknowledgement if the publish had begun before the gap", () => {
  const late = [{ ...publish("m2", 20), acknowledged: { at: 90, id: "2-0" } }];
  const verdict = judgeFailover({
    published: late,
    timelines: [{ client: "c", happenings: [...START, gap(30)] }],
  });
  assert.deepEqual(verdict, {
    wrong: [],
    notified: 1,
    notifiedEarly: 1,
    again: 0,
  });
  assert.match(judge(late, [...START, gap(10)]).join(), /lost m2/);
});

Deno.test("judgeFailover reports a message that arrives twice unless the client was notified in between", () => {
  const twice = (...between: Happening[]) =>
    judge(THREE.slice(0, 1), [
      ...START,
      got("m1", 12),
      ...between,
      got("m1", 40),
    ]);
  assert.deepEqual(twice(), [
    "c in a got twice m1 (1-0 at 40), before as 1-0 at 12",
  ]);
  assert.deepEqual(twice(connected(30, true)), [
    "c in a got twice m1 (1-0 at 40), before as 1-0 at 12",
  ]);
  assert.deepEqual(twice(leaving(30), answered(31)), [
    "c in a got twice m1 (1-0 at 40), before as 1-0 at 12",
  ]);
  const refused = answered(31, [], { recovered: false });
  assert.deepEqual(twice(leaving(30), refused), []);
  assert.deepEqual(twice(gap(30)), []);
  assert.deepEqual(twice(connected(30, false), joined(31)), []);
});

Deno.test("judgeFailover reports a message that arrives twice with different ids", () => {
  const again: Happening = { ...got("m1", 40), id: "9-0" } as Happening;
  assert.deepEqual(
    judge(THREE.slice(0, 1), [...START, got("m1", 12), again]),
    ["c in a got twice m1 (9-0 at 40), before as 1-0 at 12"],
  );
});

Deno.test("judgeFailover reports an id that is smaller than the previous one", () => {
  const all = [got("m2", 22), got("m1", 23), got("m3", 32)];
  assert.deepEqual(judge(THREE, [...START, ...all]), [
    "c in a got out of order m1 (1-0 at 23) after 2-0",
  ]);
  const notified = [got("m2", 22), gap(23), got("m1", 24), got("m3", 32)];
  assert.deepEqual(judge(THREE, [...START, ...notified]), []);
});

Deno.test("judgeFailover requires no message from before a join or after a leave", () => {
  assert.deepEqual(
    judge(THREE, [connected(0), joined(15), got("m2", 22), leaving(25)]),
    [],
  );
  const plain = answered(26, [], { since: false, recovered: false });
  const rejoined = [...START, leaving(5), plain, got("m3", 32)];
  assert.deepEqual(judge(THREE, rejoined), []);
  assert.match(judge(THREE, rejoined.slice(0, -1)).join(), /lost m3/);
});

Deno.test("judgeFailover requires the messages after the position that the client sent with a join", () => {
  const left = [...START, got("m1", 12), leaving(15)];
  const whole = [...left, answered(25, ["m2"]), got("m3", 32)];
  assert.deepEqual(judge(THREE, whole), []);
  const hole = [...left, answered(25), got("m3", 32)];
  assert.match(judge(THREE, hole).join(), /lost m2/);
  const notified = [...left, answered(25, [], { recovered: false })];
  assert.deepEqual(judge(THREE, [...notified, got("m3", 32)]), []);
});

Deno.test("judgeFailover accepts repeated messages of a join answer only if the connection broke right after the answer", () => {
  const start = [...START, leaving(5), answered(40, ["m1", "m2", "m3"])];
  const back = (at: number): Happening[] => [
    { kind: "disconnected", at },
    connected(at + 10, true),
    got("m3", at + 11),
  ];
  const verdict = judgeFailover({
    published: THREE,
    timelines: [{ client: "c", happenings: [...start, ...back(45)] }],
  });
  assert.deepEqual([verdict.wrong, verdict.again], [[], 1]);
  assert.deepEqual(judge(THREE, [...start, ...back(400)]), [
    "c in a got twice m3 (3-0 at 411), before as 3-0 at 40",
  ]);
});

Deno.test("judgeFailover reports a received message that the log has lost, unless the client is notified afterwards", () => {
  const log = new Map([["a", [{ key: "m1", id: "1-0" }]]]);
  const some = [...START, got("m1", 12), got("m2", 22)];
  const two = THREE.slice(0, 2);
  assert.deepEqual(judge(two, some, { log }), [
    "c in a was not notified of undone m2 (2-0, got at 22)",
  ]);
  assert.deepEqual(judge(two, [...some, gap(30)], { log }), []);
  assert.deepEqual(judge(two, [...some, connected(30), joined(31)]), []);
});

Deno.test("judgeFailover requires a message that was not acknowledged but is in the log", () => {
  const one = [{ key: "m1", room: "a", sentAt: 10 }];
  assert.deepEqual(judge(one, START), []);
  const log = new Map([["a", [{ key: "m1", id: "1-0" }]]]);
  assert.deepEqual(judge(one, START, { log }), [
    "c in a lost m1 (sent at 10, in the log)",
  ]);
});

Deno.test("judgeFailover reports a message that is in the log twice and, if nothingLost is set, a message that the log lacks", () => {
  const log = new Map([["a", [
    { key: "m1", id: "1-0" },
    { key: "m1", id: "2-0" },
  ]]]);
  const two = [...THREE.slice(0, 2), { key: "m3", room: "a", sentAt: 30 }];
  assert.deepEqual(judge(two, [], { log }), ["the log of a has twice m1"]);
  assert.deepEqual(judge(two, [], { log, nothingLost: true }), [
    "the log of a has twice m1",
    "the log of a lacks m2 (sent at 20, acknowledged as 2-0 at 22)",
  ]);
});
