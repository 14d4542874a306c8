/** What programs that reach Redis can and cannot do to clients. */
import assert from "node:assert/strict";
import { hashSessionSecret } from "../../lib/sessions/session.ts";
import { sessionOf, type Subscriber } from "../support/client.ts";
import { TestNode } from "../support/node.ts";
import { command, Redis } from "../support/redis.ts";
import { KEY, TokenNodes } from "../support/token_nodes.ts";
import { makeToken } from "../support/tokens.ts";

const SESSION = "roomcast:{roomcast}:session:";

Deno.test("sessions that another program writes into Redis give no client a room, a user or an error", async () => {
  await using nodes = await TokenNodes.start();
  const { redis } = nodes;
  const node = await nodes.node();
  const token = await makeToken({
    sub: "ann",
    caps: [{ rooms: ["chat"], allow: ["sub"] }],
  });
  const keyOf = (pid: string): string => SESSION + hashSessionSecret(pid);
  let count = 0;
  /** Connects a client with a session that was written into Redis. */
  const resume = async (session: unknown): Promise<Subscriber> => {
    const text = typeof session === "string"
      ? session
      : JSON.stringify(session);
    const client = nodes.client(node, { token, rooms: ["chat"] }, {
      autoConnect: false,
    });
    const pid = `forged-${++count}`.padEnd(24, "x");
    await redis.command("SET", keyOf(pid), text, "EX", "60");
    Object.assign(client.socket, { _pid: pid, _lastOffset: offset });
    client.socket.connect();
    await client.connects.have(1);
    return client;
  };
  const ann = await nodes.connect(node, token);
  await node.publish("first", "chat", KEY);
  await ann.messages.have(1);
  const { _pid, _lastOffset: offset } = sessionOf(ann);
  const real = JSON.parse(
    String(await redis.command("GET", keyOf(_pid))),
  );
  // A copy of her session is resumed, so the others are looked at, too.
  assert.deepEqual((await resume(real)).connects.items, [true]);
  const many = Array.from({ length: 5000 }, (_, i) => [`room-${i}`, "0-0"]);
  const verdict = {
    user: "root",
    issuedAt: Date.now(),
    caps: [{ rooms: ["*"], allow: ["sub"] }],
  };
  const forged: readonly unknown[] = [
    ...[
      "",
      "x",
      "null",
      "[]",
      "{}",
      '{"generation":1}',
      "\ud800",
      "9".repeat(1e5),
    ],
    ...[null, {}, 5, [[]], [["chat"]], [["chat", 5]], [["chat", "x", "y", "z"]]]
      .map((rooms) => ({ ...real, rooms })),
    ...["secret", "__proto__", "", "\u0000", "x".repeat(10_000)].map((
      room,
    ) => ({
      ...real,
      rooms: [["chat", "0-0"], [room, "0-0"]],
    })),
    { ...real, rooms: many },
    ...[-1, 1e308, 2 ** 60, "1", null, [], {}].map((generation) => ({
      ...real,
      generation,
    })),
    ...["bob", "", "\u0000", 5, null, {}].map((user) => ({ ...real, user })),
    { ...real, user: undefined, verdict },
    { ...real, verdict },
    { ...real, grants: [["secret", { by: "token", allow: ["*", "manage"] }]] },
    { ...real, grants: { secret: { by: "token", allow: ["sub"] } } },
    { ...real, owner: '"]}', epoch: "x".repeat(1000), lineage: "" },
  ];
  const clients = await Promise.all(forged.map(resume));
  for (const [i, client] of clients.entries()) {
    const [{ ok, error }] = await client.ask("join", { room: "secret" });
    assert.equal(ok, false, JSON.stringify(forged[i]));
    assert.equal(error.code, "forbidden");
  }
  assert.deepEqual(
    node.log.items.filter(({ kind }) => kind === "error"),
    [],
  );
  await node.publish("secret", "secret", KEY);
  await node.publish("end", "chat", KEY);
  // A session with other rooms alone puts its client into none.
  const inChat = clients.filter(({ joined }) => joined.items.length > 0);
  assert.ok(inChat.length > forged.length / 2, `${inChat.length}`);
  await Promise.all([ann, ...inChat].map((client) => client.receives("end")));
  for (const { messages, joined } of clients) {
    assert.ok(messages.items.every(({ room }) => room === "chat"));
    assert.ok(joined.items.every(({ room }) => room === "chat"));
  }
});

Deno.test("a producer that may only publish on its channels can neither read nor write sessions, the log or revocations", async () => {
  await using redis = await Redis.start();
  await redis.command(
    ...["ACL", "SETUSER", "backend", "reset", "on", ">secret"],
    ...["resetchannels", "&chat*", "+publish"],
  );
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  const url = `redis://backend:secret@127.0.0.1:${redis.port}`;
  const prefix = "roomcast:{roomcast}:";
  const attempts: readonly (readonly string[])[] = [
    ["GET", `${SESSION}x`],
    ["SET", `${SESSION}x`, "{}"],
    ["DEL", `${prefix}log`],
    ["XADD", `${prefix}log`, "*", "uid", "x"],
    ["ZADD", `${prefix}revocations`, "1", "user:ann"],
    ["DEL", `${prefix}revocations`],
    ["EVAL", "return redis.call('GET', KEYS[1])", "1", `${SESSION}x`],
    ["SCRIPT", "FLUSH"],
    ["KEYS", "*"],
    ["SCAN", "0"],
    ["MONITOR"],
    ["SUBSCRIBE", "chat"],
    ["PSUBSCRIBE", "*"],
    ["PUBLISH", "roomcast#/#", "x"],
    ["PUBLISH", "roomcast:{roomcast}:seats", "x"],
    ["PUBSUB", "CHANNELS"],
    ["CONFIG", "GET", "*"],
    ["ACL", "WHOAMI"],
    ["CLIENT", "LIST"],
    ["FLUSHALL"],
    ["SHUTDOWN"],
  ];
  for (const attempt of attempts) {
    await assert.rejects(
      command(url, ...attempt),
      /NOPERM/,
      attempt.join(" "),
    );
  }
  assert.equal((await node.get("/readyz")).status, 200);
});
