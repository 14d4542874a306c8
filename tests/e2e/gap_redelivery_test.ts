/** A gap is told again where what the client shows does not prove that it heard of it, and only there. */
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

interface Scene extends AsyncDisposable {
  redis: Redis;
  node: TestNode;
  proxy: Proxy;
}

async function scene(): Promise<Scene> {
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

/** Cuts the connection, once, in place of passing on what holds a gap. */
function loseGap(proxy: Proxy): void {
  proxy.answer = (chunk) => {
    if (!new TextDecoder().decode(chunk).includes('["gap",')) return chunk;
    proxy.answer = (chunk) => chunk;
    return undefined;
  };
}

/** The client has been told once, and comes back from another cut as one that misses nothing. */
async function toldOnce(
  { node }: Scene,
  client: Subscriber,
  reason: string,
): Promise<void> {
  const [gap] = await client.gaps.have(1);
  assert.equal(gap?.reason, reason);
  // Answered behind all that was written with the gap.
  await client.ask("leave", { room: "nowhere" });
  const { length } = client.connects.items;
  client.socket.io.engine.close();
  await client.connects.have(length + 1);
  assert.equal(client.connects.items.at(-1), true);
  await settle(node, [client]);
  assert.equal(client.gaps.items.length, 1);
}

for (const [since, reason] of [["1-1", "epoch"], ["foo", "position"]]) {
  Deno.test(`a client that names ${since} hears why it cannot have it, also where it polls and the first answer is lost`, async () => {
    await using all = await scene();
    loseGap(all.proxy);
    await using client = new Subscriber(all.proxy.url, {
      ...FAST,
      transports: ["polling"],
      auth: { rooms: [{ room: "chat", since }] },
    });
    await client.connects.have(2);
    assert.deepEqual(client.connects.items.slice(0, 2), [false, false]);
    await toldOnce(all, client, reason ?? "");
  });
}

Deno.test("a gap says since when, as the client named it at connect or in a join", async () => {
  await using all = await scene();
  await using client = await Subscriber.connect(all.node.url, {
    auth: { rooms: [{ room: "a", since: "1-1" }, { room: "b", since: "foo" }] },
  });
  await client.ask("join", { room: "c", since: "2-2" });
  assert.deepEqual(
    client.gaps.items.map(({ room, since }) => [room, since]),
    [["a", "1-1"], ["b", null], ["c", "2-2"]],
  );
});

Deno.test("a join that names what it cannot have: the gap is told, also where it is lost with the answer", async () => {
  await using all = await scene();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await client.joined.have(1);
  loseGap(all.proxy);
  client.socket.emit("join", { room: "b", since: "1-1" }, () => {});
  await client.connects.have(2);
  assert.deepEqual(client.connects.items, [false, false]);
  await toldOnce(all, client, "epoch");
  assert.equal(client.gaps.items[0]?.room, "b");
});

Deno.test("a join that names what it cannot have, and is answered: told once", async () => {
  await using all = await scene();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await client.joined.have(1);
  const [answer] = await client.ask("join", { room: "b", since: "1-1" });
  assert.equal(answer.reason, "epoch");
  await toldOnce(all, client, "epoch");
});

Deno.test("a log that began anew is told, also to one whose connection breaks in that moment", async () => {
  await using all = await scene();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await settle(all.node, [client]);
  loseGap(all.proxy);
  await all.redis.command("FLUSHALL");
  await client.connects.have(2);
  assert.deepEqual(client.connects.items, [false, false]);
  await toldOnce(all, client, "epoch");
});

Deno.test("a log that went back to lower ids is told, also to one whose connection breaks in that moment", async () => {
  await using all = await scene();
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
  await toldOnce(all, client, "epoch");
});

Deno.test("a log that began anew is told once to one whose connection breaks later", async () => {
  await using all = await scene();
  await using client = await Subscriber.connect(all.proxy.url, FAST);
  await settle(all.node, [client]);
  await all.redis.command("FLUSHALL");
  await toldOnce(all, client, "epoch");
});
