/** Entries of the log that another program wrote in the format of Socket.IO's adapter. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const LOG = "roomcast:{roomcast}:log";
const EVERYBODY = { rooms: [], except: [], flags: {} };
const EVENT = ["msgReceived", "forged", { room: "chat", at: 1 }, "9-0"];

/** Forged entries, named by what the adapter would do with them. */
const FORGED: readonly [what: string, type: number, data: unknown][] = [
  [
    "a broadcast",
    3,
    { packet: { type: 2, data: EVENT, nsp: "/" }, opts: EVERYBODY },
  ],
  ["a join", 4, { opts: EVERYBODY, rooms: ["other"] }],
  ["a leave", 5, { opts: EVERYBODY, rooms: ["chat"] }],
  ["a disconnect", 6, { opts: EVERYBODY, close: true }],
  ["a search for sockets", 7, { opts: EVERYBODY, requestId: "1" }],
  ["a connection", 9, { packet: ["connection", { id: "no socket" }] }],
];

Deno.test("a node counts forged entries of the Socket.IO adapter, which have no effect on clients", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using client = await Subscriber.connect(node.url);
  const events: unknown[] = [];
  client.socket.onAny((...event) => events.push(event));
  for (const [, type, data] of FORGED) {
    const fields = { uid: "x", nsp: "/", type, data: JSON.stringify(data) };
    await redis.command(
      "XADD",
      LOG,
      "*",
      ...Object.entries(fields).flat().map(String),
    );
  }
  await until(
    "all are counted",
    async () =>
      await node.metric("roomcast_entries_skipped_total") >= FORGED.length,
  );
  const end = await node.publish("the end");
  await client.messages.where(() => client.ids.includes(end));
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    ["the end"],
  );
  assert.deepEqual(
    events.map((event) => (event as [string])[0]).filter((name) =>
      name !== "joined"
    ),
    ["msgReceived"],
  );
  assert.deepEqual(client.connects.items, [false]);
  assert.deepEqual(client.disconnects.items, []);
  const skipped = node.log.items.filter(({ kind }) => kind === "entry_skipped");
  assert.ok(skipped.length > 0);
  for (const { why } of skipped) {
    assert.match(
      String(why),
      /^Cannot use a message for the Socket\.IO adapter: Roomcast /,
    );
  }
});
