import assert from "node:assert/strict";
import {
  type Directive,
  Directives,
  retentionMs,
} from "../../../lib/directives/directives.ts";

function join(name: string, room: string, id: string): Directive {
  return { kind: "join", target: { by: "user", name }, room, id };
}

function ids(directives: Iterable<Directive>): string[] {
  return [...directives].map(({ id }) => id);
}

Deno.test("after() returns what concerns a client or its user, in order, of several for a room only the last", () => {
  const directives = new Directives();
  const ofClient = { by: "client", name: "c1" } as const;
  const added = directives.add([
    join("ann", "a", "1-0"),
    join("ann", "b", "2-0"),
    { kind: "leave", target: ofClient, room: "a", id: "3-0" },
    join("bob", "a", "4-0"),
    { ...join("ann", "a", "9-0"), kind: "leave" },
    join("ann", "a", "10-0"),
    { kind: "disconnect", target: ofClient, room: "", id: "10-1" },
  ]);
  assert.equal(added.length, 7);
  const after = (id?: string, user?: string) =>
    ids(directives.after(id, user, "c1"));
  assert.deepEqual(after(undefined, "ann"), ["2-0", "3-0", "10-0", "10-1"]);
  assert.deepEqual(after("3-0", "ann"), ["10-0", "10-1"]);
  assert.deepEqual(after("10-1", "ann"), []);
  assert.deepEqual(after(), ["3-0", "10-1"]);
  assert.equal(directives.latest, "10-1");
});

Deno.test("add() returns only what is new", () => {
  const directives = new Directives();
  assert.equal(directives.latest, undefined);
  const one = join("ann", "a", "5-0");
  assert.deepEqual(directives.add([one]), [one]);
  assert.deepEqual(directives.add([one, join("ann", "a", "4-9")]), []);
  const leave = { ...one, kind: "leave", id: "5-1" } as const;
  assert.deepEqual(directives.add([leave]), [leave]);
  assert.deepEqual(ids(directives), ["5-1"]);
});

Deno.test("deleteBefore() deletes what was stored before, and keeps what has replaced it", () => {
  const directives = new Directives();
  directives.add([
    join("ann", "a", "1000-0"),
    join("bob", "a", "1500-0"),
    join("ann", "a", "2000-0"),
  ]);
  directives.deleteBefore(1600);
  assert.deepEqual(ids(directives), ["2000-0"]);
  directives.deleteBefore(3000);
  assert.deepEqual(ids(directives), []);
  assert.equal(directives.latest, "2000-0");
});

Deno.test("directives are kept for longer than the sessions of disconnected clients", () => {
  for (const seconds of [1, 120, 3600, 86_400]) {
    assert.ok(retentionMs(seconds) > 1.25 * seconds * 1000 + 60_000);
  }
});
