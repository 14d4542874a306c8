/** Clients publish over connections that break, and past a hook that is slow. */
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { roomcast } from "../../static/roomcast.js";
import { Subscriber } from "../support/client.ts";
import { HookBackend, json, result } from "../support/hook_backend.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Random } from "../support/random.ts";
import { Redis } from "../support/redis.ts";
import { makeToken, SECRET } from "../support/tokens.ts";
import { soon, until } from "../support/wait.ts";

const ROOMS = ["a", "b"];
const USERS = ["ann", "bob", "cat", "dan", "eve"];
const SEED = Number(Deno.env.get("SEED") ?? 1);
/** How many messages all users publish together. */
const MESSAGES = Number(Deno.env.get("PUBLISHES") ?? 1000);

/** The token of a user that may join and publish everywhere. */
async function tokenOf(sub: string): Promise<string> {
  const caps = [{ rooms: ["*"], allow: ["sub", "pub"] }];
  return await makeToken({ sub, caps });
}

/** Starts the client module for a user; `using` closes it. */
function open(
  url: string,
  token: string,
): ReturnType<typeof roomcast> & Disposable {
  const cast = roomcast(io, {
    url,
    rooms: [],
    storage: { getItem: () => null, setItem: () => {} },
    options: {
      transports: ["websocket"],
      reconnectionDelay: 10,
      reconnectionDelayMax: 50,
      auth: { token },
    },
    onGap: () => {},
  });
  return Object.assign(cast, { [Symbol.dispose]: () => cast.close() });
}

/** Cuts connections, and loses answers, at random until it is disposed. */
function disturb(proxy: Proxy, random: Random): { cuts: number } & Disposable {
  const state = { cuts: 0 };
  proxy.answer = (chunk) => {
    if (!random.chance(0.03)) return chunk;
    state.cuts++;
    return undefined;
  };
  let timer: ReturnType<typeof setTimeout>;
  const next = (): void => {
    timer = setTimeout(() => {
      proxy.cut();
      state.cuts++;
      next();
    }, random.between(20, 150));
  };
  next();
  return Object.assign(state, {
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      proxy.answer = (chunk: Uint8Array) => chunk;
    },
  });
}

Deno.test(`${MESSAGES} messages published through a proxy that cuts at random are stored once, in each client's order, with its user`, async () => {
  await using redis = await Redis.start();
  const env = {
    REDIS_URL: redis.url,
    CHANNELS: "-",
    TOKEN_SECRET: SECRET,
    EVENTS_PER_SECOND_MAX: "10000",
    HISTORY_SIZE: String(MESSAGES),
  };
  await using one = await TestNode.start(env);
  await using two = await TestNode.start(env);
  await using proxy = await Proxy.start(one.port, two.port);
  await using reader = await Subscriber.connect(one.url, {
    transports: ["websocket"],
    auth: { rooms: ROOMS, token: await tokenOf("reader") },
  });
  const from = new Map<string, string>();
  reader.socket.on("msgReceived", (_, info, id) => from.set(id, info.from));
  using stack = new DisposableStack();
  const published: Promise<{ id: string; duplicate: boolean }>[] = [];
  const expected = new Map<string, string>();
  {
    using disturbed = disturb(proxy, new Random(SEED));
    const pages = new Map<string, ReturnType<typeof open>>();
    for (const user of USERS) {
      pages.set(user, stack.use(open(proxy.url, await tokenOf(user))));
    }
    for (let i = 0; i < MESSAGES; i++) {
      const user = USERS[i % USERS.length] ?? "";
      const room = ROOMS[Math.floor(i / USERS.length) % ROOMS.length] ?? "";
      const message = `${user} ${i}`;
      const publish = pages.get(user)?.publish(room, message);
      assert.ok(publish);
      published.push(publish.then((result) => {
        expected.set(result.id, message);
        return result;
      }));
    }
    await soon(Promise.all(published), "all are published", 60_000);
    assert.ok(disturbed.cuts > 10, `${disturbed.cuts} cuts`);
  }
  const results = await Promise.all(published);
  // Otherwise no answer was lost, and this test has shown little.
  assert.ok(results.some(({ duplicate }) => duplicate));
  assert.equal(expected.size, MESSAGES);
  await reader.messages.have(MESSAGES);
  const stored = reader.messages.items;
  assert.equal(stored.length, MESSAGES);
  for (const { id, message } of stored) {
    assert.equal(message, expected.get(id));
    assert.equal(from.get(id), `${message}`.split(" ")[0]);
  }
  const caps = [{ rooms: ["*"], allow: ["history"] }];
  const bearer = await makeToken({ sub: "reader", caps });
  for (const room of ROOMS) {
    const { body } = await two.request(`/rooms/${room}/history?limit=1000`, {
      headers: { authorization: `Bearer ${bearer}` },
    });
    const inRoom = stored.filter((one) => one.room === room);
    assert.deepEqual(
      body.messages.map(({ id }: { id: string }) => id),
      inRoom.map(({ id }) => id),
    );
    for (const user of USERS) {
      const numbers = inRoom.map(({ message }) => `${message}`.split(" "))
        .filter(([name]) => name === user).map(([, number]) => Number(number));
      assert.deepEqual(numbers, numbers.toSorted((a, b) => a - b), user);
    }
  }
});

Deno.test("the publish hook passes, replaces, refuses and fails for its rooms only, and a slow answer delays nobody else", async () => {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => release = resolve);
  await using backend = await HookBackend.start(async (call, response) => {
    const { message } = call.body;
    if (message === "slow") await released;
    const answer = message === "spam"
      ? json({ error: { code: "spam", message: "No spam." } })
      : message === "darn"
      ? result({ message: "d**n" })
      : message === "down"
      ? json({}, 500)
      : result({});
    if (message !== "time-out") await answer(call, response);
  });
  await using redis = await Redis.start();
  await using node = await TestNode.start({
    REDIS_URL: redis.url,
    CHANNELS: "-",
    EVENTS_PER_SECOND_MAX: "10000",
    PUBLISH_HOOK_URL: backend.url("/publish"),
    HOOK_ROOMS: "moderated*",
    HOOK_TIMEOUT_MS: "3000",
  });
  const connect = () =>
    Subscriber.connect(node.url, {
      transports: ["websocket"],
      auth: { rooms: ["moderated"] },
    });
  await using client = await connect();
  const publish = async (
    message: string,
    room = "moderated",
    from = client,
  ): Promise<string> => {
    const [{ ok, error }] = await from.ask("publish", { room, message });
    return ok ? "ok" : error.code;
  };
  const slow = publish("slow");
  const behind = publish("behind");
  await backend.calls.have(1);
  for (let i = 0; i < 100; i++) {
    assert.equal(await publish(`${i}`, "other"), "ok");
  }
  // Nor does it delay other clients and rooms that the hook concerns.
  await using other = await connect();
  assert.equal(await publish("by another client", undefined, other), "ok");
  assert.equal(await publish("in another room", "moderated.2"), "ok");
  release();
  assert.deepEqual(await Promise.all([slow, behind]), ["ok", "ok"]);
  const answers: string[] = [];
  for (const message of ["hello", "darn", "spam", "down", "time-out"]) {
    answers.push(await publish(message));
  }
  assert.deepEqual(answers, [
    "ok",
    "ok",
    "spam",
    "hook_unavailable",
    "hook_unavailable",
  ]);
  // Over HTTP the hook is not asked.
  await node.publish("spam", "moderated");
  const expected = [
    "by another client",
    "slow",
    "behind",
    "hello",
    "d**n",
    "spam",
  ];
  await client.messages.have(expected.length);
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    expected,
  );
  assert.equal(backend.calls.items.length, 9);
  await until(
    "the calls are counted",
    async () => await node.metric("roomcast_hook_calls_total") === 9,
  );
});
