/** A node of an earlier commit and a node of this one on the same Redis, as during a rolling upgrade. */
import assert from "node:assert/strict";
import type { Manager } from "socket.io-client";
import type { EntryMeta } from "../../lib/log/message.ts";
import { RedisLog } from "../../lib/redis_log/redis_log.ts";
import { Subscriber } from "../support/client.ts";
import { TestNode } from "../support/node.ts";
import { checkOut, hasCommit } from "../support/previous_version.ts";
import { Redis } from "../support/redis.ts";
import { makeToken, SECRET } from "../support/tokens.ts";
import { soon, until } from "../support/wait.ts";
import { silentReader } from "../support/silent_reader.ts";

/** The last commit before messages could have meta, and before `lib/` had folders. */
const PREVIOUS = "ffd91cffc71d7d630b4f6095d15d1741f061e898";
/** The last commit that reads meta, but neither publishes nor delivers the names of events. */
const BEFORE_EVENTS = "283c0d965926567e0af6dab1c380e1581e8f0c79";
/** The last commit in which clients cannot publish. */
const BEFORE_CLIENT_PUBLISH = "bf9d6d4cc50b48f1e8143b588c6863b4cc624ce1";
const ROOMS = ["a", "b"];

const isThere = {
  [PREVIOUS]: await hasCommit(PREVIOUS),
  [BEFORE_EVENTS]: await hasCommit(BEFORE_EVENTS),
  [BEFORE_CLIENT_PUBLISH]: await hasCommit(BEFORE_CLIENT_PUBLISH),
};

/** Two nodes on one Redis. */
interface Setup {
  readonly redis: Redis;
  readonly before: TestNode;
  readonly now: TestNode;
}

/** Registers a test that is ignored if this clone lacks the previous commit. */
function test(
  name: string,
  run: (setup: Setup) => Promise<void>,
  commit: keyof typeof isThere = PREVIOUS,
  settings: Readonly<Record<string, string>> = {},
): void {
  const ignore = !isThere[commit];
  const why = `ignored because this clone lacks commit ${
    commit.slice(0, 7)
  }; run git fetch --unshallow`;
  Deno.test({
    name: ignore ? `${name} (${why})` : name,
    ignore,
    async fn() {
      await using checkout = await checkOut(commit);
      await using redis = await Redis.start();
      const env = {
        REDIS_URL: redis.url,
        ROOMS: "a,b",
        CHANNELS: "a",
        ...settings,
      };
      await using before = await TestNode.start(env, {
        checkout: checkout.url,
      });
      await using now = await TestNode.start(env);
      await run({ redis, before, now });
    },
  });
}

/** Connects a client that can move to another node. */
async function connect(node: TestNode): Promise<Subscriber> {
  return await Subscriber.connect(node.url, {
    auth: { rooms: ROOMS },
    transports: ["websocket"],
    reconnectionDelay: 10,
    reconnectionDelayMax: 100,
  });
}

/** Breaks a client's connection and lets it reconnect to another node, after `away` has run. */
async function move(
  client: Subscriber,
  to: TestNode,
  away: () => Promise<unknown>,
): Promise<void> {
  const { io } = client.socket as unknown as { io: Manager };
  const connects = client.connects.items.length;
  io.reconnection(false);
  io.engine.close();
  await client.disconnects.where(() => !client.socket.connected);
  await away();
  Object.assign(io, { uri: to.url });
  io.reconnection(true);
  client.socket.connect();
  await soon(client.connects.have(connects + 1), "the client reconnects");
}

/** Publishes to both rooms, in turn on each node: a batch, and a message for both rooms. Returns the ids in order. */
async function publishOnBoth({ before, now }: Setup): Promise<string[]> {
  const ids: string[] = [];
  for (let round = 0; round < 10; round++) {
    for (const node of [before, now]) {
      for (
        const [path, request] of [
          ["/publish/batch", {
            messages: [0, 1, 2, 3, 4].map((i) => ({
              room: ROOMS[i % 2],
              message: `${round}.${i}`,
            })),
          }],
          ["/publish", { rooms: ROOMS, message: `${round}` }],
        ] as const
      ) {
        const { body } = await node.post(path, request);
        for (const { id } of body.results) ids.push(id);
      }
    }
  }
  assert.equal(ids.length, 140);
  assert.ok(!ids.includes(undefined as never), "all are published");
  return ids;
}

/** Waits until a client has received messages, and checks that it got each once, in order and without a gap. */
async function received(client: Subscriber, ids: string[]): Promise<void> {
  await client.messages.where(() => client.ids.includes(ids.at(-1) ?? ""));
  assert.deepEqual(client.ids.slice(-ids.length), ids);
  assert.equal(new Set(client.ids).size, client.ids.length);
  assert.deepEqual(client.gaps.items, []);
}

test("messages published on a node of the previous version or of this version reach the clients of both nodes once and in order", async (setup) => {
  const { redis, before, now } = setup;
  await using clientBefore = await connect(before);
  await using clientNow = await connect(now);
  const ids = await publishOnBoth(setup);
  await received(clientBefore, ids);
  await received(clientNow, ids);
  for (const room of ROOMS) {
    const pages = await Promise.all(
      [before, now].map((node) => node.get(`/rooms/${room}/history?limit=500`)),
    );
    const [first, second] = pages.map(({ body }) => body);
    assert.equal(first.complete, true);
    assert.deepEqual(first, second);
    const kept = first.messages.map(({ id }: { id: string }) => id);
    const inRoom = clientNow.messages.items.filter((one) => one.room === room);
    assert.deepEqual(kept, inRoom.map(({ id }) => id));
  }
  // A repeated publish is known on the other node, in both directions.
  for (const [first, second] of [[before, now], [now, before]] as const) {
    const body = { room: "a", message: "once", key: `key of ${first.port}` };
    const [one, two] = [
      await first.post("/publish", body),
      await second.post("/publish", body),
    ];
    assert.equal(one.body.id, two.body.id);
    assert.equal(two.body.duplicate, true);
    await received(clientBefore, [one.body.id]);
    await received(clientNow, [one.body.id]);
  }
  await redis.command("PUBLISH", "a", "by Redis");
  for (const client of [clientBefore, clientNow]) {
    await client.messages.where(() =>
      client.messages.items.at(-1)?.message === "by Redis"
    );
  }
  assert.deepEqual(clientBefore.ids, clientNow.ids);
  // The previous version does not know the command between nodes that this sends, and skips it.
  const revoked = await now.post("/revoke", { user: "ann" });
  assert.equal(revoked.status, 200);
  await before.log.where(() =>
    before.log.items.some(({ kind }) => kind === "entry_skipped")
  );
  const after = await before.publish("after", "a");
  for (const client of [clientBefore, clientNow]) {
    await received(client, [after]);
  }
});

test("a client recovers all messages when it moves between nodes of the previous version and of this version", async (setup) => {
  const { before, now } = setup;
  await using client = await connect(before);
  for (const node of [now, before, now]) {
    await received(client, await publishOnBoth(setup));
    let missed: string[] = [];
    await move(client, node, async () => missed = await publishOnBoth(setup));
    assert.equal(client.connects.items.at(-1), true, "recovered");
    await received(client, missed);
  }
});

test("a node of the previous version skips messages with meta and delivers all others", async ({ redis, before, now }) => {
  const meta: EntryMeta = { event: "moved", from: "alice" };
  await using clientBefore = await connect(before);
  await using clientNow = await connect(now);
  const log = new RedisLog({
    url: redis.url,
    keyPrefix: "roomcast",
    historySize: 100,
    historySeconds: 3600,
    idempotencySeconds: 600,
    ackReplicas: 0,
    recoverySeconds: 120,
    reader: silentReader,
    observe: () => {},
  });
  try {
    await until(
      "the log can be reached",
      () => log.probe().then(() => true, () => false),
    );
    const results = await log.append([
      { rooms: ["a"], json: '"without, first"' },
      { rooms: ["a"], json: '"with"', meta },
      { rooms: ["a"], json: '"without, last"' },
    ]);
    const ids = results.flat().map((result) => "id" in result ? result.id : "");
    await received(clientNow, ids);
    await received(clientBefore, [ids[0] ?? "", ids[2] ?? ""]);
    const skipped = (): unknown[] =>
      before.log.items.filter(({ kind }) => kind === "entry_skipped").map(
        ({ id }) => id,
      );
    await before.log.where(() => skipped().length > 0);
    assert.deepEqual(skipped(), [ids[1]]);
    const { messages } = await log.history.read("a", {
      since: undefined,
      order: "asc",
      limit: 10,
    });
    assert.deepEqual(messages.map((message) => message.meta), [
      undefined,
      meta,
      undefined,
    ]);
  } finally {
    await log.close();
  }
});

/** Returns the names of the events with which a client received messages. */
function eventsOf({ messages }: Subscriber, ids: string[]): unknown[] {
  const events = new Map(messages.items.map(({ id, event }) => [id, event]));
  return ids.map((id) => events.get(id));
}

test(
  "a node that does not know names of events delivers every message as msgReceived, and a client that moves misses nothing",
  async ({ before, now }) => {
    await using client = await connect(before);
    await using clientNow = await connect(now);
    const publish = async (event?: string): Promise<string> => {
      const key = event === undefined ? {} : { key: event };
      const request = { room: "a", event, message: 1, ...key };
      const { status, body } = await now.post("/publish", request);
      assert.equal(status, 200);
      return body.id;
    };
    const names = [undefined, "moved", undefined, "🚀"];
    const ids: string[] = [];
    for (const name of names) ids.push(await publish(name));
    assert.equal(await publish("moved"), ids[1]);
    await received(client, ids);
    await received(clientNow, ids);
    assert.deepEqual(eventsOf(client, ids), Array(4).fill("msgReceived"));
    assert.deepEqual(
      eventsOf(clientNow, ids),
      names.map((name) => name ?? "msgReceived"),
    );
    const [old, current] = await Promise.all(
      [before, now].map(async (node) =>
        (await node.get("/rooms/a/history")).body.messages
      ),
    );
    assert.deepEqual(
      current.map(({ event }: { event?: string }) => event),
      names,
    );
    for (const message of current) delete message.event;
    assert.deepEqual(old, current);
    // The old node refuses what it does not know, and publishes nothing.
    const request = { room: "a", event: "moved", message: 1 };
    const { status, body } = await before.post("/publish", request);
    assert.deepEqual([status, body.error.code], [400, "unknown_field"]);
    let missed: string[] = [];
    await move(client, now, async () => missed = [await publish("missed")]);
    await received(client, missed);
    assert.deepEqual(eventsOf(client, missed), ["missed"]);
  },
  BEFORE_EVENTS,
);

test(
  "messages of clients reach the clients of a node that does not let clients publish, with their user, and a client that moves misses nothing",
  async ({ before, now }) => {
    await using client = await connect(before);
    await using clientNow = await connect(now);
    const users = new Map<string, unknown>();
    for (const { socket } of [client, clientNow]) {
      socket.on("msgReceived", (_, info, id) => users.set(id, info.from));
    }
    const caps = [{ rooms: ["*"], allow: ["sub", "pub", "history"] }];
    const token = await makeToken({ sub: "ann", caps });
    const options = { transports: ["websocket"], auth: { token, rooms: [] } };
    await using ann = await Subscriber.connect(now.url, options);
    const publish = async (message: unknown, key?: string): Promise<string> => {
      const [{ id }] = await ann.ask("publish", { room: "a", message, key });
      return id;
    };
    const ids = [await publish(1), await publish(2, "k")];
    ids.push(await before.publish(3, "a"), await publish(4));
    assert.equal(await publish(2, "k"), ids[1]);
    await received(client, ids);
    await received(clientNow, ids);
    const from = ["ann", "ann", undefined, "ann"];
    assert.deepEqual(ids.map((id) => users.get(id)), from);
    const [old, current] = await Promise.all(
      [before, now].map(async (node) =>
        (await node.request("/rooms/a/history", {
          headers: { authorization: `Bearer ${token}` },
        })).body.messages
      ),
    );
    assert.deepEqual(old, current);
    assert.deepEqual(
      current.map((message: { from?: string }) => message.from),
      from,
    );
    await using other = await Subscriber.connect(before.url, options);
    const [{ error }] = await other.ask("publish", { room: "a", message: 1 });
    assert.equal(error.code, "unknown_event");
    let missed: string[] = [];
    await move(client, now, async () => missed = [await publish("missed")]);
    await received(client, missed);
    await move(client, before, async () => missed = [await publish("again")]);
    await received(client, missed);
    assert.equal(users.get(missed[0] ?? ""), "ann");
  },
  BEFORE_CLIENT_PUBLISH,
  { TOKEN_SECRET: SECRET, PUBLIC_ROOMS: "a,b" },
);
