/** A node whose clients ask for large histories and do not read them. */
import assert from "node:assert/strict";
import { sessionOf, Subscriber } from "../support/client.ts";
import { Hogs } from "../support/hogs.ts";
import { TestNode } from "../support/node.ts";
import { RawStream } from "../support/raw_stream.ts";
import { Redis } from "../support/redis.ts";
import { pauseFor, until } from "../support/wait.ts";

/** The history of the room: as many of the largest messages as a room keeps. */
const MESSAGES = 1000, MESSAGE_BYTES = 65_000;
const BATCH = 100;
/** How many clients that do not read are opened in each wave, and the number of waves. */
const WAVE = 6, WAVES = 4;
const WAVE_MS = 500;
/**
 * Most memory that the node may take, in all. It takes 450 to 750 MiB, with garbage that is not collected yet. Without a
 * limit it took 940 MiB after 8 s, and more later.
 */
const MEMORY_BYTES_MAX = 900 << 20;
/** How far behind the honest clients are, in messages. The ring of a node has about 250 of these messages. */
const BEHIND = 400;

/** Fills a room's history. Resolves to the ids of its messages. */
async function fill(node: TestNode, room: string): Promise<string[]> {
  const message = "x".repeat(MESSAGE_BYTES);
  const ids: string[] = [];
  while (ids.length < MESSAGES) {
    const messages = Array.from({ length: BATCH }, () => ({ room, message }));
    const { status, body } = await node.post("/publish/batch", { messages });
    assert.equal(status, 200);
    for (const { id } of body.results) ids.push(id);
  }
  return ids;
}

/** Watches the memory of a node until it is stopped. Resolves to the most memory that the node has taken, in bytes. */
function watchMemory(node: TestNode): () => Promise<number> {
  let isWatching = true, most = 0;
  const watching = (async () => {
    while (isWatching) {
      // There is no memory any more once the node is stopped because the test has failed.
      most = Math.max(most, await node.memory().catch(() => 0));
      await pauseFor(20);
    }
    return most;
  })();
  return () => {
    isWatching = false;
    return watching;
  };
}

Deno.test("clients that ask for different parts of a history and do not read do not fill a node's memory, and all others are served", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, CHANNELS: "-", ROOMS: "big" };
  await using node = await TestNode.start(env);
  await using away = await Subscriber.connect(node.url);
  await away.joined.have(1);
  const session = sessionOf(away);
  away.socket.io.reconnection(false);
  away.socket.io.engine.close();
  const ids = await fill(node, "big");
  const missed = ids.slice(-BEHIND);
  const since = ids.at(-BEHIND - 1) ?? "";

  const stopWatching = watchMemory(node);
  using hogs = new Hogs(node.port);
  for (let n = 0; n < WAVE * WAVES; n++) {
    if (n % WAVE === 0) await pauseFor(WAVE_MS);
    await hogs.stream("big", { last: MESSAGES - 20 * n });
    await hogs.socket("big", { last: MESSAGES - 20 * n - 10 });
    // Each of these needs more messages than those before.
    await hogs.stream("big", { since: ids[MESSAGES / 2 - 10 * n] ?? "" });
  }

  await using back = new Subscriber(node.url, { autoConnect: false });
  Object.assign(back.socket, session, { _lastOffset: since });
  back.socket.connect();
  const stream = new RawStream(["big"]);
  stream.ids = [];
  stream.lastEventId = since;
  await using _ = {
    [Symbol.asyncDispose]: () => Promise.resolve(stream.cut()),
  };
  await using newest = await Subscriber.connect(node.url, {
    auth: { rooms: [{ room: "big", last: BEHIND }] },
  });
  stream.isClosed = true;
  await until("the stream has everything", async () => {
    if (stream.received >= BEHIND) return true;
    if (stream.isClosed) stream.connect(node.port);
    await pauseFor(200);
    return false;
  });
  await back.messages.have(BEHIND);
  await newest.messages.have(BEHIND);
  assert.deepEqual(back.ids, missed);
  assert.deepEqual(stream.ids, missed);
  assert.deepEqual(newest.ids, missed);
  assert.deepEqual(back.gaps.items, []);
  assert.equal(stream.gaps, 0);
  assert.equal(back.connects.items.at(-1), true);

  const most = await stopWatching();
  assert.ok(
    most < MEMORY_BYTES_MAX,
    `the node took ${Math.round(most / (1 << 20))} MiB`,
  );
  assert.ok(await node.metric("roomcast_slow_clients_disconnected_total") > 0);
});
