import assert from "node:assert/strict";
import { type Action, Rights } from "../../../lib/access/rights.ts";

const ACTIONS: readonly Action[] = [
  "subscribe",
  "publish",
  "history",
  "presence",
  "manage",
];

Deno.test("Rights allow nothing that is not granted", () => {
  const rights = new Rights([]);
  for (const action of ACTIONS) {
    assert.equal(rights.allow(action), false, action);
    for (const room of ["chat", "", "*", "__proto__", "constructor"]) {
      assert.equal(rights.allow(action, room), false, `${action} ${room}`);
    }
  }
});

Deno.test("Rights match whole names, and prefixes before a final *", () => {
  const rights = new Rights([
    { rooms: ["chat", "news.*"], actions: ["subscribe"] },
  ]);
  for (const room of ["chat", "news.", "news.a", "news.a.b", "news.*"]) {
    assert.ok(rights.allow("subscribe", room), room);
  }
  for (
    const room of [
      "cha",
      "chat2",
      "Chat",
      "chat.",
      "xchat",
      "news",
      "newsx",
      "News.a",
      "xnews.a",
      "",
      "*",
      "__proto__",
      "toString",
    ]
  ) assert.ok(!rights.allow("subscribe", room), room);
});

Deno.test("Rights take a * that is not at the end for an ordinary character", () => {
  const rights = new Rights([{ rooms: ["a*b", "*.c"], actions: ["publish"] }]);
  assert.ok(rights.allow("publish", "a*b"));
  assert.ok(rights.allow("publish", "*.c"));
  for (const room of ["axb", "ab", "x.c", "a*bc"]) {
    assert.ok(!rights.allow("publish", room), room);
  }
});

Deno.test("Rights allow in a room only the actions that are granted there", () => {
  const rights = new Rights([
    { rooms: ["chat"], actions: ["subscribe"] },
    { rooms: ["ch*"], actions: ["history"] },
    { rooms: ["chat"], actions: ["publish"] },
  ]);
  const allowed = (room: string) =>
    ACTIONS.filter((action) => rights.allow(action, room));
  assert.deepEqual(allowed("chat"), ["subscribe", "publish", "history"]);
  assert.deepEqual(allowed("chess"), ["history"]);
  assert.deepEqual(allowed("news"), []);
});

Deno.test("Rights are the union of all grants and of the base", () => {
  const base = new Rights([{ rooms: ["public.*"], actions: ["subscribe"] }]);
  const rights = new Rights([
    { rooms: ["public.a"], actions: ["publish"] },
  ], base);
  assert.ok(rights.allow("subscribe", "public.a"));
  assert.ok(rights.allow("publish", "public.a"));
  assert.ok(!rights.allow("publish", "public.b"));
  assert.ok(!base.allow("publish", "public.a"), "the base has not changed");
  assert.ok(rights.allow("subscribe"));
});

Deno.test("Rights.patternsOf() returns all names and patterns for which an action is granted, with those of the base", () => {
  const base = new Rights([{ rooms: ["public.*"], actions: ["subscribe"] }]);
  const rights = new Rights([
    { rooms: ["chat", "news.*"], actions: ["subscribe", "publish"] },
    { rooms: ["past"], actions: ["history"] },
  ], base);
  assert.deepEqual(rights.patternsOf("subscribe"), [
    "chat",
    "news.*",
    "public.*",
  ]);
  assert.deepEqual(rights.patternsOf("publish"), ["chat", "news.*"]);
  assert.deepEqual(rights.patternsOf("manage"), []);
});

Deno.test("Rights.allow() without a room says whether the action is allowed anywhere", () => {
  const rights = new Rights([
    { rooms: ["__proto__"], actions: ["history"] },
    { rooms: [], actions: ["publish"] },
    { rooms: ["x"], actions: [] },
  ]);
  assert.deepEqual(ACTIONS.filter((action) => rights.allow(action)), [
    "history",
  ]);
  assert.ok(rights.allow("history", "__proto__"));
});

Deno.test("A grant for * allows its actions in every room", () => {
  const rights = new Rights([{ rooms: ["*"], actions: ["subscribe"] }]);
  for (const room of ["chat", "", "*", "__proto__"]) {
    assert.ok(rights.allow("subscribe", room));
    assert.ok(!rights.allow("manage", room));
  }
});

Deno.test("Rights with excluded rooms allow there only what their base allows", () => {
  const base = new Rights([{
    rooms: ["private.lobby"],
    actions: ["subscribe"],
  }]);
  const everything = {
    rooms: ["*"],
    actions: ["subscribe", "history"],
  } as const;
  const rights = new Rights(
    [everything, { rooms: ["private.a"], actions: ["subscribe"] }],
    base,
    (room) => room.startsWith("private."),
  );
  const publisher = { rooms: ["*"], actions: ["publish"] } as const;
  for (const each of [rights, new Rights([publisher], rights)]) {
    assert.ok(each.allow("subscribe", "chat"));
    assert.ok(each.allow("history", "private"));
    assert.ok(each.allow("subscribe"));
    assert.ok(each.allow("subscribe", "private.lobby"));
    assert.ok(!each.allow("history", "private.lobby"));
    assert.ok(!each.allow("subscribe", "private.a"));
    assert.ok(!each.allowEverywhere("subscribe"));
  }
  assert.ok(new Rights([publisher], rights).allow("publish", "private.a"));
});
