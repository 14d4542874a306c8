/** A gap is sent again after a reconnect if the client's offset does not prove that it arrived, and only then. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { settle } from "../support/oracle.ts";
import { Redis } from "../support/redis.ts";

const FAST = {
  reconnectionDelay: 50,
  reconnectionDelayMax: 200,
  transports: ["websocket"],
};

interface Setup extends AsyncDisposable {
  redis: Redis;
  node: TestNode;
  proxy: Proxy;
}

async function setUp(): Promise<Setup> {
  const stack = new AsyncDisposableStack();
  const redis = stack.use(await Redis.start());
  const node = stack.use(await TestNode.start({ REDIS_URL: redis.url }));
  const proxy = stack.use(await Proxy.start(node.port));
  return {
    redis,
    node,
    proxy,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Drops the first chunk that contains a gap, and closes its connection. */
function loseGap(proxy: Proxy): void {
  proxy.answer = (chunk) => {
    if (!new TextDecoder().decode(chunk).includes('["gap",')) return chunk;
    proxy.answer = (chunk) => chunk;
    return undefined;
  };
}

/** Checks that the client has received one gap, and that a further reconnect recovers without another one. */
async function assertGapOnce(
  { node }: Setup,
  client: Subscriber,
  reason: string,
): Promise<void> {
  const [gap] = await client.gaps.have(1);
  assert.equal(gap?.reason, reason);
  // The answer is sent after everything that was written together with the gap.
  await client.ask("leave", { room: "nowhere" });
  const { length } = client.connects.items;
  client.socket.io.engine.close();
  await client.connects.have(length + 1);
  assert.equal(client.connects.items.at(-1), true);
  await settle(node, [client]);
  assert.equal(client.gaps.items.length, 1);
}

for (const [since, reason] of [["1-1", "epoch"], ["foo", "position"]]) {
  Deno.test(`a polling client with since ${since} receives the gap again if the response with the gap is lost`, async () => {
    await using all = await setUp();
    loseGap(all.proxy);
    await using client = new Subscriber(all.proxy.url, {
      ...FAST,
      transports: ["polling"],
      auth: { rooms: [{ room: "chat", since }] },
    });
    await client.connects.have(2);
    assert.deepEqual(client.connects.items.slice(0, 2), [false, false]);
    await assertGapOnce(all, client, reason ?? "");
  });
}

Deno.test("a gap contains the value of `since` that the client has sent at connect or in a join", async () => {
  await using all = await setUp();
  await using client = await Subscriber.connect(all.node.url, {
    auth: { rooms: [{ room: "a", since: "1-1" }, { room: "b", since: "foo" }] },
  });
  await client.ask("join", { room: "c", since: "2-2" });
  assert.deepEqual(
    client.gaps.items.map(({ room, since }) => [room, since]),
    [["a", "1-1"], ["b", null], ["c", "2-2"]],
  );
});

Deno.test("the gap of a join is sent again after a reconnect if the gap was lost together with the answer", async () => {
  await using all = await setUp();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await client.joined.have(1);
  loseGap(all.proxy);
  client.socket.emit("join", { room: "b", since: "1-1" }, () => {});
  await client.connects.have(2);
  assert.deepEqual(client.connects.items, [false, false]);
  await assertGapOnce(all, client, "epoch");
  assert.equal(client.gaps.items[0]?.room, "b");
});

Deno.test("the gap of a join is not sent again after a reconnect if the answer arrived", async () => {
  await using all = await setUp();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await client.joined.have(1);
  const [answer] = await client.ask("join", { room: "b", since: "1-1" });
  assert.equal(answer.reason, "epoch");
  await assertGapOnce(all, client, "epoch");
});

Deno.test("the gap of an emptied log is sent again after a reconnect if the connection broke while the gap was sent", async () => {
  await using all = await setUp();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await settle(all.node, [client]);
  loseGap(all.proxy);
  await all.redis.command("FLUSHALL");
  await client.connects.have(2);
  assert.deepEqual(client.connects.items, [false, false]);
  await assertGapOnce(all, client, "epoch");
});

Deno.test("the gap of a log that lost its newest entries is sent again if the connection broke while the gap was sent", async () => {
  await using all = await setUp();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await settle(all.node, [client]);
  const ahead = `${Date.now() + 3_600_000}-0`;
  await all.redis.command(
    "XADD",
    "roomcast:{roomcast}:log",
    ahead,
    "room",
    "chat",
    "message",
    '"ahead"',
  );
  await client.messages.where(() => client.ids.includes(ahead));
  loseGap(all.proxy);
  await all.redis.command("FLUSHALL");
  await client.connects.have(2);
  await assertGapOnce(all, client, "epoch");
});

Deno.test("the gap of an emptied log is not sent again if the connection breaks after the gap has arrived", async () => {
  await using all = await setUp();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await settle(all.node, [client]);
  await all.redis.command("FLUSHALL");
  await assertGapOnce(all, client, "epoch");
});
