/**
 * Tests the adapter's operations on the sockets of all nodes, with two Socket.IO servers in this process and a real
 * Redis.
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server } from "socket.io";
import type { ClusterCommand } from "../../../lib/cluster/cluster.ts";
import { AdapterCluster } from "../../../lib/socketio/adapter.ts";
import { CLUSTER_EVENTS } from "../../../lib/socketio/commands.ts";
import { RedisLog } from "../../../lib/redis_log/redis_log.ts";
import type { Observation } from "../../../lib/observer.ts";
import { RedisConnection } from "../../../lib/redis/connection.ts";
import { ConnectionGroup } from "../../../lib/redis/group.ts";
import { Subscriber } from "../../support/client.ts";
import { listen } from "../../support/net.ts";
import { Redis } from "../../support/redis.ts";
import { Inbox, soon, until } from "../../support/wait.ts";

const NAMESPACES = ["/", "/notifications", "/my-namespace", "/dashboard"];
const PREFIX = "test";
const LOG = `${PREFIX}:{${PREFIX}}:log`;
/** Entries of the log for which the stock adapter throws an error. */
const POISON = [
  ["uid", "x", "nsp", "/", "type", "3"],
  ["uid", "x", "nsp", "/", "type", "3", "data", "{}"],
];

/** A Socket.IO server with the guarded adapter, connected to a log as in `lib/node.ts`. */
class Node {
  readonly io: Server;
  readonly cluster: AdapterCluster;
  readonly observations = new Inbox<Observation>();
  /** The texts that other nodes sent with the event `hello`, each as `namespace text`. */
  readonly received = new Inbox<string>();
  /** The reasons of the gaps that this node's reader found in the log. */
  readonly gaps = new Inbox<string>();
  readonly group: ConnectionGroup;
  readonly #log: RedisLog;
  readonly #http = createServer();

  private constructor(url: string, events?: readonly string[]) {
    const observe = (observation: Observation): void =>
      this.observations.push(observation);
    const group = this.group = new ConnectionGroup(observe);
    this.#log = new RedisLog({
      url,
      keyPrefix: PREFIX,
      historySize: 100,
      historySeconds: 3600,
      idempotencySeconds: 600,
      ackReplicas: 0,
      recoverySeconds: 120,
      reader: {
        started() {},
        entries() {},
        gap: (reason) => this.gaps.push(reason),
        lineageChanged() {},
        ingressGap() {},
      },
      cluster: (fields, id) => this.cluster.onLogEntry(fields, id),
      group,
      observe,
    });
    this.cluster = new AdapterCluster({
      commands: this.#log.commands,
      stream: this.#log.keys.log,
      channelPrefix: PREFIX,
      ...(events === undefined ? {} : { events }),
      observe,
      connect: (options) =>
        new RedisConnection({
          url,
          name: "cluster",
          observe,
          group,
          ...options,
        }),
    });
    this.io = new Server(
      this.#http,
      {
        adapter: this.cluster.adapter,
        serveClient: false,
        // This makes Socket.IO call the adapter to save and restore sessions.
        connectionStateRecovery: {},
      } as ConstructorParameters<typeof Server>[1],
    );
    for (const name of NAMESPACES) this.listen(name);
  }

  /** Starts a node and waits until all its connections to Redis are open. */
  static async start(
    redis: Redis,
    events?: readonly string[],
  ): Promise<Node> {
    const node = new Node(redis.url, events);
    try {
      await listen(node.#http);
      await node.connected();
    } catch (error) {
      await node.close();
      throw error;
    }
    return node;
  }

  /** Records and answers what other nodes send in a namespace. Creates the namespace if there is none. */
  listen(namespace: string): void {
    const io = this.io.of(namespace);
    io.on("hello", (what: string, answer?: (what: string) => void) => {
      this.received.push(`${namespace} ${what}`);
      answer?.(`${what} yourself`);
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** The ids of the entries that were skipped. */
  get skipped(): string[] {
    return this.observations.items.flatMap((observation) =>
      observation.kind === "entry_skipped" ? [observation.id] : []
    );
  }

  /** The errors of the commands that the adapter sent to Redis. */
  get errors(): string[] {
    return this.observations.items.flatMap((observation) =>
      observation.kind === "error" &&
        observation.where === "the Socket.IO adapter"
        ? [String(observation.error)]
        : []
    );
  }

  /** Resolves when this node is connected, so that it receives messages of other nodes. */
  async connected(): Promise<void> {
    await until(
      "all connections are up",
      () => this.group.missing.length === 0,
    );
    await until(
      "the log is read",
      () => this.#log.probe().then(() => true, () => false),
    );
  }

  /** Closes the parts in the same order as `lib/node.ts`: first the sockets, then the parts that send data to them. */
  async close(): Promise<void> {
    await this.io.close();
    await this.cluster.close();
    await this.#log.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await soon(this.close(), "the node is closed");
  }
}

interface Two extends AsyncDisposable {
  redis: Redis;
  a: Node;
  b: Node;
}

async function two(): Promise<Two> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await Redis.start());
  const a = stack.use(await Node.start(redis));
  const b = stack.use(await Node.start(redis));
  const all = stack.move();
  return { redis, a, b, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** A client in a namespace, with the messages that it received by broadcast. */
class Client extends Subscriber {
  readonly said = new Inbox<unknown>();

  constructor(node: Node, namespace: string) {
    super(`${node.url}${namespace}`, { transports: ["websocket"] }, false);
    this.socket.on("said", (what) => this.said.push(what));
  }

  static async join(node: Node, namespace: string): Promise<Client> {
    const client = new Client(node, namespace);
    try {
      await soon(client.connects.have(1), "the client connects");
    } catch (error) {
      await client[Symbol.asyncDispose]();
      throw error;
    }
    return client;
  }

  get id(): string {
    return this.socket.id ?? "";
  }
}

/** Collects unhandled rejections, which with the stock adapter end the process. */
function watchRejections(): Disposable & { readonly unhandled: unknown[] } {
  const unhandled: unknown[] = [];
  const watch = (event: PromiseRejectionEvent): void => {
    event.preventDefault();
    unhandled.push(event.reason);
  };
  globalThis.addEventListener("unhandledrejection", watch);
  return {
    unhandled,
    [Symbol.dispose]: () =>
      globalThis.removeEventListener("unhandledrejection", watch),
  };
}

function sorted(ids: Iterable<string>): string[] {
  return [...ids].sort();
}

/** Runs every operation on the node `a`, and checks its effect on one client of each node. */
async function askAll(
  { a, b }: Two,
  namespace: string,
  clients: readonly [Client, Client],
): Promise<void> {
  const io = a.io.of(namespace);
  const far = b.io.of(namespace).sockets.get(clients[1].id);
  const ids = clients.map(({ id }) => id);

  const fetched = await soon(io.fetchSockets(), "sockets are fetched");
  assert.deepEqual(sorted(fetched.map(({ id }) => id)), sorted(ids));

  io.socketsJoin("vip");
  await until("it has joined", () => far?.rooms.has("vip") === true);
  const vips = await soon(io.in("vip").fetchSockets(), "sockets are fetched");
  assert.deepEqual(sorted(vips.map(({ id }) => id)), sorted(ids));
  io.in("vip").emit("said", namespace);
  for (const client of clients) await client.said.have(1);
  io.socketsLeave("vip");
  await until("it has left", () => far?.rooms.has("vip") === false);

  io.serverSideEmit("hello", "you");
  await b.received.where(() => b.received.items.includes(`${namespace} you`));
  const answers = await soon(
    io.serverSideEmitWithAck("hello", "again"),
    "the other node answers",
  );
  assert.deepEqual(answers, ["again yourself"]);
  const own = [`${namespace} you`, `${namespace} again`];
  assert.ok(
    !a.received.items.some((what) => own.includes(what)),
    "a node does not receive its own messages",
  );

  io.disconnectSockets();
  for (const { disconnects } of clients) {
    await disconnects.where(() =>
      disconnects.items.at(-1) === "io server disconnect"
    );
  }
  assert.deepEqual(clients.map(({ said }) => said.items), [[namespace], [
    namespace,
  ]]);
}

Deno.test("every operation of the adapter reaches the sockets of its namespace on the other node, and no other sockets", async (t) => {
  await using all = await two();
  await using stack = new AsyncDisposableStack();
  const { a, b } = all;
  // The last namespace is created when all connections are already open.
  const names = [...NAMESPACES, "/late"];
  for (const node of [a, b]) node.listen("/late");
  await until("the late one is subscribed", async () => {
    const channel = `${PREFIX}#/late#`;
    const reply = await all.redis.command("PUBSUB", "NUMSUB", channel);
    return (reply as [string, number])[1] === 2;
  });
  const clients = new Map<string, [Client, Client]>();
  for (const name of names) {
    clients.set(name, [
      stack.use(await Client.join(a, name)),
      stack.use(await Client.join(b, name)),
    ]);
  }
  for (const [name, pair] of clients) {
    await t.step(name, async () => {
      await askAll(all, name, pair);
      clients.delete(name);
      for (const [client] of clients.values()) {
        assert.ok(client.socket.connected, "clients of other namespaces stay");
      }
    });
  }
  assert.deepEqual([...a.errors, ...b.errors], []);
  assert.deepEqual([...a.skipped, ...b.skipped], []);
});

Deno.test("serverSideEmit() and emit() transfer binary data to the other node", async () => {
  await using all = await two();
  const { a, b } = all;
  await using client = await Client.join(b, "/");
  const bytes = Uint8Array.of(0, 128, 255, 123);
  const heard = new Inbox<unknown>();
  b.io.on("bytes", (what) => heard.push(what));
  a.io.emit("said", { bytes });
  a.io.serverSideEmit("bytes", { bytes });
  for (const inbox of [client.said, heard]) {
    const [what] = await inbox.have(1) as [{ bytes: Uint8Array }];
    assert.deepEqual(Uint8Array.from(what.bytes), bytes);
  }
});

Deno.test("AdapterCluster reports an entry that the adapter cannot handle, and passes on the entries before and after it", async () => {
  using rejections = watchRejections();
  await using all = await two();
  const { redis, a, b } = all;
  await using client = await Client.join(b, "/");
  const bad: string[] = [];
  for (let i = 0; i < 3; i++) {
    a.io.emit("said", `before ${i}`);
    for (const fields of POISON) {
      bad.push(String(await redis.command("XADD", LOG, "*", ...fields)));
    }
    a.io.emit("said", `after ${i}`);
  }
  // Valid and invalid entries are written together, so that they arrive in one read.
  const batch = [...POISON, goodEntry("together"), ...POISON];
  const ids = await redis.command(
    "EVAL",
    `local ids, fields = {}, {}
     for _, word in ipairs(ARGV) do
       if word == '' then
         ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', unpack(fields))
         fields = {}
       else fields[#fields + 1] = word end
     end
     return ids`,
    "1",
    LOG,
    ...batch.flatMap((fields) => [...fields, ""]),
  ) as string[];
  bad.push(...ids.filter((_, i) => i !== POISON.length));
  a.io.emit("said", "the end");
  await client.said.where(() => client.said.items.includes("the end"));
  const rounds = [0, 1, 2].flatMap((i) => [`before ${i}`, `after ${i}`]);
  assert.deepEqual(
    new Set(client.said.items),
    new Set([...rounds, "together", "the end"]),
  );
  assert.equal(client.said.items.length, 8, "no message arrives twice");
  for (const node of [a, b]) {
    await until("all are reported", () => node.skipped.length >= bad.length);
    assert.deepEqual(sorted(node.skipped), sorted(bad));
  }
  assert.deepEqual(rejections.unhandled, []);
});

/** Returns the fields of a broadcast to all clients of `/`, as the adapter writes it into the log. */
function goodEntry(what: string): string[] {
  const data = JSON.stringify({
    packet: { type: 2, data: ["said", what], nsp: "/" },
    opts: { rooms: [], except: [], flags: {} },
  });
  return ["uid", "somebody else", "nsp", "/", "type", "3", "data", data];
}

Deno.test("AdapterCluster causes no unhandled rejection while Redis is down, and its operations work again after Redis has restarted", async () => {
  using rejections = watchRejections();
  await using all = await two();
  const { redis, a, b } = all;
  await using stack = new AsyncDisposableStack();
  const client = stack.use(await Client.join(b, "/dashboard"));
  await redis.kill();
  await until(
    "the loss is noticed",
    () => [a, b].every(({ group }) => group.missing.length === 3),
  );
  const io = a.io.of("/dashboard");
  io.serverSideEmit("hello", "nobody");
  io.socketsJoin("vip");
  io.socketsLeave("vip");
  io.emit("said", "to nobody");
  assert.deepEqual(
    await soon(io.fetchSockets(), "the sockets of this node are fetched"),
    [],
  );
  assert.deepEqual(
    await soon(io.serverSideEmitWithAck("hello", "nobody"), "it is answered"),
    [],
  );
  b.listen("/made meanwhile");
  a.listen("/made meanwhile");
  // Socket.IO asks the adapter to save a session when a connection breaks, and to restore it at the reconnect.
  client.socket.io.engine.close();
  await client.connects.have(2);
  await until("each is reported", () => a.errors.length >= 6);

  await redis.restart();
  await Promise.all([a.connected(), b.connected()]);
  assert.deepEqual(b.received.items, []);
  for (const name of [...NAMESPACES, "/made meanwhile"]) {
    a.io.of(name).serverSideEmit("hello", "from a");
    b.io.of(name).serverSideEmit("hello", "from b");
    await b.received.where(() => b.received.items.includes(`${name} from a`));
    await a.received.where(() => a.received.items.includes(`${name} from b`));
  }
  const pair = [stack.use(await Client.join(a, "/dashboard")), client] as const;
  await askAll(all, "/dashboard", [...pair]);
  const names = new Set(a.received.items);
  assert.equal(names.size, a.received.items.length, "no message arrives twice");
  assert.deepEqual(rejections.unhandled, []);
});

Deno.test("AdapterCluster reports a write that Redis refuses and causes no unhandled rejection", async () => {
  using rejections = watchRejections();
  await using all = await two();
  const { redis, a, b } = all;
  await using client = await Client.join(b, "/");
  await redis.command("CONFIG", "SET", "maxmemory", "1");
  a.io.socketsJoin("vip");
  a.io.emit("said", "refused");
  await until("both are reported", () => a.errors.length >= 2);
  assert.ok(a.errors.every((error) => error.includes("OOM")), `${a.errors}`);
  await redis.command("CONFIG", "SET", "maxmemory", "0");
  await redis.command("ACL", "SETUSER", "default", "-publish", "-pubsub");
  a.io.serverSideEmit("hello", "refused");
  assert.deepEqual(
    await soon(a.io.fetchSockets(), "the sockets of this node are fetched"),
    [],
  );
  await until("these are reported too", () => a.errors.length >= 4);
  await redis.command("ACL", "SETUSER", "default", "+@all");
  a.io.serverSideEmit("hello", "taken");
  a.io.emit("said", "taken");
  assert.deepEqual(await b.received.have(1), ["/ taken"]);
  assert.deepEqual(await client.said.have(1), ["taken"]);
  assert.deepEqual(rejections.unhandled, []);
});

Deno.test("AdapterCluster saves no sessions in Redis", async () => {
  await using all = await two();
  const { redis, a, b } = all;
  await using client = await Client.join(b, "/");
  a.io.emit("said", "with an offset");
  await client.said.have(1);
  client.socket.io.engine.close();
  assert.deepEqual(await client.connects.have(2), [false, false]);
  const keys = await redis.command("KEYS", "*") as string[];
  assert.deepEqual(keys.filter((key) => !key.startsWith(`${PREFIX}:`)), []);
});

Deno.test("an operation of the adapter begins a new epoch if the log was deleted", async () => {
  await using all = await two();
  const { redis, a, b } = all;
  await redis.command("DEL", LOG);
  a.io.socketsJoin("vip");
  for (const { gaps } of [a, b]) {
    assert.deepEqual(await gaps.have(1), ["epoch"]);
  }
  assert.deepEqual(a.errors, []);
});

Deno.test("AdapterCluster drops and reports the oldest entries if more than 10,000 are queued for the adapter", async () => {
  await using all = await two();
  const { a } = all;
  await using client = await Client.join(a, "/");
  for (let i = 0; i < 10_003; i++) {
    a.cluster.onLogEntry(
      Object.fromEntries(pairs(goodEntry(`${i}`))),
      `${i}-0`,
    );
  }
  assert.deepEqual(a.skipped, ["0-0", "1-0", "2-0"]);
  const said = await client.said.have(10_000);
  assert.deepEqual(said, Array.from({ length: 10_000 }, (_, i) => `${i + 3}`));
});

Deno.test("AdapterCluster with the option `events` skips and reports every message that is not one of these events", async () => {
  await using redis = await Redis.start();
  await using foreign = await Node.start(redis);
  await using node = await Node.start(redis, ["hello"]);
  await using client = await Client.join(node, "/");
  const socket = node.io.of("/").sockets.get(client.id);
  const others = new Inbox<unknown>();
  node.io.on("bye", (what) => others.push(what));

  foreign.io.emit("said", "past the log");
  foreign.io.socketsJoin("vip");
  foreign.io.socketsLeave(client.id);
  foreign.io.disconnectSockets(true);
  foreign.io.timeout(100).emit("said", "with an acknowledgement", () => {});
  await assert.rejects(
    foreign.io.timeout(100).fetchSockets(),
    /timeout reached/,
  );
  foreign.io.serverSideEmit("bye", "you");
  foreign.io.serverSideEmit("hello", "you");

  assert.deepEqual(await node.received.have(1), ["/ you"]);
  await until("all others are skipped", () => node.skipped.length >= 7);
  assert.equal(node.skipped.length, 7);
  assert.equal(node.skipped.filter((id) => id !== "").length, 4, "of the log");
  assert.deepEqual(client.said.items, []);
  assert.ok(client.socket.connected);
  assert.deepEqual([...socket?.rooms ?? []], [client.id]);
  assert.deepEqual(others.items, []);
});

Deno.test("AdapterCluster.send() sends a command to all other nodes and not to the sending node", async () => {
  await using redis = await Redis.start();
  await using a = await Node.start(redis, CLUSTER_EVENTS);
  await using b = await Node.start(redis, CLUSTER_EVENTS);
  await using c = await Node.start(redis, CLUSTER_EVENTS);
  const received = [a, b, c].map(({ cluster }) => {
    const inbox = new Inbox<ClusterCommand>();
    cluster.onCommand("session_resumed", (command) => inbox.push(command));
    cluster.onCommand("revoked", (command) => inbox.push(command));
    return inbox;
  });
  // Commands of another form are ignored.
  a.io.serverSideEmit("taken_over", 5, 1);
  a.io.serverSideEmit("taken_over", "x", "1");
  a.io.serverSideEmit("taken_over");
  const commands: readonly ClusterCommand[] = [
    { kind: "session_resumed", digest: "x", generation: 3 },
    { kind: "revoked" },
  ];
  for (const command of commands) a.cluster.send(command);
  for (const inbox of received.slice(1)) {
    assert.deepEqual(await inbox.have(2), commands);
  }
  assert.deepEqual(received[0]?.items, []);
});

Deno.test("AdapterCluster.send() writes session_resumed in the same form as earlier versions", async () => {
  await using redis = await Redis.start();
  await using node = await Node.start(redis, CLUSTER_EVENTS);
  await using other = await Node.start(redis);
  const received = new Inbox<ClusterCommand>(), sent = new Inbox<unknown[]>();
  node.cluster.onCommand(
    "session_resumed",
    (command) => received.push(command),
  );
  other.io.on("taken_over", (...args: unknown[]) => sent.push(args));
  // This is the form that the commit 612eebc sends and expects.
  other.io.serverSideEmit("taken_over", "x", 3);
  assert.deepEqual(await received.have(1), [
    { kind: "session_resumed", digest: "x", generation: 3 },
  ]);
  node.cluster.send({ kind: "session_resumed", digest: "y", generation: 4 });
  assert.deepEqual(await sent.have(1), [["y", 4]]);
});

Deno.test("AdapterCluster.close() resolves while operations and reads are in flight", async (t) => {
  const cases: [name: string, before: (all: Two) => unknown][] = [
    ["idle", () => {}],
    ["with queued entries", ({ a }) => {
      for (let i = 0; i < 1000; i++) {
        a.cluster.onLogEntry(
          Object.fromEntries(pairs(goodEntry("?"))),
          `${i}-0`,
        );
      }
    }],
    ["with the cluster closed first", ({ a }) => a.cluster.close()],
    ["with Redis killed", ({ redis }) => redis.kill()],
    ["with commands in flight to a Redis that does not reply", (all) => {
      all.redis.signal("SIGSTOP");
      const io = all.a.io.of("/dashboard");
      io.serverSideEmit("hello", "nobody");
      io.socketsJoin("vip");
      io.emit("said", "nobody");
      all.a.listen("/new");
    }],
  ];
  for (const [name, before] of cases) {
    await t.step(name, async () => {
      using rejections = watchRejections();
      await using stack = new AsyncDisposableStack();
      const redis = stack.use(await Redis.start());
      stack.defer(() => redis.signal("SIGCONT"));
      const a = stack.use(await Node.start(redis));
      const client = stack.use(await Client.join(a, "/"));
      await before({ redis, a, b: a, [Symbol.asyncDispose]: async () => {} });
      await client[Symbol.asyncDispose]();
      await soon(a.close(), "the node is closed", 3000);
      // A closed cluster ignores entries, without an endless loop.
      a.cluster.onLogEntry({ nsp: "/", type: "3" }, "1-1");
      const count = a.observations.items.length;
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(a.observations.items.length, count);
      assert.deepEqual(rejections.unhandled, []);
    });
  }
});

function pairs(list: readonly string[]): [string, string][] {
  return Array.from(
    { length: list.length / 2 },
    (_, i) => [list[2 * i] ?? "", list[2 * i + 1] ?? ""],
  );
}
