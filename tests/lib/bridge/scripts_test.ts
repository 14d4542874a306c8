import assert from "node:assert/strict";
import fc from "fast-check";
import { createClient } from "@redis/client";
import { BridgeCommands } from "../../../lib/bridge/commands.ts";
import { keysOf } from "../../../lib/redis/keys.ts";
import type { RedisClient } from "../../../lib/redis/connection.ts";
import { readBatchEntry } from "../../../lib/redis_log/entries.ts";
import type {
  BridgePosition,
  ReceivedItem,
} from "../../../lib/bridge/received_window.ts";
import { ModelRedis } from "../../support/bridge_model.ts";
import { Redis } from "../../support/redis.ts";
import { Inbox, until } from "../../support/wait.ts";

const KEYS = keysOf("roomcast");
const NODES = ["n0", "n1", "n2", "n3"];
/** The bridge position of an empty log. */
const NO_POSITION = { marker: "", number: 0, channelGroup: "" };

/** A Redis server, the bridge's commands for several nodes, and the control messages that these commands publish. */
class Fixture {
  readonly announced = new Inbox<string>();
  readonly #redis: Redis;
  readonly #client: RedisClient;
  readonly #subscriber: RedisClient;

  private constructor(
    redis: Redis,
    client: RedisClient,
    subscriber: RedisClient,
  ) {
    this.#redis = redis;
    this.#client = client;
    this.#subscriber = subscriber;
  }

  static async open(): Promise<Fixture> {
    const redis = await Redis.start({ aof: false });
    const client = createClient({ url: redis.url, RESP: 2 }) as RedisClient;
    client.on("error", () => {});
    await client.connect();
    const subscriber = client.duplicate();
    await subscriber.connect();
    const fixture = new Fixture(redis, client, subscriber);
    await subscriber.subscribe(
      "control",
      (payload) => fixture.announced.push(payload),
    );
    return fixture;
  }

  /** Returns the bridge's commands for the node with this name. */
  commands(node: string): BridgeCommands {
    return new BridgeCommands({
      channels: ["chat"],
      historySize: 1000,
      historySeconds: 60,
      logLength: 1000,
      keys: KEYS,
      node,
      channelGroup: "a",
      controlChannel: "control",
      command: (command) => command(this.#client),
    });
  }

  /** Returns the messages and gaps in the log. */
  async log(): Promise<string[]> {
    const entries = await this.send("XRANGE", KEYS.log, "-", "+") as [
      string,
      string[],
    ][];
    return entries.flatMap(([id, fields]) =>
      fields[0] === "ingress"
        ? ["gap"]
        : fields[0] === "run"
        ? readBatchEntry(id, fields).entries.map(({ json }) => json)
        : []
    );
  }

  /** Returns the server, as the bridge's scripts name it. */
  async server(): Promise<string> {
    const info = await this.send("INFO", "everything");
    return ["run_id", "master_replid"].map((field) =>
      new RegExp(`${field}:(\\w+)`).exec(String(info))?.[1]
    ).join(":");
  }

  send(...args: string[]): Promise<unknown> {
    return this.#client.sendCommand(args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy();
    this.#subscriber.destroy();
    await this.#redis[Symbol.asyncDispose]();
  }
}

const position: fc.Arbitrary<BridgePosition> = fc.record({
  marker: fc.constantFrom("", "n0.1", "n1.1", "n2.1"),
  number: fc.nat({ max: 4 }),
  channelGroup: fc.constant("a"),
});
const item: fc.Arbitrary<ReceivedItem> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.nat({ max: 99 }).map((value) => ({
      kind: "message",
      room: `r${value % 3}`,
      json: String(value),
      receivedAt: 0,
    } as const)),
  },
  {
    weight: 1,
    arbitrary: fc.constant(
      { kind: "refused", reason: "empty", receivedAt: 0 } as const,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("n0.1", "n1.1", "n2.1").map((marker) => (
      { kind: "marker", marker, receivedAt: 0 } as const
    )),
  },
);
const command = fc.record({
  node: fc.constantFrom("n0", "n1", "n2"),
  kind: fc.constantFrom(
    "publish_marker",
    "append",
    "append",
    "resume",
    "expire",
  ),
  marker: fc.constantFrom("n0.1", "n1.1", "n2.1"),
  outOfSync: fc.boolean(),
  position,
  to: position,
  items: fc.array(item, { minLength: 1, maxLength: 6 }),
  /**
   * If greater than 0, the command uses the log's real bridge position, because a random position is seldom the real
   * one.
   */
  hit: fc.integer({ min: 0, max: 3 }),
});
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

/** Returns the control message that announces a bridge position. */
function atMessage(
  { marker, number, channelGroup }: BridgePosition,
  writer: string,
): string {
  return `at ${marker} ${number} ${channelGroup} ${writer}`;
}

/** Runs a command once with the scripts and once on the model; returns both results. */
async function runOnBoth(
  fixture: Fixture,
  model: ModelRedis,
  { node, kind, marker, outOfSync, position, to, items, hit }: Command,
): Promise<[real: unknown, model: unknown]> {
  const real = fixture.commands(node);
  const from = hit > 0 ? model.position : position;
  switch (kind) {
    case "publish_marker":
      return [
        (await real.publishMarker(marker, outOfSync)).position,
        model.publishMarker(node, marker, outOfSync),
      ];
    case "append": {
      const after = { ...from, channelGroup: "a" };
      // The log never has more of a window than the items up to the window's next marker.
      const behind = hit === 1 && after.number > 0 &&
        items.slice(0, 1).every(({ kind }) => kind !== "marker");
      if (behind) after.number--;
      if (model.position.marker === after.marker) {
        const known = model.position.number - after.number;
        if (items.slice(0, known).some(({ kind }) => kind === "marker")) {
          return [0, 0];
        }
      }
      const { outcome, position, known, taken } = await real.append(
        after,
        items,
        await fixture.server(),
      );
      return [
        { outcome, position, known, taken },
        model.append(node, after, items, 0),
      ];
    }
    case "resume":
      return [
        (await real.resume(from, to, await fixture.server())).done,
        model.resume(node, from, { ...to, channelGroup: "a" }, 0),
      ];
    default:
      return [
        await fixture.send("ZREM", KEYS.bridgeSynchronized, node),
        Number(model.synchronized.delete(node)),
      ];
  }
}

Deno.test("the bridge's scripts reply, append and announce the same as their model for random commands", async () => {
  await using fixture = await Fixture.open();
  await fc.assert(
    fc.asyncProperty(
      fc.array(command, { minLength: 5, maxLength: 40, size: "max" }),
      async (commands) => {
        await fixture.send("FLUSHALL");
        const model = new ModelRedis();
        const announced: string[] = [];
        model.announce = (published) =>
          announced.push(
            published.kind === "marker"
              ? `marker ${published.marker}`
              : published.kind === "position"
              ? atMessage(published.position, published.writer)
              : "",
          );
        const start = fixture.announced.items.length;
        for (const one of commands) {
          const [real, expected] = await runOnBoth(fixture, model, one);
          assert.deepEqual(real, expected);
        }
        assert.deepEqual(await fixture.log(), model.log);
        assert.deepEqual(
          (await fixture.send(
            "ZRANGE",
            KEYS.bridgeSynchronized,
            "0",
            "-1",
          ) as [])
            .sort(),
          [...model.synchronized.keys()].sort(),
        );
        const received = await fixture.announced.have(start + announced.length);
        assert.deepEqual(received.slice(start), announced);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("heartbeat() gives listener slots to three nodes, and to a fourth only after one of the three has left or fallen silent", async () => {
  await using fixture = await Fixture.open();
  const isListener = async (node: string, synchronized: boolean) =>
    (await fixture.commands(node).heartbeat(1, synchronized)).listener;
  for (const node of NODES) {
    assert.equal(await isListener(node, true), node !== "n3");
  }
  assert.equal(await isListener("n3", false), false);
  assert.equal(
    (await fixture.commands("n3").heartbeat(2, false)).synchronizedNodes,
    3,
  );
  await fixture.commands("n1").leave();
  assert.equal(await isListener("n3", true), true);
  assert.equal(await isListener("n1", true), false);
  // Move the times back as if the last heartbeat was six seconds ago.
  const old = String(Date.now() - 6000);
  await fixture.send("ZADD", KEYS.bridgeListeners, old, "n0");
  await fixture.send("ZADD", KEYS.bridgeSynchronized, old, "n0");
  assert.equal(
    (await fixture.commands("n2").heartbeat(2, true)).synchronizedNodes,
    2,
  );
  assert.equal(await isListener("n1", true), true);
  assert.equal(await isListener("n0", true), false);
});

Deno.test("heartbeat() gives the listener slot of a node that has not been synchronized for 5 s to another node", async () => {
  await using fixture = await Fixture.open();
  const isListener = async (node: string) =>
    (await fixture.commands(node).heartbeat(1, false)).listener;
  for (const node of NODES) assert.equal(await isListener(node), node !== "n3");
  assert.equal(await isListener("n0"), true);
  const old = String(Date.now() - 6000);
  for (const node of ["n0", "n1"]) {
    await fixture.send("ZADD", KEYS.bridgeListeners, old, node);
  }
  assert.equal(await isListener("n0"), false);
  assert.equal(await isListener("n3"), true);
  assert.equal(await isListener("n0"), true);
  assert.equal(await isListener("n1"), false);
});

Deno.test("append() refuses only the messages of a room whose history key holds a value of another type", async () => {
  await using fixture = await Fixture.open();
  const commands = fixture.commands("n0");
  const server = await fixture.server();
  const at = { marker: "n0.1", number: 0, channelGroup: "a" };
  await commands.resume(NO_POSITION, at, server);
  await fixture.send("SET", KEYS.history("bad"), "something else");
  const items = ["a", "bad", "b"].map((room) => ({
    kind: "message" as const,
    room,
    json: `"${room}"`,
    receivedAt: 0,
  }));
  const { taken, refused, error } = await commands.append(at, items, server);
  assert.equal(taken, 3);
  assert.deepEqual([...refused], [1]);
  assert.equal(error, undefined);
  assert.deepEqual(await fixture.log(), ['"a"', '"b"']);
});

Deno.test("append() creates a deleted history again, and stores there the id up to which messages are missing", async () => {
  await using fixture = await Fixture.open();
  const commands = fixture.commands("n0");
  const server = await fixture.server();
  const at = { marker: "n0.1", number: 0, channelGroup: "a" };
  await commands.resume(NO_POSITION, at, server);
  const append = async (number: number): Promise<string> => {
    const items = ["a", "b"].map((room) => ({
      kind: "message" as const,
      room,
      json: "1",
      receivedAt: 0,
    }));
    await commands.append({ ...at, number }, items, server);
    return String(await fixture.send("ZSCORE", KEYS.rooms, "a"));
  };
  const missing = async (room: string): Promise<unknown> => {
    const info = await fixture.send("XINFO", "STREAM", KEYS.history(room));
    const [, id] = /max-deleted-entry-id,([^,]+)/.exec(String(info)) ?? [];
    return id;
  };
  const first = await append(0);
  await until("a millisecond passes", () => Date.now() > Number(first) + 1);
  await fixture.send("DEL", KEYS.history("a"));
  assert.ok(Number(await append(2)) > Number(first));
  assert.equal(await missing("a"), `${first}-999999999999999`);
  assert.equal(await missing("b"), "0-0");
});

Deno.test("append() returns an error while Redis is full, and a later append() of the same items succeeds once Redis has memory", async () => {
  await using fixture = await Fixture.open();
  const commands = fixture.commands("n0");
  const server = await fixture.server();
  const at = { marker: "n0.1", number: 0, channelGroup: "a" };
  await commands.resume(NO_POSITION, at, server);
  const items = [1, 2].map((value) => ({
    kind: "message" as const,
    room: "chat",
    json: String(value),
    receivedAt: 0,
  }));
  await fixture.send("CONFIG", "SET", "maxmemory", "1mb");
  const refusal = await commands.append(at, items, server).then(
    ({ error, position }) => `${position.number} ${error}`,
    (error) => `0 ${error}`,
  );
  assert.match(refusal, /^0 .*OOM/);
  // The node stays a listener.
  assert.equal((await commands.heartbeat(1, true)).listener, true);
  await fixture.send("CONFIG", "SET", "maxmemory", "0");
  assert.equal((await commands.append(at, items, server)).taken, 2);
  assert.deepEqual(await fixture.log(), ["1", "2"]);
});

Deno.test("append() and resume() do nothing if the server has been a replica since the node's marker", async () => {
  await using fixture = await Fixture.open();
  const commands = fixture.commands("n0");
  const at = { marker: "n0.1", number: 0, channelGroup: "a" };
  const { server } = await commands.publishMarker("n0.1", true);
  await commands.resume(NO_POSITION, at, server);
  await commands.leave();
  await fixture.send("REPLICAOF", "127.0.0.1", "1");
  await fixture.send("REPLICAOF", "NO", "ONE");
  const { outcome } = await commands.append(at, [
    { kind: "message", room: "chat", json: "1", receivedAt: 0 },
  ], server);
  assert.equal(outcome, "other_server");
  const later = { ...at, marker: "n0.2" };
  assert.equal((await commands.resume(at, later, server)).done, false);
  assert.deepEqual(await fixture.log(), []);
  const renewed = await commands.publishMarker("n0.2", false);
  assert.notEqual(renewed.server, server);
  assert.deepEqual(renewed.position, at);
  const resumed = await commands.resume(at, later, renewed.server);
  assert.deepEqual(resumed, { done: true, gap: true });
});
