/** Tests of the set of known rooms: how it affects whether pages are complete, and that its size is limited. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { AppendBatch } from "../../../lib/redis_log/append_batch.ts";
import { readHistory } from "../../../lib/redis_log/history.ts";
import type { RedisClient } from "../../../lib/redis/connection.ts";
import { check as checkLog } from "../../../lib/redis_log/check.ts";
import { runScript } from "../../../lib/redis/script.ts";
import { APPEND } from "../../../lib/redis_log/append_scripts.ts";
import { Witness } from "../../../lib/redis_log/witness.ts";
import {
  Fixture,
  FUTURE,
  KEYS,
  numbers,
  range,
} from "../../support/history.ts";
import { Redis } from "../../support/redis.ts";
import { createClient } from "@redis/client";

/** Kinds of damage that another program does to a history. */
const damage = fc.constantFrom(
  "delete",
  "delete entry",
  "trim",
  "clear",
  "expire",
  "add entry",
  "add late entry",
  "add late message",
  "delete and add",
);
const operation = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("publish" as const),
      rooms: fc.uniqueArray(fc.nat({ max: 2 }), { minLength: 1 }),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("damage" as const),
      room: fc.nat({ max: 2 }),
      how: damage,
      entry: fc.nat({ max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("forget" as const) }) },
);
type Damage = Extract<
  typeof operation extends fc.Arbitrary<infer T> ? T : never,
  { kind: "damage" }
>;

/** A room into which the numbers from 1 on are published. */
interface Room {
  readonly ids: string[];
  /** The number of messages at the time when the room was last damaged; -1 if it was never damaged. */
  damagedAt: number;
}

const SIZE = 7;

async function apply(
  fixture: Fixture,
  room: string,
  { how, entry }: Damage,
): Promise<void> {
  const send = fixture.send.bind(fixture), history = KEYS.history(room);
  const entries = await send("XRANGE", history, "-", "+") as [string][];
  const id = entries.at(-1 - entry)?.[0];
  if (how.startsWith("delete") && how !== "delete entry") {
    await send("DEL", history);
  }
  if (how === "delete entry" && id !== undefined) {
    await send("XDEL", history, id);
  }
  if (how === "clear") await fixture.log.history.clear(room);
  if (how === "expire") await send("EXPIRE", history, "-1");
  if (how === "add entry") await send("XADD", history, "*", "a", "b");
  if (how === "trim") await send("XTRIM", history, "MAXLEN", `${entry}`);
  if (how === "delete and add") await send("XADD", history, "5-1", "a", "b");
  if (how === "add late entry") await send("XADD", history, FUTURE, "a", "b");
  if (how === "add late message") {
    await send("XADD", history, FUTURE, "run", "1", "lines", "0 99");
  }
}

/** Checks that the pages of a room are complete exactly if they have all published messages. */
async function assertTrue(
  fixture: Fixture,
  name: string,
  { ids, damagedAt }: Room,
): Promise<void> {
  for (const [index, since] of [undefined, ...ids].entries()) {
    const page = await fixture.history(name, since);
    const all = range(index + 1, ids.length);
    // A complete page has all messages …
    if (page.complete) assert.deepEqual(numbers(page), all, `since ${since}`);
    // … and a page is complete if no later message was trimmed or lost.
    if (index > damagedAt) {
      assert.equal(page.complete, all.length <= SIZE, `since ${since}`);
    }
    const back = await fixture.history(name, since, "desc");
    const older = range(1, since === undefined ? ids.length : index - 1);
    if (back.complete) assert.deepEqual(numbers(back), older.reverse());
  }
}

Deno.test("a page is complete exactly if no message is missing, after random publishes and losses", async () => {
  await using fixture = await Fixture.open({ historySize: SIZE });
  const send = fixture.send.bind(fixture);
  let round = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { minLength: 2, maxLength: 9, size: "max" }),
      async (operations) => {
        const here = ++round;
        const rooms = [0, 1, 2].map((): Room => ({ ids: [], damagedAt: -1 }));
        const nameOf = (room: number): string => `${here} ${room}`;
        // No message is missing, because the rooms are new.
        await send("DEL", KEYS.rooms);
        await send("ZADD", KEYS.rooms, "0", "");
        for (const operation of operations) {
          if (operation.kind === "forget") {
            await send("DEL", KEYS.rooms);
            // Without the set, it is unknown whether a room had earlier messages.
            for (const room of rooms) {
              if (room.ids.length === 0) room.damagedAt = 0;
            }
          } else if (operation.kind === "damage") {
            const room = rooms[operation.room] as Room;
            await apply(fixture, nameOf(operation.room), operation);
            room.damagedAt = room.ids.length;
          } else {
            // The numbers continue in each room.
            for (const index of operation.rooms) {
              const { ids } = rooms[index] as Room;
              const values = range(
                ids.length + 1,
                ids.length + operation.count,
              );
              ids.push(...await fixture.batch([nameOf(index)], values));
            }
          }
          for (const [index, room] of rooms.entries()) {
            if (room.ids.length === 0) continue;
            await assertTrue(fixture, nameOf(index), room);
          }
        }
      },
    ),
    { numRuns: 100 },
  );
});

/** A Redis without a log, and a Redis client connected to it. */
async function connect(): Promise<AsyncDisposable & { client: RedisClient }> {
  const redis = await Redis.start({ aof: false });
  const client = createClient({ url: redis.url, RESP: 2 }) as RedisClient;
  await client.connect();
  return {
    client,
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await redis[Symbol.asyncDispose]();
    },
  };
}

async function check(
  client: RedisClient,
  historySeconds: number,
): Promise<void> {
  const question = new Witness().question("0123456789abcdef", 0);
  const limits = { logLength: 1000, historySeconds };
  await checkLog(client, KEYS, limits, question);
}

/** Records that an epoch is confirmed for this server. */
async function confirm(client: RedisClient, epoch: string): Promise<void> {
  const info = String(await client.sendCommand(["INFO", "everything"]));
  const [run, history] = [/run_id:(\w+)/, /master_replid:(\w+)/].map(
    (pattern) => pattern.exec(info)?.[1],
  );
  const fields = { epoch, id: `${run}:${history}`, begun: "0", lineage: "l" };
  await client.sendCommand(
    ["HSET", KEYS.server, ...Object.entries(fields).flat()],
  );
}

async function publish(client: RedisClient, rooms: string[]): Promise<void> {
  const group = new AppendBatch();
  for (const room of rooms) group.add({ rooms: [room], json: "1" });
  const [keys, args] = group.arguments(KEYS);
  const limits = [Number.MAX_SAFE_INTEGER, 1000, 100, 3600, 600].map(String);
  await runScript(client, APPEND, keys, [
    "0123456789abcdef",
    ...limits,
    ...args,
  ]);
}

/** Adds rooms to the set whose last message is older than an hour. */
async function addOld(client: RedisClient, count: number): Promise<void> {
  const old = Date.now() - 3_700_000;
  for (let first = 0; first < count; first += 1000) {
    const members = range(first, Math.min(first + 1000, count) - 1).flatMap(
      (i) => [`${old + i}`, `old ${i}`],
    );
    await client.sendCommand(["ZADD", KEYS.rooms, ...members]);
  }
}

Deno.test("check() removes only those known rooms whose messages have expired, at most 1,000 per call", async () => {
  await using redis = await connect();
  const { client } = redis;
  const size = () => client.sendCommand(["ZCARD", KEYS.rooms]).then(Number);
  await publish(client, ["a", "b"]);
  await addOld(client, 2500);
  for (const left of [1503, 503, 3, 3]) {
    await check(client, 3600);
    assert.equal(await size(), left);
  }
  const members = await client.sendCommand(["ZRANGE", KEYS.rooms, "0", "-1"]);
  assert.deepEqual(members, ["", "a", "b"]);
});

Deno.test("append() removes at least as many expired rooms from the known rooms as it adds new rooms", async () => {
  await using redis = await connect();
  const { client } = redis;
  await publish(client, ["a"]);
  await addOld(client, 1000);
  for (const [from, old] of [[0, 600], [200, 200], [400, 0]] as const) {
    await publish(client, range(from, from + 199).map((i) => `new ${i}`));
    // Publishing again into the same rooms removes no room.
    await publish(client, range(from, from + 199).map((i) => `new ${i}`));
    const left = await client.sendCommand(["ZCARD", KEYS.rooms]);
    assert.equal(Number(left), 2 + from + 200 + old);
  }
});

Deno.test("a page from an old id is not complete if a node whose HISTORY_SECONDS is shorter has removed the room as expired", async () => {
  await using redis = await connect();
  const { client } = redis;
  const now = Date.now();
  const day = 86_400;
  // A log that began two days ago, and a room that had its last message ten minutes ago.
  await client.sendCommand([
    "XADD",
    KEYS.log,
    `${now - 2 * day * 1000}-0`,
    "epoch",
    "e",
  ]);
  await client.sendCommand(["SET", KEYS.epoch, `e@${now - 2 * day * 1000}-0`]);
  await confirm(client, "e");
  await client.sendCommand([
    "ZADD",
    KEYS.rooms,
    "0",
    "",
    `${now - 600_000}`,
    "a",
  ]);
  await publish(client, ["other"]);
  const complete = async (room: string, ageMs: number): Promise<boolean> =>
    (await readHistory(
      client,
      KEYS,
      room,
      {
        since: { epoch: undefined, id: `${now - ageMs}-0` },
        order: "asc",
        limit: 10,
      },
      { historySize: 100, historySeconds: day },
    )).complete;
  const ages = [700_000, 500_000, 1000];
  const ask = (room: string) =>
    Promise.all(ages.map((age) => complete(room, age)));
  assert.deepEqual(await ask("a"), [false, true, true]);
  assert.deepEqual(await ask("quiet"), [true, true, true]);
  await check(client, 60);
  assert.equal(await client.sendCommand(["ZSCORE", KEYS.rooms, "a"]), null);
  // Rooms are removed once they are older than `HISTORY_SECONDS` plus one minute.
  assert.deepEqual(await ask("a"), [false, false, true]);
});

Deno.test("a page is not complete if the log does not exist", async () => {
  await using redis = await connect();
  await redis.client.sendCommand(["SET", KEYS.epoch, `e@${Date.now()}-0`]);
  await redis.client.sendCommand(["ZADD", KEYS.rooms, "0", ""]);
  for (const since of [undefined, { epoch: undefined, id: "1-1" }]) {
    const { complete } = await readHistory(
      redis.client,
      KEYS,
      "a",
      { since, order: "asc", limit: 10 },
      { historySize: 100, historySeconds: 60 },
    );
    assert.equal(complete, false);
  }
});

Deno.test("a page since a position is complete if the history was cleared before it, all in one millisecond", async () => {
  await using fixture = await Fixture.open();
  // The log gives out ids of this millisecond until it is over.
  await fixture.send("XADD", KEYS.log, `${Date.now() + 60_000}-1`, "a", "b");
  const ids = await fixture.publish("a", 1, 3);
  await fixture.log.history.clear("a");
  const { position } = await fixture.history("a");
  await fixture.publish("a", 4, 5);
  const page = await fixture.history("a", position);
  assert.deepEqual(numbers(page), [4, 5]);
  assert.equal(page.complete, true);
  assert.equal((await fixture.history("a", ids[1])).complete, false);
});
