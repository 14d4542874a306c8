import assert from "node:assert/strict";
import type { Finding } from "../../../lib/redis_log/check.ts";
import { type Verdict, Witness } from "../../../lib/redis_log/witness.ts";

const HERE = "run1:history1";

/** A witness of a registered node without other nodes, at the time 0, with a confirmed epoch. */
class Scene {
  readonly witness = new Witness();

  constructor() {
    this.check(0, { joinedAt: "1-1", last: "1-1" });
  }

  /** Passes the result of a check of a healthy log with the epoch "a", changed by `found`. */
  check(now: number, found: Partial<Finding> = {}): Verdict {
    const question = this.witness.question("candidate", now);
    const server = found.server ?? HERE;
    const nodes = new Map([[
      this.witness.node,
      { offset: "1-1", beat: `${now} 1-1 ${server}` },
    ]]);
    return this.witness.take(question, {
      now,
      epoch: "a",
      began: "1-0",
      last: "1-1",
      lastIsEntry: true,
      total: 1,
      wrong: "",
      state: "confirmed",
      server,
      why: "",
      lineage: "l",
      joinedAt: "",
      nodes,
      ...found,
    }, now);
  }

  /** Returns the ids of the entries for which the next check asks. */
  asked(now = 0): readonly string[] {
    return this.witness.question("candidate", now).acknowledged;
  }
}

Deno.test("Witness.question() asks for an acknowledged entry until the entry was read", () => {
  const { witness } = new Scene();
  const asked = () => witness.question("candidate", 0).acknowledged;
  witness.acknowledged("2-1", 0);
  witness.acknowledged("3-1", 0);
  // The check asks only for the newest entry, because a log with this entry also has the earlier ones.
  assert.deepEqual(asked(), ["3-1"]);
  witness.read("2-1", true, 0);
  assert.deepEqual(asked(), ["3-1"]);
  witness.read("3-1", true, 0);
  assert.deepEqual(asked(), []);
});

Deno.test("Witness makes a check due at once if an entry is read before an acknowledged entry with a smaller id", () => {
  const scene = new Scene();
  const { witness } = scene;
  witness.acknowledged("2-1", 0);
  assert.ok(witness.checkDueMs(0) > 0);
  witness.read("2-2", true, 0);
  assert.deepEqual(scene.asked(), ["2-1"]);
  assert.ok(witness.checkDueMs(0) <= 0);
});

Deno.test("Witness.question() does not ask for an entry that was read before the entry was acknowledged", () => {
  const scene = new Scene();
  scene.witness.read("2-1", true, 0);
  scene.witness.read("3-1", true, 0);
  scene.witness.acknowledged("2-1", 0);
  assert.deepEqual(scene.asked(), []);
  scene.witness.acknowledged("2-5", 0);
  assert.deepEqual(scene.asked(), ["2-5"]);
});

Deno.test("Witness.question() asks for the newest entry that was acknowledged before reading was interrupted", () => {
  const scene = new Scene();
  const { witness } = scene;
  witness.acknowledged("2-1", 0);
  witness.interrupted();
  assert.equal(witness.confirmed, false);
  // The server of this acknowledgement may be another one.
  witness.acknowledged("9-1", 0);
  assert.deepEqual(scene.asked(), ["2-1", "9-1"]);
});

Deno.test("Witness.question() asks for two acknowledged entries if the second has a smaller id than the first", () => {
  const scene = new Scene();
  scene.witness.acknowledged("5-1", 0);
  scene.witness.acknowledged("4-1", 0);
  assert.deepEqual(scene.asked(), ["5-1", "4-1"]);
});

Deno.test("Witness.acknowledged() stores an id only once if it is called repeatedly with the same id", () => {
  const { witness } = new Scene();
  for (let i = 0; i < 70_000; i++) witness.acknowledged("5-1", 0);
  assert.ok(witness.mayAcknowledge("run1", 0));
});

Deno.test("Witness.mayAcknowledge() is true only for the server of the last check, and only within 3 s of that check", () => {
  const scene = new Scene();
  const { witness } = scene;
  assert.ok(witness.mayAcknowledge("run1", 2999));
  assert.ok(!witness.mayAcknowledge("run1", 3000));
  assert.ok(!witness.mayAcknowledge("run2", 0));
  scene.check(4000, { server: "run2:history1", state: "unconfirmed" });
  assert.ok(!witness.mayAcknowledge("run1", 4000));
  assert.ok(witness.mayAcknowledge("run2", 4000));
  scene.check(4100, { server: "run2:history2", state: "replica" });
  assert.ok(!witness.mayAcknowledge("run2", 4100));
});

Deno.test("Witness.mayAcknowledge() is false while the node is not registered, and true when the node is registered again", () => {
  const scene = new Scene();
  const { witness } = scene;
  scene.check(100, { nodes: new Map() });
  assert.ok(!witness.mayAcknowledge("run1", 100));
  // The check has announced the node again.
  scene.check(200, { joinedAt: "4-1" });
  assert.ok(witness.mayAcknowledge("run1", 200));
});

Deno.test("if the log lacks an entry, Witness.take() enters the new epoch and forgets the acknowledged entries", () => {
  const scene = new Scene();
  const { witness } = scene;
  witness.read("8-1", true, 0);
  witness.acknowledged("9-1", 0);
  const verdict = scene.check(10, {
    epoch: "b",
    began: "5-0",
    last: "5-7",
    wrong: "lost",
  });
  assert.deepEqual(verdict, { kind: "epoch", offset: "5-0", since: "a.8-1" });
  assert.equal(witness.epoch, "b");
  assert.deepEqual(scene.asked(), []);
});

Deno.test("if a replica lacks an entry, Witness.take() does not confirm the epoch, and the next question() asks for the entry again", () => {
  const scene = new Scene();
  const { witness } = scene;
  witness.read("8-1", true, 0);
  const verdict = scene.check(10, {
    last: "5-0",
    wrong: "back",
    state: "replica",
  });
  assert.equal(verdict.kind, "epoch");
  assert.equal(witness.offset, "5-0");
  assert.deepEqual(scene.asked(), ["8-1"]);
  assert.equal(witness.question("candidate", 10).server, "");
  // A replica cannot record the loss; the next check asks a master, which can.
  scene.check(20, { last: "5-0", state: "replica" });
  assert.deepEqual(scene.asked(), ["8-1"]);
  scene.check(30, { epoch: "b", began: "6-0", last: "6-0", wrong: "lost" });
  assert.deepEqual(scene.asked(), []);
});

Deno.test("if an epoch begins after all entries that Witness has read, Witness enters the epoch only when it reads the epoch's own entry", () => {
  const scene = new Scene();
  const { witness } = scene;
  assert.equal(scene.check(10, { epoch: "b", began: "5-0" }).kind, "same");
  assert.equal(witness.epoch, "a");
  assert.equal(witness.epochBegan("b", "5-0"), "a.1-1");
  assert.equal(witness.epoch, "b");
  assert.equal(witness.began, "5-0");
});

Deno.test("Witness.question() returns how long ago the node last read and last acknowledged a message", () => {
  const { witness } = new Scene();
  witness.read("2-1", true, 1000);
  witness.read("3-1", false, 1500);
  witness.acknowledged("4-1", 1700);
  const { knowledgeAgeMs, acknowledgedAgeMs } = witness.question("c", 2000);
  assert.deepEqual([knowledgeAgeMs, acknowledgedAgeMs], [1000, 300]);
});

Deno.test("Witness.mayAcknowledge() is false while 65,536 acknowledged entries are unread", () => {
  const { witness } = new Scene();
  for (let i = 0; i < 65_535; i++) witness.acknowledged(`2-${i}`, 0);
  assert.ok(witness.mayAcknowledge("run1", 0));
  witness.acknowledged("3-0", 0);
  assert.ok(!witness.mayAcknowledge("run1", 0));
});
