import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { find } from "../support/install.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const VALUES: readonly unknown[] = [
  "hello",
  "",
  0,
  -1.5,
  1e300,
  true,
  false,
  null,
  [],
  {},
  [1, [2, [3]]],
  { a: { b: [null, { c: "d" }] }, "": 1 },
  "👩‍👩‍👧‍👦 🇺🇦 e\u0301 \u202eright to left",
  "quotes \" ' ` \\ / \n\r\t\u0000\u2028\u2029",
  "<img src=x onerror=alert(1)>",
  JSON.parse('{"__proto__":{"polluted":true},"constructor":1}'),
  "é".repeat(30_000),
  "x".repeat(60_000),
];

Deno.test("a client that names no room receives a text that is published without a room, with the id of the publish response", async () => {
  await using node = await TestNode.start();
  await using client = await Subscriber.connect(node.url);
  const reply = await node.request("/publish", {
    method: "POST",
    headers: { "content-type": "text/plain" },
    body: "hello",
  });
  assert.equal(reply.status, 200);
  assert.match(String(reply.body.id), /^\d+-\d+$/);
  assert.deepEqual(reply.body, {
    id: reply.body.id,
    room: "chat",
    duplicate: false,
  });
  const [received] = await client.messages.have(1);
  assert.deepEqual(received, {
    event: "msgReceived",
    message: "hello",
    room: "chat",
    at: Number(String(reply.body.id).split("-")[0]),
    id: reply.body.id,
    length: 3,
  });
});

for (const transports of [["websocket"], ["polling"]]) {
  Deno.test(`any JSON message arrives unchanged over ${transports}, with and without Redis`, async () => {
    await using redis = await Redis.start();
    for (const env of [{}, { REDIS_URL: redis.url }]) {
      await using node = await TestNode.start(env);
      await using client = await Subscriber.connect(node.url, { transports });
      for (const value of VALUES) await node.publish(value);
      const received = await client.messages.have(VALUES.length);
      assert.deepEqual(received.map(({ message }) => message), VALUES);
      assert.equal(({} as Record<string, unknown>).polluted, undefined);
    }
  });
}

Deno.test("?room= sets the room of a publish whose body names no room, for every type of body", async () => {
  await using node = await TestNode.start();
  const address = `room=${encodeURIComponent("büro & co")}`;
  const bodies: [path: string, type: string, body: string, room?: string][] = [
    ["/publish", "text/plain", "x"],
    ["/publish", "application/json", '{"message":"x"}'],
    ["/publish", "application/x-www-form-urlencoded", "message=x"],
    ["/publish", "application/json", '{"message":"x","room":"own"}', "own"],
    ["/publish/batch", "application/x-ndjson", '{"message":"x"}'],
  ];
  for (const [path, type, body, room = "büro & co"] of bodies) {
    const { body: answer } = await node.request(`${path}?${address}`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
    assert.equal((answer.results?.[0] ?? answer).room, room, `${path} ${type}`);
  }
});

Deno.test("a batch that is sent again with its idempotency key publishes each message once", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start(env);
    const messages = ["a", "b"].map((message) => ({ room: "chat", message }));
    const body = { messages: [...messages, { ...messages[0], key: "own" }] };
    const post = (key: string) =>
      node.post("/publish/batch", body, { "idempotency-key": key });
    const { body: named } = await node.post("/publish/batch", {
      ...body,
      key: "one",
    });
    const { body: first } = await post("one");
    const { body: again } = await post("one");
    const { body: other } = await post("two");
    const ids = (answer: { results: { id: string; duplicate: boolean }[] }) =>
      answer.results.map(({ id }) => id);
    const twice = (answer: { results: { duplicate: boolean }[] }) =>
      answer.results.map(({ duplicate }) => duplicate);
    assert.deepEqual(ids(again), ids(first));
    assert.deepEqual(twice(named), [false, false, false]);
    assert.deepEqual(ids(named), ids(first));
    assert.deepEqual(twice(first), [true, true, true]);
    assert.deepEqual(twice(again), [true, true, true]);
    assert.deepEqual(twice(other), [false, false, true]);
    const { status, body: refused } = await post("x".repeat(129));
    assert.deepEqual([status, refused.error.code], [400, "invalid_key"]);
  }
});

Deno.test("a message that redis-cli or Python publishes on a channel reaches the room as the same string", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({
    REDIS_URL: redis.url,
    CHANNELS: "chat,news.*",
  });
  await using client = await Subscriber.connect(node.url, {
    auth: { rooms: ["chat", "news.sport"] },
  });
  const cli = async (channel: string, text: string): Promise<void> => {
    const args = ["-p", `${redis.port}`, "PUBLISH", channel, text];
    await run("redis-cli", args);
  };
  await cli("chat", "1234567890");
  await cli("chat", '{"not":"parsed"}');
  await cli("news.sport", "⚽ 3:1");
  const wanted = [
    ["chat", "1234567890"],
    ["chat", '{"not":"parsed"}'],
    ["news.sport", "⚽ 3:1"],
  ];
  const python = await find("python");
  if (python !== undefined) {
    const port = redis.port;
    await run(python, [
      "-c",
      `import redis; redis.Redis(port=${port}).publish("chat", "1234567890")`,
    ]);
    wanted.push(["chat", "1234567890"]);
  }
  const received = await client.messages.have(wanted.length);
  assert.deepEqual(
    received.map(({ room, message }) => [room, message]),
    wanted,
  );
});

Deno.test("a message is appended once if its channel matches several entries of CHANNELS", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({
    REDIS_URL: redis.url,
    CHANNELS: "news.a,news.*,n*",
  });
  await using client = await Subscriber.connect(node.url, {
    auth: { rooms: ["news.a", "news.b", "end"] },
  });
  await redis.command("PUBLISH", "news.a", "one");
  await redis.command("PUBLISH", "news.b", "two");
  await redis.command("PUBLISH", "n", "to no room of the client");
  await redis.command("PUBLISH", "news.a", "last");
  const received = await client.messages.have(3);
  assert.deepEqual(received.map(({ message }) => message), [
    "one",
    "two",
    "last",
  ]);
});

Deno.test("a message posted to either of two nodes reaches clients of both once, with one id and in one order", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env);
  await using onA = await Subscriber.connect(a.url);
  await using onB = await Subscriber.connect(b.url);
  const count = 400;
  const ids = await Promise.all(
    Array.from({ length: count }, (_, i) => (i % 2 ? a : b).publish(i)),
  );
  await Promise.all([onA.messages.have(count), onB.messages.have(count)]);
  // One more message in each direction: a duplicate would arrive before it.
  await a.publish("end of a");
  await b.publish("end of b");
  await Promise.all([
    onA.messages.have(count + 2),
    onB.messages.have(count + 2),
  ]);
  assert.deepEqual(onA.ids, onB.ids);
  assert.equal(new Set(onA.ids).size, count + 2);
  assert.deepEqual(new Set(onA.ids.slice(0, count)), new Set(ids));
});

Deno.test("every Redis PUBLISH reaches the room once, also after the node that appends was stopped or killed", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, DRAIN_SECONDS: "0" };
  await using stack = new AsyncDisposableStack();
  const nodes: TestNode[] = [];
  for (let i = 0; i < 3; i++) nodes.push(stack.use(await TestNode.start(env)));
  const last = nodes[2];
  assert.ok(last !== undefined);
  await using client = await Subscriber.connect(last.url);
  let sent = 0;
  const publish = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await redis.command("PUBLISH", "chat", `${sent++}`);
    }
  };
  const taken = (): Promise<void> =>
    until("a node bridges it", async () => {
      const before = client.messages.items.length;
      await redis.command("PUBLISH", "chat", "anybody?");
      return await client.messages.have(before + 1, 200).then(() => true, () =>
        false);
    });
  const numbers = (): number[] =>
    client.messages.items.map(({ message }) => Number(message)).filter((n) =>
      !Number.isNaN(n)
    );
  await taken();
  await publish(50);
  await client.messages.where(() => numbers().length === 50);
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    const bridged = await Promise.all(
      nodes.map((node) => node.metric("roomcast_bridged_total")),
    );
    const taker = nodes[bridged.findIndex((count) => count > 0)];
    if (taker === undefined || taker === last) break;
    taker.signal(signal);
    await taker.exited();
    nodes.splice(nodes.indexOf(taker), 1);
    await taken();
    await publish(50);
    await client.messages.where(() => numbers().length === sent);
  }
  assert.deepEqual(numbers(), Array.from({ length: sent }, (_, i) => i));
});

Deno.test("a client gets messages only of the rooms that it names; a client that names an invalid room gets connect_error", async () => {
  await using node = await TestNode.start({ ROOMS_PER_CLIENT_MAX: "2" });
  await using client = await Subscriber.connect(node.url, {
    auth: { rooms: ["a", "b"] },
  });
  await using none = await Subscriber.connect(node.url, {
    auth: { rooms: [] },
  });
  await node.publish(1, "chat");
  await node.publish(2, "a");
  await node.publish(3, "b");
  // A room with the name of a client's id is an ordinary room, which that client is not in.
  await node.publish(4, String(none.socket.id));
  await node.publish(5, "a");
  await client.messages.have(3);
  assert.deepEqual(client.messages.items.map(({ message }) => message), [
    2,
    3,
    5,
  ]);
  assert.equal(none.messages.items.length, 0);
  for (
    const [rooms, code] of [
      ["chat", "invalid_parameter"],
      [["a", "b", "c"], "too_many_rooms"],
      [[""], "invalid_room"],
      [[7], "invalid_room"],
      [["a\u0000b"], "invalid_room"],
    ]
  ) {
    await using bad = new Subscriber(node.url, { auth: { rooms } });
    const [error] = await bad.errors.have(1);
    assert.equal(error?.data?.code, code);
    assert.match(error?.message ?? "", /^Cannot (connect|join|use the room): /);
  }
});

async function run(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, {
    args,
    stdout: "null",
    stderr: "piped",
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}
