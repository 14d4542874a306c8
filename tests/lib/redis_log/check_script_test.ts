/**
 * Tests of the check of the log on a real Redis. A debug command changes the replication history, as a failover does.
 */
import assert from "node:assert/strict";
import { createClient } from "@redis/client";
import { CONFIRM_TIMEOUT_MS } from "../../../lib/redis_log/check_script.ts";
import {
  check,
  type Finding,
  type Question,
} from "../../../lib/redis_log/check.ts";
import { keysOf } from "../../../lib/redis/keys.ts";
import { newEpoch } from "../../../lib/log/position.ts";
import type { RedisClient } from "../../../lib/redis/connection.ts";
import { Redis } from "../../support/redis.ts";

const KEYS = keysOf("test");
const LIMITS = { logLength: 1000, historySeconds: 3600 };

/** A node with the state that it sends in its checks of the log. */
class Node {
  readonly name: string;
  readonly #send: (question: Question) => Promise<Finding>;
  epoch = "";
  offset = "0-0";
  server = "";
  saves = 0;
  ageMs = 1e6;
  known: string[] = [];

  constructor(name: string, send: (question: Question) => Promise<Finding>) {
    this.name = name;
    this.#send = send;
  }

  /** Runs a check, and takes over the epoch and the id that the check returns. */
  async check(more: Partial<Question> = {}): Promise<Finding> {
    const finding = await this.#send({
      candidate: newEpoch(),
      node: this.name,
      epoch: this.epoch,
      offset: this.offset,
      offsetIsEntry: this.offset !== "0-0",
      acknowledged: [],
      saves: this.saves,
      server: this.server,
      knowledgeAgeMs: this.ageMs,
      acknowledgedAgeMs: 1e12,
      known: this.known,
      silent: [],
      intent: "stay",
      ...more,
    });
    if (this.epoch === "" || finding.wrong !== "") {
      this.epoch = finding.epoch;
      this.offset = finding.wrong === "lost" ? finding.began : finding.last;
    }
    if (finding.state === "confirmed") this.server = finding.server;
    return finding;
  }
}

/** A Redis with a log, and nodes that have confirmed the log's epoch. */
class Scene implements AsyncDisposable {
  readonly redis: Redis;
  readonly client: RedisClient;

  private constructor(redis: Redis, client: RedisClient) {
    this.redis = redis;
    this.client = client;
  }

  static async open(): Promise<Scene> {
    const redis = await Redis.start({
      args: ["--enable-debug-command", "yes"],
    });
    const client = createClient({ url: redis.url, RESP: 2 }) as RedisClient;
    await client.connect();
    return new Scene(redis, client);
  }

  /** Creates nodes with these names and registers them, so that each of them knows the others. */
  async nodes(...names: string[]): Promise<Node[]> {
    const nodes = names.map((name) =>
      new Node(name, (question) => check(this.client, KEYS, LIMITS, question))
    );
    for (const node of nodes) await node.check({ intent: "join" });
    const last = await this.add("a message");
    for (const node of nodes) {
      node.offset = last;
      node.known = names.filter((name) => name !== node.name);
      await node.check();
    }
    return nodes;
  }

  /** Adds an entry to the log, and returns the entry's id. */
  async add(text: string): Promise<string> {
    return String(
      await this.client.sendCommand(["XADD", KEYS.log, "*", "probe", text]),
    );
  }

  /** Gives Redis another replication history, as after a promotion. */
  async promote(): Promise<void> {
    await this.client.sendCommand(["DEBUG", "CHANGE-REPL-ID"]);
  }

  /** Changes the recorded times as if the nodes had been asked to confirm `ms` earlier. */
  async pass(ms: number): Promise<void> {
    const since = Number(
      await this.client.sendCommand(["HGET", KEYS.server, "since"]),
    );
    await this.client.sendCommand(
      ["HSET", KEYS.server, "since", String(since - ms)],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.destroy();
    await this.redis[Symbol.asyncDispose]();
  }
}

Deno.test("check() confirms the epoch on a promoted Redis once every registered node has found there all entries that it has read or acknowledged", async () => {
  await using scene = await Scene.open();
  const [a, b] = await scene.nodes("a", "b") as [Node, Node];
  const { epoch, lineage } = await a.check();
  await scene.promote();
  assert.equal((await a.check()).state, "unconfirmed");
  assert.equal((await a.check()).state, "unconfirmed");
  const found = await b.check();
  assert.deepEqual(
    [found.state, found.epoch, found.lineage, found.why],
    ["confirmed", epoch, lineage, ""],
  );
  assert.equal((await a.check()).state, "confirmed");
});

Deno.test("check() begins a new epoch if a registered node has not called check() in time", async () => {
  await using scene = await Scene.open();
  const [a, b] = await scene.nodes("a", "b") as [Node, Node];
  await scene.promote();
  await a.check();
  await scene.pass(CONFIRM_TIMEOUT_MS - 1000);
  assert.equal((await a.check()).state, "unconfirmed");
  await scene.pass(2000);
  const found = await a.check();
  assert.equal(found.state, "confirmed");
  assert.notEqual(found.epoch, a.epoch);
  assert.match(found.why, /^1 of 2 nodes did not confirm/);
  assert.deepEqual([...found.nodes.keys()], [a.name]);
  // The node checks after all other nodes, and joins again.
  assert.notEqual((await b.check()).joinedAt, "");
});

Deno.test("check() waits for a node whose registration in Redis was lost if another node knows that node", async () => {
  await using scene = await Scene.open();
  const [a] = await scene.nodes("a", "b") as [Node, Node];
  await scene.client.sendCommand(["HDEL", KEYS.nodes, "b"]);
  await scene.promote();
  assert.equal((await a.check()).state, "unconfirmed");
});

Deno.test("a check() that begins a new epoch still lists a known node whose registration in Redis was lost", async () => {
  await using scene = await Scene.open();
  const [a] = await scene.nodes("a", "b") as [Node, Node];
  await scene.client.sendCommand(["HDEL", KEYS.nodes, "b"]);
  await scene.promote();
  const found = await a.check({ acknowledged: ["9999999999999-0"] });
  assert.notEqual(found.why, "");
  assert.ok(found.nodes.has("b"));
});

Deno.test("once one node's check() has stopped waiting for a killed node, another node's check() does not wait for the killed node", async () => {
  await using scene = await Scene.open();
  const [a, b] = await scene.nodes("a", "b", "c") as [Node, Node];
  await scene.promote();
  await a.check();
  await scene.pass(CONFIRM_TIMEOUT_MS + 1000);
  const { epoch, nodes } = await a.check();
  assert.deepEqual([...nodes.keys()], [a.name]);
  // This node still names "c" as a known node, and its epoch is the previous one.
  const found = await b.check();
  assert.deepEqual([found.epoch, found.nodes.has("c")], [epoch, false]);
});

Deno.test("check() does not wait for a node that has recorded that it stops", async () => {
  await using scene = await Scene.open();
  const [a, b] = await scene.nodes("a", "b") as [Node, Node];
  await b.check({ intent: "leave" });
  await scene.promote();
  const found = await a.check();
  assert.deepEqual([found.state, found.epoch], ["confirmed", a.epoch]);
});

Deno.test("check() begins a new epoch on a promoted Redis if no remaining node has read the previous epoch", async () => {
  await using scene = await Scene.open();
  const [a] = await scene.nodes("a") as [Node];
  await a.check({ intent: "leave" });
  await scene.promote();
  const [fresh] = await scene.nodes("fresh") as [Node];
  assert.notEqual(fresh.epoch, a.epoch);
});

Deno.test("check() does not count the confirmation of a node that has joined only on the promoted Redis", async () => {
  await using scene = await Scene.open();
  const [a] = await scene.nodes("a") as [Node];
  await scene.promote();
  const [fresh] = await scene.nodes("fresh") as [Node];
  assert.equal((await fresh.check()).state, "unconfirmed");
  await a.check();
  const found = await fresh.check();
  assert.deepEqual([found.state, found.epoch], ["confirmed", a.epoch]);
});

for (const what of ["read", "acknowledged"] as const) {
  Deno.test(`check() begins a new epoch at once if the log lacks an entry that a node has ${what}`, async () => {
    await using scene = await Scene.open();
    const [a, b] = await scene.nodes("a", "b") as [Node, Node];
    const { epoch } = a;
    const lost = await scene.add("lost");
    if (what === "read") a.offset = lost;
    await scene.client.sendCommand(["XDEL", KEYS.log, lost]);
    await scene.promote();
    const acknowledged = what === "read" ? [] : [lost];
    const found = await a.check({ acknowledged });
    assert.equal(found.wrong, "lost");
    assert.notEqual(found.epoch, epoch);
    assert.match(found.why, /lacks messages/);
    // The node "b" knows no missing entry, and reads the new epoch from the log.
    const other = await b.check();
    assert.deepEqual([other.wrong, other.epoch], ["", found.epoch]);
  });
}

Deno.test("check() begins a new epoch for a lost message only if the node has learned of the message after the current epoch began", async () => {
  await using scene = await Scene.open();
  const nodes = await scene.nodes("a", "b", "c");
  const lost = await scene.add("lost");
  for (const node of nodes) node.offset = lost;
  await scene.client.sendCommand(["XDEL", KEYS.log, lost]);
  const [a, b, c] = nodes as [Node, Node, Node];
  const first = await a.check();
  const before = await b.check({ knowledgeAgeMs: 60_000 });
  assert.deepEqual([before.wrong, before.epoch], ["lost", first.epoch]);
  const after = await c.check({ knowledgeAgeMs: 0 });
  assert.equal(after.wrong, "lost");
  assert.notEqual(after.epoch, first.epoch);
});

Deno.test("check() changes the lineage but not the epoch if Redis has lost saved sessions and no messages", async () => {
  await using scene = await Scene.open();
  const [a] = await scene.nodes("a") as [Node];
  const { epoch, lineage } = await a.check();
  a.saves = 7;
  await scene.client.sendCommand(["HSET", KEYS.saves, a.name, "6"]);
  await scene.promote();
  const found = await a.check();
  assert.deepEqual([found.state, found.epoch], ["confirmed", epoch]);
  assert.notEqual(found.lineage, lineage);
  await scene.client.sendCommand(["HSET", KEYS.saves, a.name, "7"]);
  await scene.promote();
  assert.equal((await a.check()).lineage, found.lineage);
});

Deno.test("check() unregisters a node that its caller reports as silent, unless that node has called check() again meanwhile", async () => {
  await using scene = await Scene.open();
  const [a, b] = await scene.nodes("a", "b") as [Node, Node];
  const beat = (await a.check()).nodes.get("b")?.beat.split(" ")[0];
  const silent = [`b@${beat}`];
  await new Promise((resolve) => setTimeout(resolve, 2));
  await b.check();
  assert.ok((await a.check({ silent })).nodes.has("b"));
  const now = (await a.check()).nodes.get("b")?.beat.split(" ")[0];
  assert.ok(!(await a.check({ silent: [`b@${now}`] })).nodes.has("b"));
});

Deno.test("check() on a replica returns the state `replica`, and whether the replica lacks entries that the node has read", async () => {
  await using scene = await Scene.open();
  const [a] = await scene.nodes("a") as [Node];
  // Redis becomes a replica of a master that cannot be reached, so Redis keeps its data.
  await scene.redis.command("REPLICAOF", "127.0.0.1", "1");
  assert.deepEqual(
    [(await a.check()).state, (await a.check()).wrong],
    ["replica", ""],
  );
  a.offset = "999999999999999-0";
  assert.equal((await a.check()).wrong, "back");
});
