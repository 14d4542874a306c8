import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { Inbox, until } from "../support/wait.ts";

const FAST = {
  reconnectionDelay: 20,
  reconnectionDelayMax: 100,
  randomizationFactor: 0.5,
};

function messagesOf(client: Subscriber): unknown[] {
  return client.messages.items.map(({ message }) => message);
}

Deno.test("a reconnecting client gets the missed messages once and in order, with and without Redis", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    for (const transports of [["websocket"], ["polling"]]) {
      await using node = await TestNode.start(env);
      await using proxy = await Proxy.start(node.port);
      await using client = await Subscriber.connect(proxy.url, {
        ...FAST,
        transports,
        auth: { rooms: ["a", "b"] },
      });
      await client.joined.have(2);
      await node.publish(1, "a");
      await client.messages.have(1);
      proxy.targets = [];
      proxy.cut();
      await client.disconnects.have(1);
      for (let i = 2; i <= 50; i++) await node.publish(i, i % 2 ? "a" : "b");
      await node.publish("elsewhere", "c");
      proxy.targets = [node.port];
      await client.messages.have(50);
      await node.publish(51, "b");
      await client.messages.have(51);
      assert.deepEqual(
        messagesOf(client),
        Array.from({ length: 51 }, (_, i) => i + 1),
      );
      assert.equal(client.connects.items.at(-1), true);
      assert.deepEqual(
        client.joined.items.map(({ room, recovered }) => [room, recovered]),
        [
          ["a", false],
          ["b", false],
          ["a", true],
          ["b", true],
        ],
      );
      assert.equal(client.gaps.items.length, 0);
    }
  }
});

Deno.test("a client that never received a message recovers on another node", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env);
  await using proxy = await Proxy.start(a.port);
  await using client = await Subscriber.connect(proxy.url, FAST);
  await client.joined.have(1);
  const ids = [client.socket.id];
  for (const [round, port] of [b.port, a.port, b.port].entries()) {
    proxy.targets = [];
    proxy.cut();
    await client.disconnects.have(round + 1);
    await a.publish(round * 2);
    await b.publish(round * 2 + 1);
    proxy.targets = [port];
    await client.messages.have(round * 2 + 2);
    assert.equal(client.connects.items.at(-1), true);
    ids.push(client.socket.id);
  }
  assert.deepEqual(messagesOf(client), [0, 1, 2, 3, 4, 5]);
  assert.equal(new Set(ids).size, 1, "the session keeps the id of its client");
});

Deno.test("a client of a killed node recovers on a node that was started later", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using a = await TestNode.start(env);
  await using publisher = await TestNode.start(env);
  await using proxy = await Proxy.start(a.port);
  await using client = await Subscriber.connect(proxy.url, FAST);
  await client.joined.have(1);
  await publisher.publish(0);
  await client.messages.have(1);
  proxy.targets = [];
  a.signal("SIGKILL");
  for (let i = 1; i < 20; i++) await publisher.publish(i);
  await using fresh = await TestNode.start(env);
  proxy.targets = [fresh.port];
  await client.messages.have(20);
  assert.deepEqual(messagesOf(client), Array.from({ length: 20 }, (_, i) => i));
  assert.equal(client.connects.items.at(-1), true);
});

Deno.test("a client recovers and gets each message once if its previous connection is still half-open", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env);
  for (const [first, second] of [[a, a], [a, b]] as const) {
    await using proxy = await Proxy.start(first.port);
    await using client = await Subscriber.connect(proxy.url, {
      ...FAST,
      transports: ["websocket"],
    });
    await client.joined.have(1);
    await until(
      "it is the only client",
      async () => await first.metric("roomcast_clients") === 1,
    );
    await a.publish("before");
    await client.messages.have(1);
    proxy.freeze();
    await a.publish("meanwhile");
    proxy.thaw();
    proxy.targets = [second.port];
    // Only the client detects it, like a phone that changes networks; the node receives nothing.
    client.socket.io.engine.close();
    await client.messages.have(2);
    await b.publish("after");
    await client.messages.have(3);
    assert.deepEqual(messagesOf(client), ["before", "meanwhile", "after"]);
    assert.equal(client.connects.items.at(-1), true);
    await until(
      "only one connection is left",
      async () =>
        await a.metric("roomcast_clients") +
            await b.metric("roomcast_clients") === 1,
    );
  }
});

Deno.test("a client whose connection breaks before the answer to a join, and again before its messages, gets them once", async () => {
  await using node = await TestNode.start();
  await using proxy = await Proxy.start(node.port);
  await using client = await Subscriber.connect(proxy.url, {
    ...FAST,
    transports: ["websocket"],
  });
  await client.joined.have(1);
  for (const message of [1, 2]) await node.publish(message, "a");
  // The client's offset is later than the messages of the answer.
  await node.publish("later");
  await client.messages.have(1);
  // The connection breaks with the answer to the join, and then with the packet that tells the client that it is connected.
  const lost = ['"messages":[', '"pid":"'];
  proxy.answer = (chunk) => {
    const [next] = lost;
    const isLost = next !== undefined && Buffer.from(chunk).includes(next);
    if (isLost) lost.shift();
    return isLost ? undefined : chunk;
  };
  let isAnswered = false;
  client.socket.emit(
    "join",
    { room: "a", last: 2 },
    () => isAnswered = true,
  );
  await client.messages.have(3);
  assert.deepEqual([lost, isAnswered], [[], false]);
  assert.equal(client.connects.items.at(-1), true);
  proxy.cut();
  await client.connects.have(3);
  await node.publish("live", "a");
  await client.receives("live");
  assert.deepEqual(messagesOf(client), ["later", 1, 2, "live"]);
});

Deno.test("a client receives a gap with reason trimmed if the history of a room begins after the client's position", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    const settings = { ...env, HISTORY_SIZE: "10" };
    let node = await TestNode.start(settings);
    try {
      await using proxy = await Proxy.start(node.port);
      await using busy = await Subscriber.connect(proxy.url, {
        ...FAST,
        auth: { rooms: ["busy"] },
      });
      await using quiet = await Subscriber.connect(proxy.url, {
        ...FAST,
        auth: { rooms: ["quiet"] },
      });
      await Promise.all([busy.joined.have(1), quiet.joined.have(1)]);
      await node.publish("q", "quiet");
      await quiet.messages.have(1);
      proxy.targets = [];
      proxy.cut();
      await Promise.all([busy.disconnects.have(1), quiet.disconnects.have(1)]);
      const messages = Array.from(
        { length: 500 },
        (_, i) => ({ room: "busy", message: i }),
      );
      await node.post("/publish/batch", { messages });
      if ("REDIS_URL" in env) {
        // The ring of a node that is started now reaches back only as far as the log, in which a batch is one entry.
        await node.publish("later", "elsewhere");
        await redis.command("XTRIM", "roomcast:{roomcast}:log", "MAXLEN", "1");
        await node[Symbol.asyncDispose]();
        node = await TestNode.start(settings);
      }
      proxy.targets = [node.port];
      await Promise.all([busy.connects.have(2), quiet.connects.have(2)]);
      await quiet.joined.have(2);
      assert.equal(quiet.connects.items.at(-1), true);
      assert.equal(quiet.gaps.items.length, 0);
      if ("REDIS_URL" in env) {
        const [gap] = await busy.gaps.have(1);
        assert.deepEqual([gap?.room, gap?.reason], ["busy", "trimmed"]);
        assert.equal(busy.connects.items.at(-1), false);
        assert.equal(busy.joined.items.at(-1)?.recovered, false);
        assert.equal(busy.messages.items.length, 0);
      } else {
        // The node's ring has older messages than the history.
        await busy.messages.have(500);
      }
      await node.publish("live", "busy");
      await busy.messages.where(() => messagesOf(busy).at(-1) === "live");
    } finally {
      await node[Symbol.asyncDispose]();
    }
  }
});

Deno.test("if one read of the history serves several clients, only a client that missed more messages than the read returned receives a gap", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, HISTORY_SIZE: "100" };
  const ids: string[] = [];
  await using first = await TestNode.start(env);
  for (let i = 0; i < 150; i++) {
    ids.push(await first.publish(`${i} ${"x".repeat(30_000)}`));
  }
  await first.publish("later", "elsewhere");
  // The ring of a node that is started now reaches back only as far as the log.
  await redis.command("XTRIM", "roomcast:{roomcast}:log", "MAXLEN", "1");
  await using node = await TestNode.start(env);
  await using stack = new AsyncDisposableStack();
  const clients = await Promise.all([20, 49, 100].map(async (missed) => {
    const client = await Subscriber.connect(node.url, {
      ...FAST,
      auth: { rooms: [{ room: "chat", since: ids[missed] }] },
    });
    return stack.use(client);
  }));
  for (
    const [index, gaps, first] of [
      [0, ["trimmed"], 150],
      [1, [], 50],
      [2, [], 101],
    ] as const
  ) {
    const client = clients[index] as Subscriber;
    const [joined] = await client.joined.have(1);
    assert.deepEqual(client.gaps.items.map(({ reason }) => reason), gaps);
    assert.equal(joined?.recovered, gaps.length === 0);
    assert.deepEqual(
      client.messages.items.map(({ message }) => parseInt(String(message))),
      Array.from({ length: 150 - first }, (_, i) => first + i),
    );
  }
});

Deno.test("a client receives a gap with reason trimmed if it missed more than 64 MiB", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, HISTORY_SIZE: "10000" };
  const text = "x".repeat(60_000);
  const ids: string[] = [];
  await using first = await TestNode.start(env);
  for (let i = 0; i < 1_300; i += 100) {
    const messages = Array.from({ length: 100 }, (_, j) => ({
      room: "chat",
      message: `${i + j} ${text}`,
    }));
    const { body } = await first.post("/publish/batch", { messages });
    const { results } = body as { results: { id: string }[] };
    ids.push(...results.map(({ id }) => id));
  }
  await first.publish("later", "elsewhere");
  await redis.command("XTRIM", "roomcast:{roomcast}:log", "MAXLEN", "1");
  await using node = await TestNode.start(env);
  await using stack = new AsyncDisposableStack();
  const clients = await Promise.all([1, 399].map(async (missed) => {
    const client = await Subscriber.connect(node.url, {
      ...FAST,
      auth: { rooms: [{ room: "chat", since: ids[missed] }] },
    });
    return stack.use(client);
  }));
  const [far, near] = clients as [Subscriber, Subscriber];
  const [[gap], [joined]] = await Promise.all([
    far.gaps.have(1),
    near.joined.have(1),
  ]);
  assert.equal(gap?.reason, "trimmed");
  assert.deepEqual([joined?.recovered, joined?.reason], [true, undefined]);
  assert.deepEqual(
    near.messages.items.map(({ message }) => parseInt(String(message))),
    Array.from({ length: 900 }, (_, i) => 400 + i),
  );
  assert.deepEqual([near.gaps.items.length, far.messages.items.length], [0, 0]);
});

Deno.test("a client receives a gap with reason epoch if the log was emptied while the client was disconnected", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using proxy = await Proxy.start(node.port);
  await using client = await Subscriber.connect(proxy.url, FAST);
  await client.joined.have(1);
  await node.publish("old");
  await client.messages.have(1);
  const session = (await redis.command("KEYS", "*session:*") as string[])[0] ??
    "";
  const saved = String(await redis.command("GET", session));
  proxy.targets = [];
  proxy.cut();
  await client.disconnects.have(1);
  await node.publish("lost");
  await redis.command("FLUSHALL");
  // The session survives the log, as after a fail-over.
  await redis.command("SET", session, saved);
  await node.log.where(() =>
    node.log.items.some(({ kind }) => kind === "epoch_changed")
  );
  await node.publish("new");
  proxy.targets = [node.port];
  await client.connects.have(2);
  const [gap] = await client.gaps.have(1);
  assert.equal(gap?.reason, "epoch");
  assert.equal(client.connects.items.at(-1), false);
  await node.publish("live");
  await client.messages.where(() => messagesOf(client).at(-1) === "live");
});

Deno.test("auth.rooms with since or last delivers earlier messages before the event joined", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start(env);
    const ids: string[] = [];
    for (let i = 0; i < 20; i++) {
      ids.push(await node.publish(i, i % 2 ? "odd" : "even"));
    }
    await using first = await Subscriber.connect(node.url, {
      auth: { rooms: [{ room: "even", last: 3 }] },
    });
    const [joined] = await first.joined.have(1);
    assert.deepEqual(messagesOf(first), [14, 16, 18]);
    assert.equal(joined?.recovered, false);
    await node.publish(20, "even");
    await node.publish(21, "odd");
    const rooms = [{ room: "even", since: joined?.position }, {
      room: "odd",
      since: ids[15],
    }];
    await using second = await Subscriber.connect(node.url, {
      auth: { rooms },
    });
    await second.joined.have(2);
    assert.deepEqual(messagesOf(second), [17, 19, 20, 21]);
    assert.ok(second.joined.items.every(({ recovered }) => recovered));
    assert.equal(second.connects.items[0], false);
    const bad: [since: unknown, reason: string][] = [
      ["garbage", "position"],
      [["1-1"], "position"],
      ["9999999999999-0", "position"],
      [`aaaaaaaaaaaaaaaa.${ids[0]}`, "epoch"],
    ];
    for (const [since, reason] of bad) {
      await using client = await Subscriber.connect(node.url, {
        auth: { rooms: [{ room: "even", since }] },
      });
      const [gap] = await client.gaps.have(1);
      const [joined] = await client.joined.have(1);
      assert.deepEqual([gap?.reason, joined?.recovered, joined?.reason], [
        reason,
        false,
        reason,
      ]);
      const [answer] = await client.ask("join", { room: "odd", since });
      assert.deepEqual([
        answer.ok,
        answer.recovered,
        answer.reason,
        answer.messages,
      ], [true, false, reason, []]);
    }
  }
});

Deno.test("join returns earlier messages, and the client stays in the room until it leaves, even after a reconnect", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start({
      ...env,
      ROOMS_PER_CLIENT_MAX: "3",
    });
    await using proxy = await Proxy.start(node.port);
    await using client = await Subscriber.connect(proxy.url, {
      ...FAST,
      auth: { rooms: ["a"] },
    });
    await client.joined.have(1);
    const id = await node.publish(1, "b");
    await node.publish({ n: 2 }, "b");
    const [answer] = await client.ask("join", { room: "b", since: id });
    assert.deepEqual([answer.ok, answer.room, answer.recovered], [
      true,
      "b",
      true,
    ]);
    assert.deepEqual(
      answer.messages.map(({ message }: { message: unknown }) => message),
      [{ n: 2 }],
    );
    assert.deepEqual(Object.keys(answer.messages[0]), ["id", "message", "at"]);
    const [again] = await client.ask("join", { room: "b", last: 1 });
    assert.equal(again.messages.length, 1);
    await node.publish(3, "b");
    await client.messages.have(1);
    proxy.targets = [];
    proxy.cut();
    await client.disconnects.have(1);
    await node.publish(4, "b");
    proxy.targets = [node.port];
    await client.messages.have(2);
    assert.equal(client.connects.items.at(-1), true);
    assert.deepEqual((await client.ask("leave", { room: "b" }))[0], {
      ok: true,
    });
    await node.publish(5, "b");
    await node.publish(6, "a");
    await client.messages.have(3);
    assert.deepEqual(messagesOf(client), [3, 4, 6]);
    for (
      const request of [undefined, null, 7, "", { room: "" }, {
        room: "b",
        last: -1,
      }, { room: "b", last: 1e9 }]
    ) {
      const [refused] = await client.ask("join", request);
      assert.equal(refused.ok, false);
      assert.match(refused.error.message, /^Cannot /);
    }
    await client.ask("join", { room: "b" });
    await client.ask("join", { room: "c" });
    assert.equal(
      (await client.ask("join", { room: "d" }))[0].error.code,
      "too_many_rooms",
    );
  }
});

Deno.test("a client that moves to a node with a lower ROOMS_PER_CLIENT_MAX is told which rooms it is no longer in, and misses nothing in the others", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using before = await TestNode.start(env);
  await using after = await TestNode.start({
    ...env,
    ROOMS_PER_CLIENT_MAX: "2",
  });
  await using proxy = await Proxy.start(before.port);
  await using client = await Subscriber.connect(proxy.url, {
    ...FAST,
    auth: { rooms: ["a", "b"] },
  });
  const left = new Inbox<{ room: string; reason: string }>();
  client.socket.on("left", (event) => left.push(event));
  assert.equal((await client.ask("join", { room: "c" }))[0].ok, true);
  proxy.targets = [];
  before.signal("SIGKILL");
  await client.disconnects.have(1);
  for (const room of ["c", "b", "a"]) await after.publish(room, room);
  proxy.targets = [after.port];
  await client.messages.have(2);
  await left.have(1);
  await after.publish("c again", "c");
  await after.publish("a again", "a");
  await client.messages.have(3);
  assert.deepEqual(messagesOf(client), ["b", "a", "a again"]);
  assert.deepEqual(left.items, [{ room: "c", reason: "removed" }]);
  assert.deepEqual(client.connects.items, [false, false]);
  assert.deepEqual(client.gaps.items, []);
  const { error } = (await client.ask("join", { room: "c" }))[0];
  assert.equal(error.code, "too_many_rooms");
});

Deno.test("a reconnect repeats neither the messages of a join answer nor those before the join", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start(env);
    await using proxy = await Proxy.start(node.port);
    await using client = await Subscriber.connect(proxy.url, {
      ...FAST,
      auth: { rooms: ["a"] },
    });
    await client.joined.have(1);
    for (let i = 0; i < 3; i++) {
      await node.publish(i, "b");
      await node.publish(i, "c");
    }
    const [answer] = await client.ask("join", { room: "b", last: 5 });
    assert.equal(answer.messages.length, 3);
    await client.ask("join", { room: "c" });
    proxy.targets = [];
    proxy.cut();
    await client.disconnects.have(1);
    for (const room of ["a", "b", "c"]) {
      await node.publish(`missed in ${room}`, room);
    }
    proxy.targets = [node.port];
    await client.messages.have(3);
    await node.publish("the end", "a");
    await client.messages.have(4);
    assert.deepEqual(messagesOf(client), [
      "missed in a",
      "missed in b",
      "missed in c",
      "the end",
    ]);
    assert.equal(client.connects.items.at(-1), true);
  }
});

Deno.test("the messages of a lost join answer are delivered once after the reconnect", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start(env);
    await using proxy = await Proxy.start(node.port);
    await using client = await Subscriber.connect(proxy.url, {
      ...FAST,
      transports: ["websocket"],
      auth: { rooms: ["a"] },
    });
    await client.joined.have(1);
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push(await node.publish(i, "b"));
    // The client has already received a later message, so its offset says nothing about the other room.
    await node.publish("a's", "a");
    await client.messages.have(1);
    proxy.answer = (chunk) =>
      Buffer.from(chunk).includes('"messages":[') ? undefined : chunk;
    client.socket.emit("join", { room: "b", since: ids[0] }, () => {
      throw new Error("The answer arrived although it was dropped");
    });
    await client.disconnects.have(1);
    proxy.answer = (chunk) => chunk;
    await client.messages.have(5);
    await client.joined.have(3);
    assert.equal(client.connects.items.at(-1), true);
    // A further reconnect delivers nothing twice.
    proxy.cut();
    await client.connects.have(3);
    await client.joined.have(5);
    await node.publish("live", "b");
    await client.messages.have(6);
    assert.deepEqual(messagesOf(client), ["a's", 1, 2, 3, 4, "live"]);
    assert.deepEqual(client.gaps.items, []);
  }
});

Deno.test("a join answer beyond the buffer limit does not disconnect the client, even if messages follow the answer", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start(env);
    const messages = Array.from({ length: 100 }, (_, i) => ({
      room: "large",
      message: `${i} ${"x".repeat(60_000)}`,
    }));
    for (let i = 0; i < 3; i++) await node.post("/publish/batch", { messages });
    for (const transports of [["websocket"], ["polling"]]) {
      await using client = await Subscriber.connect(node.url, {
        transports,
        auth: { rooms: [] },
      });
      const answered = client.ask("join", { room: "large", last: 300 });
      while (client.messages.items.length === 0) {
        await node.publish("live", "large");
      }
      const [answer] = await answered;
      assert.equal(answer.messages.length, 300);
      assert.equal(client.disconnects.items.length, 0);
    }
  }
});

Deno.test("a forged session grants no rooms and causes no large reads", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using victim = await Subscriber.connect(node.url, {
    auth: { rooms: ["secret"] },
  });
  const [joined] = await victim.joined.have(1);
  for (let i = 0; i < 100; i++) await node.publish(i, "secret");
  const stored = await redis.command("KEYS", "*session:*") as string[];
  assert.equal(stored.length, 1);
  const digest = stored[0]?.split("session:")[1] ?? "";
  const before = await redis.calls("xrange");
  const start = performance.now();
  const attacks: Record<string, unknown>[] = [
    { pid: digest, offset: joined?.id },
    { pid: victim.socket.id, offset: joined?.id },
    { pid: "x".repeat(65), offset: "0-1" },
    { pid: "*", offset: "-" },
    { pid: ["a"], offset: ["1-1"] },
    { pid: { toString: "x" }, offset: {} },
    { pid: 7, offset: 7 },
    { pid: "__proto__", offset: "__proto__" },
    { pid: "abc", offset: "9999999999999-0" },
    { pid: "abc", offset: "$" },
    { pid: null, offset: null },
  ];
  for (const auth of attacks) {
    // Without an upgrade, because a client that is closed during one leaves a timer behind (engine.io-client 6.6).
    await using attacker = await Subscriber.connect(node.url, {
      auth,
      transports: ["websocket"],
    });
    const [answer] = await attacker.joined.have(1);
    assert.deepEqual(
      [answer?.room, answer?.recovered],
      ["chat", false],
      JSON.stringify(auth),
    );
    assert.equal(attacker.messages.items.length, 0);
    assert.equal(attacker.connects.items[0], false);
  }
  await using huge = new Subscriber(node.url, {
    reconnection: false,
    transports: ["websocket"],
    auth: { pid: "x".repeat(1e6), offset: "1-1" },
  });
  await huge.disconnects.where(() =>
    huge.disconnects.items.length + huge.errors.items.length > 0
  );
  // The node itself reads a few entries of the log each second.
  const own = 5 * (1 + (performance.now() - start) / 1000);
  const read = await redis.calls("xrange") - before;
  assert.ok(read <= own, `${read} reads of ranges`);
  await node.publish("still here", "secret");
  await victim.messages.have(101);
});
