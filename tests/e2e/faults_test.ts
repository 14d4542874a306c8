/**
 * Faults of Redis and of the network under load, one fault in each test. Rare states of Redis that need a set-up of
 * their own are in `redis_edge_cases_test.ts`.
 */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { freePort, Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { judge, lagOver, Publisher, settle } from "../support/oracle.ts";
import { Redis, type RedisOptions } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const LOG = "roomcast:{roomcast}:log";

interface Cluster extends AsyncDisposable {
  redis: Redis;
  a: TestNode;
  b: TestNode;
  /** One client on each node. */
  clients: Subscriber[];
}

async function cluster(
  options: RedisOptions & { env?: Record<string, string> } = {},
): Promise<Cluster> {
  const stack = new AsyncDisposableStack();
  const redis = stack.use(await Redis.start(options));
  const env = { REDIS_URL: redis.url, ...options.env };
  const a = stack.use(await TestNode.start(env));
  const b = stack.use(await TestNode.start(env));
  const clients: Subscriber[] = [];
  for (const node of [a, b]) {
    clients.push(stack.use(await Subscriber.connect(node.url)));
  }
  return {
    redis,
    a,
    b,
    clients,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs a fault under load, polls `/livez` meanwhile, and checks that no acknowledged message is lost. */
async function runUnderLoad(
  { a, b, clients }: Cluster,
  fault: (publisher: Publisher) => Promise<void>,
): Promise<Publisher> {
  const before = (await a.get("/metrics")).text;
  const publisher = new Publisher([a, b]);
  let over = false;
  const watching = (async () => {
    while (!over) {
      const start = performance.now();
      assert.equal((await a.get("/livez")).status, 200);
      const took = performance.now() - start;
      assert.ok(took < 1000, `livez took ${took} ms`);
      await wait(100);
    }
  })();
  try {
    await until("messages flow", () => publisher.acknowledged.size > 50);
    await fault(publisher);
    const flowing = publisher.acknowledged.size;
    await until(
      "messages flow again",
      () => publisher.acknowledged.size > flowing + 100,
    );
  } finally {
    over = true;
    await publisher.stop();
    await watching;
  }
  await settle(a, clients);
  judge([publisher], clients);
  const lagging = lagOver(0.25, before, (await a.get("/metrics")).text);
  assert.ok(
    lagging < 0.01,
    `${lagging * 100} % of the event loop's waits were over 250 ms`,
  );
  for (const node of [a, b]) {
    assert.ok(!node.output.includes("an unhandled rejection"), node.output);
  }
  return publisher;
}

/** Returns the publishes that failed although `client` has received their messages, each with the code of its error. */
function failedAndReceived(
  { failed }: Publisher,
  client: Subscriber | undefined,
): [message: string, code: string][] {
  const received = new Set(
    client?.messages.items.map(({ message }) => message),
  );
  return [...failed].filter(([message]) => received.has(message));
}

Deno.test("while Redis is stopped for 10 s, publishes fail within 2 s, and no publish that began meanwhile and failed is delivered later", async () => {
  await using all = await cluster();
  let before = new Set<string>();
  const publisher = await runUnderLoad(all, async ({ inFlight }) => {
    // Redis may have stored these when it is stopped and not have replied.
    before = new Set(inFlight);
    all.redis.signal("SIGSTOP");
    await wait(10_000);
    all.redis.signal("SIGCONT");
  });
  assert.ok(
    publisher.slowestMs < 2500,
    `an answer took ${publisher.slowestMs} ms`,
  );
  assert.ok([...publisher.failed.values()].includes("log_timeout"));
  const delivered = failedAndReceived(publisher, all.clients[0]);
  assert.deepEqual(
    delivered.filter(([message]) => !before.has(message)),
    [],
  );
});

Deno.test("while CLIENT PAUSE stops Redis for 10 s, publishes fail within 2 s, and no failed publish is delivered later", async () => {
  await using all = await cluster();
  const publisher = await runUnderLoad(all, async () => {
    await all.redis.command("CLIENT", "PAUSE", "10000", "ALL");
    await wait(10_000);
  });
  assert.ok(
    publisher.slowestMs < 2500,
    `an answer took ${publisher.slowestMs} ms`,
  );
  assert.deepEqual(failedAndReceived(publisher, all.clients[0]), []);
});

Deno.test("no acknowledged message is lost if Redis is killed and restarted with its append-only file", async () => {
  await using all = await cluster({ fsync: "always" });
  const publisher = await runUnderLoad(all, async () => {
    await all.redis.kill();
    await wait(3000);
    await all.redis.restart();
  });
  assert.ok(
    [...publisher.failed.values()].every((code) =>
      /^log_(unreachable|timeout|loading)$/.test(code)
    ),
  );
  assert.equal(await all.a.metric("roomcast_epoch_changes_total"), 0);
  // Nothing in the log is lost. The gap covers what may have been published on the channel meanwhile.
  assert.deepEqual(
    all.clients[0]?.gaps.items.map(({ reason }) => reason),
    ["ingress"],
  );
});

Deno.test("no publish fails if SCRIPT FLUSH removes all scripts from Redis under load", async () => {
  await using all = await cluster();
  const publisher = await runUnderLoad(
    all,
    async () => void await all.redis.command("SCRIPT", "FLUSH"),
  );
  assert.deepEqual([...publisher.failed.values()], []);
});

Deno.test("no acknowledged message is lost while the Redis connections of nodes are killed repeatedly", async () => {
  await using all = await cluster();
  await runUnderLoad(all, async () => {
    for (let i = 0; i < 20; i++) {
      for (const type of ["normal", "pubsub"]) {
        await all.redis.command("CLIENT", "KILL", "TYPE", type);
      }
      await wait(200);
    }
  });
});

Deno.test("a node skips, counts and logs malformed entries of a busy log without losing a message", async () => {
  await using all = await cluster();
  const malformed = [
    ["uid", "x", "nsp", "/", "type", "3"],
    ["uid", "x", "nsp", "/", "type", "3", "data", "{}"],
    ["uid", "x", "nsp", "/", "type", "99", "data", "{broken"],
    ["uid", "x", "nsp", "/elsewhere", "type", "3"],
    ["room", "chat", "message", "{broken"],
    ["room", "chat"],
    ["nothing", "known"],
  ];
  await runUnderLoad(all, async () => {
    for (let i = 0; i < 5; i++) {
      for (const fields of malformed) {
        await all.redis.command("XADD", LOG, "*", ...fields);
      }
    }
  });
  for (const node of [all.a, all.b]) {
    await until(
      "the entries are counted",
      async () => await node.metric("roomcast_entries_skipped_total") >= 20,
    );
    await node.log.where(() =>
      node.log.items.some(({ kind }) => kind === "entry_skipped")
    );
  }
  const before = await all.redis.calls("xread");
  await wait(3000);
  const reads = (await all.redis.calls("xread") - before) / 3 / 2;
  assert.ok(reads < 20, `${reads} XREADs a second on each node`);
});

Deno.test("publishes fail with log_full while Redis is out of memory, and succeed when Redis has memory again", async () => {
  await using all = await cluster();
  const { redis, a, clients } = all;
  const full = async (): Promise<boolean> => {
    const { status, body, headers } = await a.post("/publish", {
      message: "refused",
    });
    if (status !== 503) return false;
    assert.equal(body.error.code, "log_full");
    assert.equal(headers.get("retry-after"), "1");
    return true;
  };
  await redis.command("CONFIG", "SET", "maxmemory", "1");
  await until("publishes are refused", full);
  // With the stock adapter this ends the process: it does not await the SET of a session when a connection breaks
  // (docs/decisions/0003-guarded-adapter.md).
  for (const client of clients) client.socket.io.engine.close();
  await Promise.all(clients.map((client) => client.connects.have(2)));
  await until("publishes are still refused", full);
  assert.equal((await a.get("/readyz")).status, 503);
  await redis.command("CONFIG", "SET", "maxmemory", "0");
  await settle(a, clients);
  assert.ok(
    clients.every((client) =>
      client.messages.items.every(({ message }) => message === "the end")
    ),
  );
  assert.ok(!a.output.includes("an unhandled rejection"), a.output);
});

Deno.test("for each error of Redis, publishes fail with the code that belongs to the error, and succeed when Redis recovers", async (t) => {
  await using all = await cluster();
  const { redis, a, b, clients } = all;
  const cases: [
    code: string,
    breakIt: () => Promise<unknown>,
    repair: () => Promise<unknown>,
  ][] = [
    [
      "log_read_only",
      () => redis.command("REPLICAOF", "127.0.0.1", "1"),
      () => redis.command("REPLICAOF", "NO", "ONE"),
    ],
    [
      "log_denied",
      () => redis.command("ACL", "SETUSER", "default", "-eval", "-evalsha"),
      () => redis.command("ACL", "SETUSER", "default", "+@all"),
    ],
    [
      "log_wrong_type",
      async () => {
        await redis.command("RENAME", `${LOG}`, "aside");
        await redis.command("SET", LOG, "in the way");
      },
      () => redis.command("RENAME", "aside", LOG),
    ],
  ];
  for (const [code, breakIt, repair] of cases) {
    await t.step(code, async () => {
      await breakIt();
      await until(code, async () => {
        const { status, body } = await a.post("/publish", {
          message: "refused",
        });
        return status === 503 && body.error.code === code;
      });
      await repair();
      await settle(b, clients);
    });
  }
  for (const client of clients) {
    assert.ok(
      client.messages.items.every(({ message }) => message === "the end"),
    );
  }
});

Deno.test("nodes become ready again after Redis was unreachable or refused the nodes' password", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await redis.command("CONFIG", "SET", "requirepass", "new");
  await redis.kill();
  await using late = await TestNode.start({ REDIS_URL: redis.url }, {
    ready: false,
  });
  assert.equal((await late.get("/readyz")).status, 503);
  assert.equal((await late.get("/livez")).status, 200);
  assert.equal(
    (await late.post("/publish", { message: 1 })).body.error.code,
    "log_unreachable",
  );
  await redis.restart();
  for (const one of [node, late]) {
    await until(
      "it is ready",
      async () => (await one.get("/readyz")).status === 200,
    );
  }
  await using client = await Subscriber.connect(late.url);
  await settle(node, [client]);
});

Deno.test("clients of every node receive a gap with reason epoch within 5 s if the log is emptied", async (t) => {
  const ways: [name: string, empty: (redis: Redis) => Promise<unknown>][] = [
    ["FLUSHALL", (redis) => redis.command("FLUSHALL")],
    ["the log is deleted", (redis) => redis.command("DEL", LOG)],
    ["a restart without persistence", async (redis) => {
      await redis.kill();
      await redis.restart();
    }],
  ];
  await using all = await cluster({ aof: false });
  const { redis, a, b, clients } = all;
  for (const [index, [name, empty]] of ways.entries()) {
    await t.step(name, async () => {
      const last = await a.publish(`before ${name}`);
      await Promise.all(
        clients.map((client) =>
          client.messages.where(() => client.ids.includes(last))
        ),
      );
      await empty(redis);
      await Promise.all(
        clients.map((client) => client.gaps.have(index + 1, 5000)),
      );
      for (const client of clients) {
        const gap = client.gaps.items[index];
        assert.equal(gap?.room, "chat");
        assert.equal(gap?.reason, "epoch");
        assert.match(gap?.since ?? "", /^[0-9a-z]+\.\d+-\d+$/);
        assert.match(gap?.id ?? "", /^\d+-\d+$/);
      }
      await settle(b, clients);
      assert.ok(
        clients.every((client) => client.gaps.items.length === index + 1),
        "one gap in each step",
      );
    });
  }
});

Deno.test("clients receive a gap with reason epoch if the log continues with lower ids", async (t) => {
  await using all = await cluster();
  const { redis, a, b, clients } = all;
  const future = Date.now() + 3_600_000;
  const steps: [name: string, back: () => Promise<unknown>][] = [
    // Redis' clock was ahead, then the log was emptied: new ids are lower than those already read.
    [
      "the log is emptied after Redis' clock was ahead",
      () => redis.command("FLUSHALL"),
    ],
    // A fail-over to a replica that lacks the newest entries.
    ["the log loses its newest entries", async () => {
      const entries = await redis.command(
        "XREVRANGE",
        LOG,
        "+",
        "-",
        "COUNT",
        "3",
      ) as [string][];
      await redis.removeEntries(LOG, entries.map(([id]) => id));
    }],
  ];
  for (const [index, [name, back]] of steps.entries()) {
    await t.step(name, async () => {
      for (let i = 0; i < 5; i++) {
        await redis.command(
          "XADD",
          LOG,
          `${future + index}-${i + 1}`,
          "room",
          "chat",
          "message",
          `"ahead ${i}"`,
        );
      }
      await Promise.all(
        clients.map((client) =>
          client.messages.where(() =>
            client.ids.includes(`${future + index}-5`)
          )
        ),
      );
      await back();
      await Promise.all(
        clients.map((client) => client.gaps.have(index + 1, 5000)),
      );
      assert.ok(
        clients.every((client) => client.gaps.items[index]?.reason === "epoch"),
      );
      const count = clients.map((client) => client.messages.items.length);
      const id = await b.publish(`after ${name}`);
      await Promise.all(
        clients.map((client) =>
          client.messages.where(() => client.ids.includes(id), 5000)
        ),
      );
      await a.publish("one more");
      await Promise.all(
        clients.map((client, i) => client.messages.have((count[i] ?? 0) + 2)),
      );
      assert.ok(
        clients.every((client, i) =>
          client.messages.items.length === (count[i] ?? 0) + 2
        ),
        "no message was delivered twice",
      );
    });
  }
});

Deno.test("a node that was suspended misses no entry that was added meanwhile to an otherwise quiet log", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env, { ready: false });
  await until(
    "the node is ready",
    async () => (await b.get("/readyz")).status === 200,
  );
  await using client = await Subscriber.connect(b.url);
  for (let round = 0; round < 3; round++) {
    b.signal("SIGSTOP");
    await a.publish(`while it stood still ${round}`);
    await wait(1500);
    b.signal("SIGCONT");
    await client.messages.have(round + 1);
  }
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    [0, 1, 2].map((i) => `while it stood still ${i}`),
  );
});

Deno.test("a node sends its clients a gap with reason trimmed if entries were trimmed before the node has read them", async () => {
  await using all = await cluster();
  const { redis, a, b, clients } = all;
  await using proxy = await Proxy.start(b.port);
  await using away = await Subscriber.connect(proxy.url, {
    reconnectionDelay: 20,
    reconnectionDelayMax: 50,
  });
  await settle(a, [...clients, away]);
  proxy.targets = [];
  proxy.cut();
  await away.disconnects.have(1);
  b.signal("SIGSTOP");
  for (let i = 0; i < 5; i++) await a.publish(i);
  await redis.command("XTRIM", LOG, "MAXLEN", "2");
  await wait(200);
  b.signal("SIGCONT");
  const [gap] = await clients[1]?.gaps.have(1) ?? [];
  assert.deepEqual([gap?.room, gap?.reason], ["chat", "trimmed"]);
  proxy.targets = [b.port];
  // Only that node's reading of the log has a gap; the room's history is complete.
  await away.messages.have(6);
  assert.deepEqual(away.messages.items.slice(1).map(({ message }) => message), [
    0,
    1,
    2,
    3,
    4,
  ]);
  assert.equal(away.connects.items.at(-1), true);
  await settle(a, [...clients, away]);
  assert.equal(clients[0]?.gaps.items.length, 0);
  assert.equal(clients[0]?.messages.items.length, 7);
});

Deno.test("a node uses little CPU time while Redis is unreachable", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await redis.kill();
  const before = await node.cpuSeconds();
  await wait(5000);
  const used = await node.cpuSeconds() - before;
  assert.ok(used < 0.75, `${used} s of CPU in 5 s`);
  await redis.restart();
  await until(
    "it is ready",
    async () => (await node.get("/readyz")).status === 200,
  );
});

Deno.test("a node logs each Redis setting that can lose messages as one error, also after a reconnect, and lists it in /readyz", async () => {
  await using redis = await Redis.start({
    aof: false,
    args: ["--maxmemory-policy", "allkeys-lru"],
  });
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  const { body } = await node.get("/readyz");
  assert.equal(body.ready, true);
  assert.equal(body.warnings.length, 2);
  assert.match(body.warnings[0], /append-only/);
  assert.match(body.warnings[1], /maxmemory-policy allkeys-lru/);
  await redis.command("CLIENT", "KILL", "TYPE", "normal");
  await until(
    "it is ready again",
    async () => (await node.get("/readyz")).status === 200,
  );
  const unsafe = node.log.items.filter(({ kind }) =>
    kind === "redis_config_warning"
  );
  assert.equal(unsafe.length, 2);
  assert.ok(unsafe.every(({ level }) => level === "error"));
});

Deno.test("publishes beyond the limit of pending publishes fail at once with overloaded", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  redis.signal("SIGSTOP");
  const message = "x".repeat(60_000);
  const batch = { messages: Array.from({ length: 125 }, () => ({ message })) };
  const answers = await Promise.all(
    Array.from({ length: 24 }, () => node.post("/publish/batch", batch)),
  );
  redis.signal("SIGCONT");
  assert.ok(answers.every(({ status }) => status === 503));
  // The others are rejected before they are read, and have no results.
  const taken = answers.filter(({ body }) => body.results !== undefined);
  // Eight batches fit into 64 MiB, so only the others are rejected.
  assert.ok(taken.length >= 8 && taken.length < 24, `${taken.length} of 24`);
  const others = answers.filter((answer) => !taken.includes(answer));
  assert.ok(others.every(({ body }) => body.error.code === "overloaded"));
  const codes = taken.flatMap(({ body }) =>
    body.results.map((result: { error?: { code: string } }) =>
      result.error?.code
    )
  );
  assert.ok(
    codes.length === taken.length * 125 &&
      codes.every((code) => /^(overloaded|log_\w+)$/.test(code)),
  );
  // 64 MiB of bodies and 64 MiB of publishes may be held, some of them twice while they are parsed.
  assert.ok(
    await node.memory() < 700e6,
    `${await node.memory() / 1e6} MB resident`,
  );
  await until(
    "it is ready again",
    async () => (await node.get("/readyz")).status === 200,
  );
});

Deno.test("GET history rejects invalid positions and parameters without reading from Redis", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start(env);
    const id = await node.publish("a");
    const bad = [
      "$",
      "-",
      "+",
      "0-0",
      "(1-0",
      "*",
      "1",
      "-1-1",
      "a.b",
      "1-1-1",
      `${"9".repeat(14_000)}-0`,
      "99999999999999999999-0",
      "",
    ];
    const before = await redis.calls("xrange");
    for (const since of bad) {
      const { status, body } = await node.get(
        `/rooms/chat/history?since=${encodeURIComponent(since)}`,
      );
      assert.deepEqual(
        [status, body.error?.code],
        [400, "invalid_position"],
        since.slice(0, 30),
      );
    }
    for (
      const query of [
        "limit=1001",
        "limit=-1",
        "limit=x",
        "order=up",
      ]
    ) {
      assert.equal(
        (await node.get(`/rooms/chat/history?${query}`)).body.error.code,
        "invalid_parameter",
      );
    }
    assert.equal(await redis.calls("xrange"), before);
    const { body } = await node.get(
      `/rooms/chat/history?since=aaaaaaaaaaaaaaaa.${id}`,
    );
    assert.deepEqual([body.messages.length, body.complete], [0, false]);
  }
});

Deno.test("publishing, delivery, history and clearing work for rooms with unusual names", async () => {
  await using redis = await Redis.start();
  const rooms = [
    "__proto__",
    "constructor",
    "toString",
    "🏠",
    "\u202egnp.exe",
    "a/b?c=d&e#f",
    "{x}",
    "%2F",
    "...",
  ];
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start(env);
    await using client = await Subscriber.connect(node.url, {
      auth: { rooms },
    });
    for (const room of rooms) await node.publish({ room }, room);
    await client.messages.have(rooms.length);
    assert.deepEqual(client.messages.items.map(({ room }) => room), rooms);
    for (const room of rooms) {
      const path = `/rooms/${encodeURIComponent(room)}/history`;
      const { body } = await node.get(path);
      assert.deepEqual([body.room, body.messages[0]?.message, body.complete], [
        room,
        { room },
        true,
      ]);
      assert.equal(
        body.messages[0].at,
        Number(body.messages[0].id.split("-")[0]),
      );
      assert.equal(
        (await node.request(path, { method: "DELETE" })).status,
        204,
      );
      const { body: cleared } = await node.get(path);
      assert.deepEqual([cleared.messages, cleared.complete], [[], false]);
    }
  }
});

Deno.test("all scripts run on a Redis Cluster, because all their keys share one slot", async () => {
  // Without a port of its own, the cluster's bus would use the server's port plus 10000, which may be in use.
  const args = ["--cluster-enabled", "yes", "--cluster-port"];
  await using redis = await Redis.start({
    args: [...args, `${await freePort()}`],
  });
  const slots = Array.from({ length: 16384 }, (_, slot) => String(slot));
  await redis.command("CLUSTER", "ADDSLOTS", ...slots);
  await until(
    "the cluster is up",
    async () =>
      String(await redis.command("CLUSTER", "INFO")).includes(
        "cluster_state:ok",
      ),
  );
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using client = await Subscriber.connect(node.url);
  const { body } = await node.post("/publish", {
    rooms: ["chat", "other"],
    message: 1,
    key: "k",
  });
  assert.ok(
    body.results.every((result: { id?: string }) => result.id !== undefined),
  );
  await client.messages.have(1);
  assert.equal(
    (await node.get("/rooms/other/history")).body.messages.length,
    1,
  );
});

Deno.test("a client receives a gap with reason epoch if its node's Redis becomes a replica of a master with another log", async () => {
  const args = ["--repl-diskless-sync-delay", "0"];
  // Without this, a gap of the room's channel could arrive at any time.
  const env = { CHANNELS: "other" };
  await using old = await Redis.start({ args });
  await using next = await Redis.start({ args });
  const follow = (one: Redis, master: Redis): Promise<unknown> =>
    one.command("REPLICAOF", "127.0.0.1", `${master.port}`);
  const lead = (one: Redis): Promise<unknown> =>
    one.command("REPLICAOF", "NO", "ONE");
  await follow(next, old);
  await using a = await TestNode.start({ REDIS_URL: old.url, ...env });
  await using client = await Subscriber.connect(a.url);
  await settle(a, [client]);
  await until(
    "the replica has the message",
    async () =>
      await next.command("XLEN", LOG) === await old.command("XLEN", LOG),
  );
  await lead(next);
  await using b = await TestNode.start({ REDIS_URL: next.url, ...env });
  const lost = await a.publish("only on the old one");
  await client.messages.where(() => client.ids.includes(lost));
  await b.publish("only on the next one");
  await follow(old, next);
  const [gap] = await client.gaps.have(1);
  assert.equal(gap?.reason, "epoch");
  const epochOf = async (node: TestNode): Promise<string> =>
    (await node.get("/rooms/chat/history")).body.position.split(".")[0];
  assert.equal(await epochOf(a), await epochOf(b));
  const { status, body } = await a.post("/publish", { message: "refused" });
  assert.deepEqual([status, body.error.code], [503, "log_read_only"]);
  const after = await b.publish("after");
  await client.messages.where(() => client.ids.includes(after));
  await lead(old);
  await settle(a, [client]);
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    ["the end", "only on the old one", "after", "the end"],
  );
  // Once from the node that was connected to the replica, and once from all nodes as soon as a master can record it.
  assert.deepEqual(
    new Set(client.gaps.items.map(({ reason }) => reason)),
    new Set(["epoch"]),
  );
  assert.deepEqual(
    a.log.items.filter(({ kind, where }) =>
      kind === "error" && where === "reading the log"
    ),
    [],
  );
});
