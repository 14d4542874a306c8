/** Lost histories, read from a node that was started later and whose ring does not reach back so far. */
import assert from "node:assert/strict";
import { keysOf } from "../../lib/redis/keys.ts";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const KEYS = keysOf("roomcast");
const FAST = { reconnectionDelay: 20, reconnectionDelayMax: 100 };

/** Publishes numbers into a room, each with its own request; returns their ids. */
async function publish(
  node: TestNode,
  room: string,
  count: number,
): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push(await node.publish(i, room));
  return ids;
}

/** Starts a node whose ring begins with a message that is published into another room now. */
async function startFresh(redis: Redis, node: TestNode): Promise<TestNode> {
  await node.publish("later", "elsewhere");
  await redis.command("XTRIM", KEYS.log, "MAXLEN", "1");
  return await TestNode.start({ REDIS_URL: redis.url });
}

/** Reads the messages after `since` in every way, and asserts that the node reports them as incomplete. */
async function assertGap(
  node: TestNode,
  room: string,
  since: string,
): Promise<void> {
  const path = `/rooms/${encodeURIComponent(room)}/history`;
  const { body } = await node.get(`${path}?since=${since}`);
  assert.equal(body.complete, false, room);
  await using client = await Subscriber.connect(node.url, {
    auth: { rooms: [{ room, since }] },
  });
  const [joined] = await client.joined.have(1);
  assert.deepEqual(
    [joined?.recovered, joined?.reason],
    [false, "trimmed"],
    room,
  );
  const [gap] = await client.gaps.have(1);
  assert.deepEqual([gap?.room, gap?.reason], [room, "trimmed"]);
  await client.ask("leave", { room });
  const [answer] = await client.ask("join", { room, since });
  assert.deepEqual(
    [answer.ok, answer.recovered, answer.reason],
    [true, false, "trimmed"],
    room,
  );
}

/** Asserts that a node returns `count` messages after `since` and reports them as complete. */
async function assertComplete(
  node: TestNode,
  room: string,
  since: string,
  count: number,
): Promise<void> {
  const { body } = await node.get(`/rooms/${room}/history?since=${since}`);
  assert.deepEqual([body.complete, body.messages.length], [true, count], room);
  await using client = await Subscriber.connect(node.url, {
    auth: { rooms: [] },
  });
  const [answer] = await client.ask("join", { room, since });
  assert.deepEqual(
    [answer.recovered, answer.messages.length],
    [true, count],
    room,
  );
}

const FUTURE = "9999999999999-*";
/** Ways to lose a history of twenty messages. */
const LOSSES: Readonly<
  Record<string, (key: string, ids: string[]) => string[][]>
> = {
  deleted: (key) => [["DEL", key]],
  expired: (key) => [["EXPIRE", key, "-1"]],
  emptied: (key) => [["XTRIM", key, "MAXLEN", "0"]],
  trimmed: (key) => [["XTRIM", key, "MAXLEN", "5"]],
  holed: (key, ids) => [["XDEL", key, ids[10] ?? ""]],
  tailless: (key, ids) => [["XDEL", key, ids[19] ?? ""]],
  replaced: (key) => [["DEL", key], ["XADD", key, FUTURE, "a", "b"]],
};

for (const more of [0, 2]) {
  Deno.test(
    `a newly started node sends a gap for each room with a lost history${
      more > 0 ? " that has messages again" : ""
    }, and for no other room`,
    async () => {
      await using redis = await Redis.start();
      await using node = await TestNode.start({ REDIS_URL: redis.url });
      const since = new Map<string, string>();
      for (const [room, damage] of Object.entries(LOSSES)) {
        const ids = await publish(node, room, 20);
        since.set(room, ids[0] ?? "");
        for (const command of damage(KEYS.history(room), ids)) {
          await redis.command(...command);
        }
        await publish(node, room, more);
      }
      const [first = ""] = await publish(node, "whole", 20);
      await using fresh = await startFresh(redis, node);
      for (const [room, id] of since) await assertGap(fresh, room, id);
      await assertComplete(fresh, "whole", first, 19);
      await assertComplete(fresh, "quiet", first, 0);
    },
  );
}

Deno.test("an entry that another program adds to a history under a future id causes a gap only after the room's next message", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  const since: string[] = [];
  for (const room of ["before", "after"]) {
    const [first = ""] = await publish(node, room, 20);
    since.push(first);
    await redis.command("XADD", KEYS.history(room), FUTURE, "a", "b");
  }
  await publish(node, "after", 2);
  await using fresh = await startFresh(redis, node);
  await assertComplete(fresh, "before", since[0] ?? "", 19);
  await assertGap(fresh, "after", since[1] ?? "");
});

Deno.test("clients receive a gap for a history that Redis has evicted, even if the history has messages again", async () => {
  await using redis = await Redis.start({
    args: ["--maxmemory-policy", "volatile-lru"],
  });
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  const since: string[] = [];
  for (const room of ["evicted", "refilled"]) {
    const [first = ""] = await publish(node, room, 20);
    since.push(first);
  }
  // Redis has to evict every key with an expiry, and must not evict the others.
  await redis.command("CONFIG", "SET", "maxmemory", "1mb");
  await until("the histories are evicted", async () => {
    await redis.command("SET", "filler", "1").catch(() => {});
    const keys = ["evicted", "refilled"].map(KEYS.history);
    return await redis.command("EXISTS", ...keys) === 0;
  });
  await redis.command("CONFIG", "SET", "maxmemory", "0");
  const evicted = String(await redis.command("INFO", "stats"));
  assert.match(evicted, /^evicted_keys:[1-9]/m);
  await publish(node, "refilled", 2);
  await using fresh = await startFresh(redis, node);
  await assertGap(fresh, "evicted", since[0] ?? "");
  await assertGap(fresh, "refilled", since[1] ?? "");
  await assertComplete(fresh, "quiet", since[1] ?? "", 0);
  assert.notEqual(await redis.command("ZSCORE", KEYS.rooms, "evicted"), null);
});

Deno.test("after the set of known rooms was deleted, clients with earlier positions receive a gap for rooms without a history", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  const [first = ""] = await publish(node, "deleted", 20);
  await publish(node, "whole", 20);
  await redis.command("DEL", KEYS.history("deleted"), KEYS.rooms);
  await until(
    "the set exists again",
    async () => await redis.command("ZSCORE", KEYS.rooms, "") !== null,
  );
  const [later = ""] = await publish(node, "elsewhere", 1);
  await using fresh = await startFresh(redis, node);
  await assertGap(fresh, "deleted", first);
  await assertGap(fresh, "quiet", first);
  await assertComplete(fresh, "deleted", later, 0);
  await assertComplete(fresh, "quiet", later, 0);
  await assertComplete(fresh, "whole", first, 20);
});

Deno.test("a client that reconnects to another node receives a gap if its room's history was deleted meanwhile", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using a = await TestNode.start(env);
  await using publisher = await TestNode.start(env);
  await using proxy = await Proxy.start(a.port);
  await using client = await Subscriber.connect(proxy.url, {
    ...FAST,
    auth: { rooms: ["deleted", "quiet"] },
  });
  await client.joined.have(2);
  await publisher.publish(0, "deleted");
  await client.messages.have(1);
  proxy.targets = [];
  a.signal("SIGKILL");
  await client.disconnects.have(1);
  for (let i = 1; i < 20; i++) await publisher.publish(i, "deleted");
  await redis.command("DEL", KEYS.history("deleted"));
  await using fresh = await startFresh(redis, publisher);
  proxy.targets = [fresh.port];
  await client.joined.have(4);
  assert.deepEqual(
    client.joined.items.slice(2).map((
      { room, recovered, reason },
    ) => [room, recovered, reason]),
    [["deleted", false, "trimmed"], ["quiet", true, undefined]],
  );
  assert.equal(client.connects.items.at(-1), false);
  assert.deepEqual(
    client.gaps.items.map(({ room, reason }) => [room, reason]),
    [["deleted", "trimmed"]],
  );
});
