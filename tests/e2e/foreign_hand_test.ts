import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const LOG = "roomcast:{roomcast}:log";
const EPOCH = "roomcast:{roomcast}:epoch";

/** Starts Redis, a node and a client in a room that is not bridged. */
async function setUp(): Promise<
  { redis: Redis; node: TestNode; client: Subscriber } & AsyncDisposable
> {
  const stack = new AsyncDisposableStack();
  const redis = stack.use(await Redis.start());
  const node = stack.use(await TestNode.start({ REDIS_URL: redis.url }));
  const client = stack.use(
    await Subscriber.connect(node.url, { auth: { rooms: ["a"] } }),
  );
  return {
    redis,
    node,
    client,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

for (
  const [what, value] of [
    ["an invalid text", "rubbish"],
    ["an empty text", ""],
    ["an epoch that never began", "abcdefghabcdefgh@5-5"],
  ] as const
) {
  Deno.test(`clients receive one gap, and later messages, if another program sets the key of the epoch to ${what}`, async () => {
    await using all = await setUp();
    const { redis, node, client } = all;
    await node.publish("before", "a");
    await client.messages.have(1);
    await redis.command("SET", EPOCH, value);
    const [gap] = await client.gaps.have(1, 5000);
    assert.equal(gap?.reason, "epoch");
    const id = await node.publish("after", "a");
    await client.messages.where(() => client.ids.includes(id));
    assert.equal(client.gaps.items.length, 1);
  });
}

Deno.test("a publish succeeds in a new epoch if another program has set the key of the epoch to a list", async () => {
  await using all = await setUp();
  const { redis, node, client } = all;
  await redis.command("DEL", EPOCH);
  await redis.command("RPUSH", EPOCH, "a", "list");
  const id = await node.publish("after", "a");
  await client.messages.where(() => client.ids.includes(id));
  assert.equal(client.gaps.items[0]?.reason, "epoch");
});

for (const name of ["server", "nodes", "saves"]) {
  Deno.test(`nodes replace the key "${name}" without a gap if another program has set the key to another type`, async () => {
    await using all = await setUp();
    const { redis, node, client } = all;
    const key = `roomcast:{roomcast}:${name}`;
    await redis.command("SET", key, "something else");
    await until(
      "the key is a hash again",
      async () => await redis.command("TYPE", key) !== "string",
    );
    const id = await node.publish("after", "a");
    await client.messages.where(() => client.ids.includes(id));
    assert.equal(client.gaps.items.length, 0);
  });
}

Deno.test("publishing continues in a new epoch if another program adds an entry with the greatest possible id", async () => {
  await using all = await setUp();
  const { redis, node, client } = all;
  await node.publish("before", "a");
  await client.messages.have(1);
  const greatest = "18446744073709551615-18446744073709551615";
  await redis.command("XADD", LOG, greatest, "probe", "foreign");
  // The first of these messages may be published before the gap and be lost.
  await until("messages flow again", async () => {
    await node.publish("after", "a");
    return client.messages.items.length > 1;
  });
  assert.equal(client.gaps.items[0]?.reason, "epoch");
  assert.equal((await node.get("/readyz")).status, 200);
});

Deno.test("clients receive a gap with reason epoch if the log loses its newest entries and gets a new entry at once", async () => {
  await using all = await setUp();
  const { redis, node, client } = all;
  await node.publish("kept", "a");
  await until("the log is saved", async () => {
    return await redis.command("SAVE") === "OK";
  });
  for (let i = 0; i < 3; i++) await node.publish(`lost ${i}`, "a");
  await client.messages.have(4);
  // As if Redis had loaded an older snapshot and accepted a message before any node could check.
  const later = String(Date.now() + 1000);
  await redis.command(
    "EVAL",
    `
    local entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 3)
    for _, entry in ipairs(entries) do redis.call('XDEL', KEYS[1], entry[1]) end
    local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
    local total = tonumber(last[2][2])
    redis.call('XSETID', KEYS[1], last[1], 'ENTRIESADDED', total)
    redis.call('XADD', KEYS[1], ARGV[1] .. '-7', 'run', total + 1, 'a', '0 "new"')`,
    "1",
    LOG,
    later,
  );
  const [gap] = await client.gaps.have(1, 5000);
  assert.equal(gap?.reason, "epoch");
});

Deno.test("clients receive a gap with reason trimmed if an entry is deleted before the clients' node has read the entry", async () => {
  await using all = await setUp();
  const { redis, node, client } = all;
  await node.publish("read", "a");
  await client.messages.have(1);
  node.signal("SIGSTOP");
  await using other = await TestNode.start({
    REDIS_URL: redis.url,
    CHANNELS: "other",
  });
  const lost = await other.publish("lost", "a");
  await redis.command("XDEL", LOG, lost);
  const id = await other.publish("after", "a");
  node.signal("SIGCONT");
  await client.messages.where(() => client.ids.includes(id));
  assert.equal(client.gaps.items[0]?.reason, "trimmed");
});
