import assert from "node:assert/strict";
import fc from "fast-check";
import { createClient } from "redis";
import { BridgeCommands } from "../../../lib/bridge/commands.ts";
import { keysOf } from "../../../lib/redis/keys.ts";
import type { RedisClient } from "../../../lib/redis/connection.ts";
import { readRun } from "../../../lib/redis_log/runs.ts";
import type {
  BridgePosition,
  ReceivedItem,
} from "../../../lib/bridge/received_window.ts";
import { ModelRedis } from "../../support/bridge_model.ts";
import { Redis } from "../../support/redis.ts";
import { Inbox, until } from "../../support/wait.ts";

const KEYS = keysOf("roomcast");
const NODES = ["n0", "n1", "n2", "n3"];

/** A Redis with the bridge's commands for several nodes, and what they announce. */
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

  /** The commands of a node. */
  commands(node: string, group = "a"): BridgeCommands {
    return new BridgeCommands({
      channels: ["chat"],
      historySize: 1000,
      historySeconds: 60,
      logLength: 1000,
      keys: KEYS,
      node,
      group,
      control: "control",
      command: (command) => command(this.#client),
    });
  }

  /** The log: messages, and gaps. */
  async log(): Promise<string[]> {
    const entries = await this.send("XRANGE", KEYS.log, "-", "+") as [
      string,
      string[],
    ][];
    return entries.flatMap(([id, fields]) =>
      fields[0] === "ingress"
        ? ["gap"]
        : fields[0] === "run"
        ? readRun(id, fields).entries.map(({ json }) => json)
        : []
    );
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

const place: fc.Arbitrary<BridgePosition> = fc.record({
  marker: fc.constantFrom("", "n0.1", "n1.1", "n2.1"),
  number: fc.nat({ max: 4 }),
  group: fc.constant("a"),
});
const item: fc.Arbitrary<ReceivedItem> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.nat({ max: 99 }).map((value) => ({
      kind: "message",
      room: `r${value % 3}`,
      json: String(value),
      heardAt: 0,
    } as const)),
  },
  {
    weight: 1,
    arbitrary: fc.constant(
      { kind: "refused", reason: "empty", heardAt: 0 } as const,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("n0.1", "n1.1", "n2.1").map((marker) => (
      { kind: "marker", marker, heardAt: 0 } as const
    )),
  },
);
const command = fc.record({
  node: fc.constantFrom("n0", "n1", "n2"),
  kind: fc.constantFrom("ask", "append", "append", "resume", "out"),
  marker: fc.constantFrom("n0.1", "n1.1", "n2.1"),
  anew: fc.boolean(),
  place,
  to: place,
  items: fc.array(item, { minLength: 1, maxLength: 6 }),
  /** Whether to name the place where the log is, which chance would seldom do. */
  right: fc.integer({ min: 0, max: 3 }),
});
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

/** Runs a command on both; answers both outcomes. */
async function both(
  fixture: Fixture,
  model: ModelRedis,
  { node, kind, marker, anew, place, to, items, right }: Command,
): Promise<[real: unknown, model: unknown]> {
  const real = fixture.commands(node);
  const from = right > 0 ? model.place : place;
  switch (kind) {
    case "ask":
      return [await real.ask(marker, anew), model.ask(node, marker, anew)];
    case "append": {
      const after = { ...from, group: "a" };
      // What the log knows of a slice is never more than what is in the slice up to its next marker.
      const behind = right === 1 && after.number > 0 &&
        items.slice(0, 1).every(({ kind }) => kind !== "marker");
      if (behind) after.number--;
      if (model.place.marker === after.marker) {
        const known = model.place.number - after.number;
        if (items.slice(0, known).some(({ kind }) => kind === "marker")) {
          return [0, 0];
        }
      }
      const { outcome, place, known, taken } = await real.append(after, items);
      return [
        { outcome, place, known, taken },
        model.append(node, after, items, 0),
      ];
    }
    case "resume":
      return [
        (await real.resume(from, to)).done,
        model.resume(node, from, { ...to, group: "a" }, 0),
      ];
    default:
      return [
        await fixture.send("ZREM", KEYS.bridgeInStep, node),
        Number(model.inStep.delete(node)),
      ];
  }
}

Deno.test("the scripts answer, append and announce as the model of the bridge does", async () => {
  await using fixture = await Fixture.open();
  await fc.assert(
    fc.asyncProperty(
      fc.array(command, { minLength: 5, maxLength: 40, size: "max" }),
      async (commands) => {
        await fixture.send("FLUSHALL");
        const model = new ModelRedis();
        const announced: string[] = [];
        model.announce = (heard) =>
          announced.push(
            heard.kind === "marker"
              ? `marker ${heard.marker}`
              : heard.kind === "at"
              ? `at ${heard.place.marker} ${heard.place.number} ${heard.place.group} ${heard.writer}`
              : "",
          );
        const start = fixture.announced.items.length;
        for (const one of commands) {
          const [real, expected] = await both(fixture, model, one);
          assert.deepEqual(real, expected);
        }
        assert.deepEqual(await fixture.log(), model.log);
        assert.deepEqual(
          (await fixture.send("ZRANGE", KEYS.bridgeInStep, "0", "-1") as [])
            .sort(),
          [...model.inStep.keys()].sort(),
        );
        const heard = await fixture.announced.have(start + announced.length);
        assert.deepEqual(heard.slice(start), announced);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("three nodes have a seat; one that leaves or falls silent gives its own up", async () => {
  await using fixture = await Fixture.open();
  const seated = async (node: string, inStep: boolean) =>
    (await fixture.commands(node).sign(1, inStep)).seated;
  for (const node of NODES) {
    assert.equal(await seated(node, true), node !== "n3");
  }
  assert.equal(await seated("n3", false), false);
  assert.equal((await fixture.commands("n3").sign(2, false)).inStep, 3);
  await fixture.commands("n1").leave();
  assert.equal(await seated("n3", true), true);
  assert.equal(await seated("n1", true), false);
  // As if the last sign was given six seconds ago.
  const old = String(Date.now() - 6000);
  await fixture.send("ZADD", KEYS.bridgeSeats, old, "n0");
  await fixture.send("ZADD", KEYS.bridgeInStep, old, "n0");
  assert.equal((await fixture.commands("n2").sign(2, true)).inStep, 2);
  assert.equal(await seated("n1", true), true);
  assert.equal(await seated("n0", true), false);
});

Deno.test("a node that is not in step for long lets others try", async () => {
  await using fixture = await Fixture.open();
  const seated = async (node: string) =>
    (await fixture.commands(node).sign(1, false)).seated;
  for (const node of NODES) assert.equal(await seated(node), node !== "n3");
  assert.equal(await seated("n0"), true);
  const old = String(Date.now() - 6000);
  for (const node of ["n0", "n1"]) {
    await fixture.send("ZADD", KEYS.bridgeSeats, old, node);
  }
  assert.equal(await seated("n0"), false);
  assert.equal(await seated("n3"), true);
  assert.equal(await seated("n0"), true);
  assert.equal(await seated("n1"), false);
});

Deno.test("a room whose key holds something else loses its own messages only", async () => {
  await using fixture = await Fixture.open();
  const commands = fixture.commands("n0");
  const at = { marker: "n0.1", number: 0, group: "a" };
  await commands.resume({ marker: "", number: 0, group: "" }, at);
  await fixture.send("SET", KEYS.history("bad"), "something else");
  const items = ["a", "bad", "b"].map((room) => ({
    kind: "message" as const,
    room,
    json: `"${room}"`,
    heardAt: 0,
  }));
  const { taken, refused, error } = await commands.append(at, items);
  assert.equal(taken, 3);
  assert.deepEqual([...refused], [1]);
  assert.equal(error, undefined);
  assert.deepEqual(await fixture.log(), ['"a"', '"b"']);
});

Deno.test("a history that is begun anew after it was deleted says up to where messages are missing", async () => {
  await using fixture = await Fixture.open();
  const commands = fixture.commands("n0");
  const at = { marker: "n0.1", number: 0, group: "a" };
  await commands.resume({ marker: "", number: 0, group: "" }, at);
  const append = async (number: number): Promise<string> => {
    const items = ["a", "b"].map((room) => ({
      kind: "message" as const,
      room,
      json: "1",
      heardAt: 0,
    }));
    await commands.append({ ...at, number }, items);
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

Deno.test("a Redis that is full takes nothing, says so, and takes all of it later", async () => {
  await using fixture = await Fixture.open();
  const commands = fixture.commands("n0");
  const at = { marker: "n0.1", number: 0, group: "a" };
  await commands.resume({ marker: "", number: 0, group: "" }, at);
  const items = [1, 2].map((value) => ({
    kind: "message" as const,
    room: "chat",
    json: String(value),
    heardAt: 0,
  }));
  await fixture.send("CONFIG", "SET", "maxmemory", "1mb");
  const refusal = await commands.append(at, items).then(
    ({ error, place }) => `${place.number} ${error}`,
    (error) => `0 ${error}`,
  );
  assert.match(refusal, /^0 .*OOM/);
  // Listening goes on all the same.
  assert.equal((await commands.sign(1, true)).seated, true);
  await fixture.send("CONFIG", "SET", "maxmemory", "0");
  assert.equal((await commands.append(at, items)).taken, 2);
  assert.deepEqual(await fixture.log(), ["1", "2"]);
});
