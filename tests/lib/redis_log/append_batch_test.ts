import assert from "node:assert/strict";
import fc from "fast-check";
import { isEventName } from "../../../lib/log/event_name.ts";
import { createClient } from "@redis/client";
import type { PublishResult } from "../../../lib/log/log.ts";
import type { PublishRequest } from "../../../lib/log/message.ts";
import type { RedisClient } from "../../../lib/redis/connection.ts";
import { keysOf } from "../../../lib/redis/keys.ts";
import { runScript } from "../../../lib/redis/script.ts";
import {
  AppendBatch,
  type AppendReply,
} from "../../../lib/redis_log/append_batch.ts";
import { APPEND } from "../../../lib/redis_log/append_scripts.ts";
import { type RawEntry, readEntry } from "../../../lib/redis_log/entries.ts";
import { Redis } from "../../support/redis.ts";

const KEYS = keysOf("test");
/** The arguments of the script before those that the batch returns. */
const LIMITS = ["0123456789abcdef", "9007199254740991", "1000", "100", "3600"];

function publish(room: string, json: string, key?: string): PublishRequest {
  return { rooms: [room], json, ...(key !== undefined && { key }) };
}

function idsOf(results: readonly PublishResult[]): string[] {
  return results.map((result) => "id" in result ? result.id : "");
}

Deno.test("AppendBatch.add() accepts a first publish of any size, but refuses a later publish that exceeds a limit", () => {
  const long = JSON.stringify("x".repeat(200_000));
  const batch = new AppendBatch();
  assert.equal(batch.add(publish("a", long)), true);
  assert.equal(batch.add(publish("a", "1")), false, "the length");
  const messages = new AppendBatch();
  for (let i = 0; i < 1024; i++) assert.ok(messages.add(publish("a", "1")));
  assert.equal(messages.add(publish("a", "1")), false, "the messages");
  const rooms = new AppendBatch();
  for (let i = 0; i < 512; i++) assert.ok(rooms.add(publish(`${i}`, "1")));
  assert.equal(rooms.add(publish("one more", "1")), false, "the rooms");
});

Deno.test("AppendBatch.add() refuses a second publish with the same idempotency key", () => {
  const batch = new AppendBatch();
  assert.ok(batch.add(publish("a", "1", "key")));
  assert.equal(batch.add(publish("b", "2", "key")), false);
  assert.ok(batch.add(publish("b", "2", "other")));
});

Deno.test("AppendBatch.arguments() returns one piece for a room's messages without a key, and one for each message with a key", () => {
  const batch = new AppendBatch();
  batch.add(publish("a", "1"));
  batch.add(publish("b", "1"));
  batch.add(publish("a", "2"));
  batch.add(publish("a", "3", "key"));
  batch.add(publish("a", "4"));
  const [keys, args] = batch.arguments(KEYS);
  assert.deepEqual(keys.slice(4), [
    KEYS.history("a"),
    KEYS.history("b"),
    KEYS.idempotency("key"),
  ]);
  assert.deepEqual(args.slice(0, 3), ["2", "a", "b"]);
  const pieces = Array.from(
    { length: (args.length - 3) / 5 },
    (_, i) => args.slice(3 + 5 * i, 8 + 5 * i),
  );
  assert.deepEqual(pieces.map(([, ...rest]) => rest), [
    ["1", "2", "2", "0 1\n2 2"],
    ["2", "1", "1", "1"],
    ["1", "1", "3", "3"],
    ["1", "1", "4", "4"],
  ]);
  assert.deepEqual(pieces.map(([print]) => print?.length), [0, 0, 22, 0]);
});

Deno.test("AppendBatch.outcomes() returns the results in the script's reply, and entryOf() the newest id, if anything was appended", () => {
  const batch = new AppendBatch();
  batch.add(publish("a", "1"));
  batch.add(publish("b", "1", "known"));
  batch.add(publish("c", "1", "reused"));
  batch.add(publish("d", "1"));
  batch.add(publish("a", "2"));
  batch.addProbe("nonce");
  const head = [1700000000000, 1700000000001, 40, "1700000000001-44"] as const;
  const reply: AppendReply = [...head, "", "=5-1", "~", "!OOM full", ""];
  const outcome = batch.outcomes(reply);
  const results = ["a", "b", "c", "d", "a"].map(outcome);
  assert.deepEqual(idsOf(results), [
    "1700000000001-40",
    "5-1",
    "",
    "",
    "1700000000001-44",
  ]);
  assert.deepEqual(
    results.map((result) => "error" in result ? result.error.code : ""),
    ["", "", "key_reused", "log_full", ""],
  );
  assert.equal(batch.entryOf(reply), "1700000000001-44");
  const nothing: AppendReply = [...head, "!OOM", "~", "~", "!OOM", ""];
  assert.equal(batch.entryOf(nothing), undefined);
});

/** A Redis without a log, and a Redis client connected to it. */
async function connect(
  stack: AsyncDisposableStack,
): Promise<RedisClient> {
  const redis = stack.use(await Redis.start({ aof: false }));
  const client = createClient({ url: redis.url, RESP: 2 }) as RedisClient;
  await client.connect();
  stack.defer(() => client.destroy());
  return client;
}

Deno.test("APPEND writes exactly the batch's messages to the log and to the histories, for random batches", async () => {
  await using stack = new AsyncDisposableStack();
  const client = await connect(stack);
  const request = fc.record({
    rooms: fc.subarray(["a", "b", "c", "\u2028 d"], { minLength: 1 }),
    json: fc.json(),
    key: fc.option(fc.uuid(), { nil: undefined }),
    meta: fc.option(
      fc.record({ event: fc.string().filter(isEventName), from: fc.string() }, {
        requiredKeys: [],
      }),
      { nil: undefined },
    ),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: 1, maxLength: 12 }),
      async (publishes) => {
        await client.sendCommand(["FLUSHALL"]);
        const batch = new AppendBatch();
        const added = publishes.filter((one) => batch.add(one));
        const [keys, args] = batch.arguments(KEYS);
        const reply = await runScript(
          client,
          APPEND,
          keys,
          [...LIMITS, "600", ...args],
        ) as AppendReply;
        const outcome = batch.outcomes(reply);
        const expected = added.flatMap(({ rooms, json, meta }) =>
          rooms.map((room) => ({
            id: idsOf([outcome(room)])[0],
            room,
            json,
            ...(meta && { meta: { ...meta } }),
          }))
        );
        const log = await client.sendCommand(
          ["XRANGE", KEYS.log, "-", "+"],
        ) as RawEntry[];
        const entries = log.map(readEntry);
        assert.deepEqual(entries.flatMap(({ error }) => error ?? []), []);
        assert.deepEqual(
          entries.flatMap(({ messages = [] }) => messages),
          expected,
        );
        // The entry that begins the epoch is also counted.
        assert.equal(entries.at(-1)?.total, expected.length + 1);
        assert.equal(batch.entryOf(reply), entries.at(-1)?.id);
        for (const room of new Set(expected.map(({ room }) => room))) {
          const history = await client.sendCommand(
            ["XRANGE", KEYS.history(room), "-", "+"],
          ) as RawEntry[];
          const kept = history.flatMap(([id, fields]) => {
            const [kind = "", total = "", , lines = ""] = fields ?? [];
            return readEntry([id, [kind, total, room, lines]]).messages ?? [];
          });
          assert.deepEqual(
            kept,
            expected.filter((message) => message.room === room),
          );
        }
      },
    ),
    { numRuns: 60 },
  );
});
