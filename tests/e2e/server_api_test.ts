/** Backends see which rooms have clients, put clients into rooms and take them out, and disconnect them, on all nodes. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { type Reply, TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { makeToken, SECRET } from "../support/tokens.ts";
import { until } from "../support/wait.ts";

const KEY = { authorization: "Bearer correct-horse" };
/** How soon the other nodes have to follow, in ms, if the command between them arrives and if it is lost. */
const FOLLOW_MS = 1000, LOST_MS = 3500;

/** A client of a user that records in which rooms it is, from what it is told. */
class Member extends Subscriber {
  readonly rooms = new Set<string>();
  readonly left: { room: string; reason: string }[] = [];

  constructor(
    readonly user: string,
    node: TestNode,
    token: string,
    rooms: readonly string[],
    reconnection: boolean,
  ) {
    super(node.url, {
      auth: { token, rooms },
      transports: ["websocket"],
      reconnection,
      reconnectionDelay: 50,
      reconnectionDelayMax: 200,
    });
    this.socket.on("joined", ({ room }) => this.rooms.add(room));
    this.socket.on("left", (left) => {
      this.left.push(left);
      this.rooms.delete(left.room);
    });
  }

  /** Makes the client reconnect to another node if it has to. */
  moveTo(node: TestNode): void {
    Object.assign(this.socket.io, { uri: node.url });
  }

  received(message: unknown): boolean {
    return this.messages.items.some((received) => received.message === message);
  }
}

/** Nodes on one Redis, and clients. */
class Setup implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly redis: Redis,
    readonly nodes: readonly TestNode[],
  ) {
    this.#stack.use(redis);
    for (const node of nodes) this.#stack.use(node);
  }

  static async start(count: number): Promise<Setup> {
    const redis = await Redis.start({ fsync: "always" });
    const env = {
      REDIS_URL: redis.url,
      CHANNELS: "-",
      PUBLISH_KEYS: "web:correct-horse,some:staple-battery",
      PUBLISH_KEY_ROOMS: "some=own.*",
      TOKEN_SECRET: SECRET,
    };
    const nodes = await Promise.all(
      Array.from({ length: count }, () => TestNode.start(env)),
    );
    return new Setup(redis, nodes);
  }

  async member(
    node: TestNode | undefined,
    user: string,
    rooms: readonly string[] = [],
    reconnection = true,
  ): Promise<Member> {
    if (node === undefined) throw new Error("there is no such node");
    const caps = [{ rooms: ["all", "own.*"], allow: ["sub"] }];
    const token = await makeToken({ sub: user, caps });
    const member = new Member(user, node, token, rooms, reconnection);
    this.#stack.use(member);
    await member.connects.have(1);
    return member;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

async function ask(
  node: TestNode | undefined,
  path: string,
  body?: unknown,
  headers: Record<string, string> = KEY,
): Promise<Reply> {
  if (node === undefined) throw new Error("there is no such node");
  return body === undefined
    ? await node.request(path, { headers })
    : await node.post(path, body, headers);
}

async function ok(
  node: TestNode | undefined,
  path: string,
  body?: unknown,
): Promise<Reply["body"]> {
  const reply = await ask(node, path, body);
  assert.equal(reply.status, 200, `${path}: ${reply.text}`);
  return reply.body;
}

/** Returns the numbers of a room as one of the nodes shows them. */
async function count(node: TestNode | undefined, room: string) {
  const { clients, users } = await ok(node, `/rooms/${room}`);
  return `${clients} by ${users}`;
}

async function untilCount(
  node: TestNode | undefined,
  room: string,
  expected: string,
  timeoutMs: number,
): Promise<number> {
  const start = performance.now();
  let last = "";
  try {
    await until("the count is right", async () => {
      last = await count(node, room);
      return last === expected;
    }, timeoutMs);
  } catch {
    assert.equal(last, expected);
  }
  return performance.now() - start;
}

Deno.test("three nodes count 300 clients within a second, and without those of a killed node within 15 s", async () => {
  await using setup = await Setup.start(3);
  const [a, b, c] = setup.nodes;
  // Each user has a client on each node. Only the third of each is in a room of its own.
  await Promise.all(
    setup.nodes.flatMap((node, index) =>
      Array.from({ length: 100 }, (_, i) =>
        setup.member(
          node,
          `u${i}`,
          index === 2 ? ["all", `own.${i % 10}`] : ["all"],
          false,
        ))
    ),
  );
  for (const node of setup.nodes) {
    await untilCount(node, "all", "300 by 100", FOLLOW_MS);
    await untilCount(node, "own.3", "10 by 10", FOLLOW_MS);
  }
  const first = await ok(a, "/rooms?prefix=own.&limit=6");
  const second = await ok(b, `/rooms?prefix=own.&cursor=${first.cursor}`);
  assert.equal(second.cursor, null);
  assert.deepEqual(
    [...first.rooms, ...second.rooms],
    Array.from(
      { length: 10 },
      (_, i) => ({ room: `own.${i}`, clients: 10, users: 10 }),
    ),
  );
  const limited = { authorization: "Bearer staple-battery" };
  const { body: own } = await ask(a, "/rooms", undefined, limited);
  assert.equal(own.rooms.length, 10);
  assert.equal((await ok(a, "/rooms")).rooms.length, 11);
  const { nodes } = await ok(b, "/nodes");
  assert.deepEqual(
    nodes.map(({ clients, draining }: Reply["body"]) => [clients, draining]),
    [[100, false], [100, false], [100, false]],
  );

  c?.signal("SIGKILL");
  const killed = performance.now();
  await untilCount(a, "all", "200 by 100", 15_000);
  const tookMs = performance.now() - killed;
  assert.ok(tookMs > 4000, "this was not a node that has left by itself");
  await untilCount(b, "all", "200 by 100", FOLLOW_MS);
  assert.deepEqual((await ok(b, "/rooms")).rooms, [
    { room: "all", clients: 200, users: 100 },
  ]);
  assert.equal((await ok(a, "/nodes")).nodes.length, 2);
});

Deno.test("100 clients are joined and removed while their node is killed, and all end where the server said", async () => {
  await using setup = await Setup.start(3);
  const [a, b, c] = setup.nodes;
  const members = await Promise.all(
    Array.from(
      { length: 100 },
      (_, i) => setup.member(i % 2 === 0 ? b : c, `u${i}`, ["all"]),
    ),
  );
  // A client that has to reconnect goes to the node that lives.
  for (const member of members) if (b) member.moveTo(b);
  const each = (
    path: string,
    which: (index: number) => boolean,
    killAt = Infinity,
  ) =>
    Promise.all(
      members.filter((_, i) => which(i)).map(({ user }, i) => {
        if (i === killAt) c?.signal("SIGKILL");
        return ok(a, path, { user });
      }),
    );
  await each("/rooms/vip/join", () => true, 50);
  await each("/rooms/vip/leave", (i) => i % 4 < 2);
  await each("/rooms/all/leave", (i) => i % 10 === 0);
  const isVip = (i: number) => i % 4 >= 2;
  await until(
    "all are where the server said",
    () =>
      members.every((member, i) =>
        member.socket.connected && member.rooms.has("vip") === isVip(i) &&
        member.rooms.has("all") === (i % 10 > 0)
      ),
    10_000,
  );
  // What a client was told is true: it gets the messages of exactly these rooms.
  for (const room of ["vip", "all"]) await b?.publish(room, room, KEY);
  await b?.publish("end", "own.end", KEY);
  await until(
    "the messages arrive",
    () =>
      members.every((member) =>
        [...member.rooms].every((room) => member.received(room))
      ),
  );
  for (const [i, member] of members.entries()) {
    assert.equal(member.received("vip"), isVip(i), `u${i}`);
    assert.equal(member.received("all"), i % 10 > 0, `u${i}`);
  }
  await untilCount(a, "vip", "50 by 50", 15_000);
});

Deno.test("a join takes effect although the command is lost, is refused while Redis is down, and outlives a restart of Redis", async () => {
  await using setup = await Setup.start(2);
  const { redis, nodes: [a, b] } = setup;
  const ann = await setup.member(b, "ann", ["all"]);
  await redis.command("ACL", "SETUSER", "default", "-publish");
  const { room, user, clients } = await ok(a, "/rooms/vip/join", {
    user: "ann",
  });
  assert.deepEqual({ room, user, clients }, {
    room: "vip",
    user: "ann",
    clients: 0,
  });
  await until("ann is told", () => ann.rooms.has("vip"), LOST_MS);
  await redis.command("ACL", "SETUSER", "default", "+@all");

  await redis.kill();
  const down = await ask(a, "/rooms/vip/leave", { user: "ann" });
  assert.equal(down.status, 503);
  assert.ok(down.headers.get("retry-after"));
  assert.equal((await ask(a, "/rooms/vip")).status, 503);
  await redis.restart();
  await until(
    "it works again",
    async () =>
      (await ask(a, "/rooms/vip2/join", { user: "ann" })).status === 200,
  );
  await until("ann is told", () => ann.rooms.has("vip2"), LOST_MS);
  // The client resumes its session on the other node, with the rooms into which the server has put it.
  if (a) ann.moveTo(a);
  ann.socket.io.engine.close();
  await ann.connects.have(2);
  assert.equal(ann.socket.recovered, true);
  assert.deepEqual([...ann.rooms].sort(), ["all", "vip", "vip2"]);
  await b?.publish("to vip", "vip", KEY);
  await until("the message arrives", () => ann.received("to vip"));
  await untilCount(b, "vip", "1 by 1", 5000);
  assert.deepEqual(ann.left, []);
});

Deno.test("nodes that get different requests at the same time end with the same rooms", async () => {
  await using setup = await Setup.start(2);
  const [a, b] = setup.nodes;
  const members = [
    await setup.member(a, "ann", ["all"]),
    await setup.member(b, "ann", ["all"]),
  ];
  for (let round = 0; round < 10; round++) {
    await Promise.all([
      ok(a, "/rooms/vip/join", { user: "ann" }),
      ok(b, "/rooms/vip/leave", { user: "ann" }),
    ]);
  }
  // This comes after all of them.
  await ok(a, "/rooms/last/join", { user: "ann" });
  await until(
    "all is applied",
    () => members.every(({ rooms }) => rooms.has("last")),
    LOST_MS,
  );
  const [one, two] = members.map(({ rooms }) => rooms.has("vip"));
  assert.equal(one, two);
  const expected = one ? "2 by 1" : "0 by 0";
  for (const node of setup.nodes) {
    await untilCount(node, "vip", expected, FOLLOW_MS);
  }
});

Deno.test("a disconnect ends the clients of a user on all nodes, and one client by its id, which is the socket's", async () => {
  await using setup = await Setup.start(2);
  const [a, b] = setup.nodes;
  const anns = [
    await setup.member(a, "ann", ["all"]),
    await setup.member(b, "ann", ["all"]),
  ];
  const bob = await setup.member(b, "bob", ["all"]);
  const { id = "" } = bob.socket;
  await ok(a, "/rooms/vip/join", { client: id });
  await until("bob is told", () => bob.rooms.has("vip"), FOLLOW_MS);
  bob.socket.io.engine.close();
  await bob.connects.have(2);
  assert.deepEqual([bob.socket.recovered, bob.socket.id], [true, id]);

  const { user, clients } = await ok(a, "/disconnect", { user: "ann" });
  assert.deepEqual([user, clients], ["ann", 1]);
  await until(
    "both are disconnected",
    () => anns.every(({ disconnects }) => disconnects.items.length === 1),
    FOLLOW_MS,
  );
  for (const { disconnects, socket } of anns) {
    assert.deepEqual(disconnects.items, ["io server disconnect"]);
    assert.ok(!socket.active, "a stock client does not come back by itself");
  }
  await ok(a, "/disconnect", { client: id });
  await until("bob is out", () => bob.disconnects.items.length === 2, 5000);
  const [ann] = anns;
  ann?.socket.connect();
  await ann?.connects.have(2);
  assert.equal(ann?.socket.recovered, false);
  await untilCount(b, "all", "1 by 1", 5000);
});

Deno.test("a stream counts as a client, is taken out of its rooms and disconnected, and is put into no others", async () => {
  await using setup = await Setup.start(1);
  const [node] = setup.nodes;
  const caps = [{ rooms: ["own.*"], allow: ["sub"] }];
  const token = await makeToken({ sub: "ann", caps });
  const open = async (rooms: string) => {
    const response = await fetch(`${node?.url}/events?rooms=${rooms}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    assert.equal(response.status, 200);
    return response;
  };
  const streams = [await open("own.1"), await open("own.1,own.2")];
  await untilCount(node, "own.1", "2 by 1", FOLLOW_MS);
  await ok(node, "/rooms/vip/join", { user: "ann" });
  await ok(node, "/rooms/own.1/leave", { user: "ann" });
  // The first stream has no room left.
  assert.match(
    await streams[0]?.text() ?? "",
    /event: left\ndata: \{"room":"own.1","reason":"removed"\}/,
  );
  await untilCount(node, "own.2", "1 by 1", FOLLOW_MS);
  await untilCount(node, "vip", "0 by 0", FOLLOW_MS);
  assert.equal((await ok(node, "/disconnect", { user: "ann" })).clients, 1);
  await streams[1]?.text();
  await untilCount(node, "own.2", "0 by 0", FOLLOW_MS);
});
