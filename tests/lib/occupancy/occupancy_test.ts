/** Tests of the interface `Occupancy`, which the ones with and without Redis must pass, and of the one with Redis. */
import assert from "node:assert/strict";
import type { Observation } from "../../../lib/observer.ts";
import { LocalOccupancy } from "../../../lib/occupancy/local_occupancy.ts";
import type {
  LocalRooms,
  NodeState,
  Occupancy,
} from "../../../lib/occupancy/occupancy.ts";
import { RedisOccupancy } from "../../../lib/occupancy/redis_occupancy.ts";
import { threadCpuMs } from "../../support/cpu.ts";
import { KEYS, TestLogServer } from "../../support/log_server.ts";
import type { Redis } from "../../support/redis.ts";
import { until } from "../../support/wait.ts";

/** The clients of a node, each with its user and its rooms. Tests change them. */
class World implements LocalRooms {
  readonly clients = new Map<
    string,
    { user: string | undefined; rooms: Set<string> }
  >();
  changed: (room: string, user: string | undefined) => void = () => {};

  join(client: string, user: string | undefined, ...rooms: string[]): void {
    const found = this.clients.get(client) ?? { user, rooms: new Set() };
    this.clients.set(client, found);
    for (const room of rooms) {
      found.rooms.add(room);
      this.changed(room, user);
    }
  }

  leave(client: string, room: string): void {
    const found = this.clients.get(client);
    found?.rooms.delete(room);
    this.changed(room, found?.user);
  }

  clientsIn(room: string): number {
    return [...this.clients.values()].filter(({ rooms }) => rooms.has(room))
      .length;
  }

  isIn(user: string, room: string): boolean {
    return [...this.clients.values()].some((client) =>
      client.user === user && client.rooms.has(room)
    );
  }

  roomNames(): Set<string> {
    return new Set(
      [...this.clients.values()].flatMap(({ rooms }) => [...rooms]),
    );
  }

  *memberships(): Generator<readonly [string | undefined, Iterable<string>]> {
    for (const { user, rooms } of this.clients.values()) yield [user, rooms];
  }

  state(id: string): () => NodeState {
    return () => ({
      id,
      started: 1000,
      clients: this.clients.size,
      rooms: this.roomNames().size,
      memoryBytes: 5,
      draining: false,
    });
  }
}

/** A Redis with a connection, on which nodes can be started. */
class Setup implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly observed: Observation[] = [];

  private constructor(readonly server: TestLogServer) {
    this.#stack.use(server);
  }

  static async start(): Promise<Setup> {
    return new Setup(await TestLogServer.start());
  }

  get redis(): Redis {
    return this.server.redis;
  }

  /** Starts a node. While `isDown` returns true, it cannot reach Redis. */
  node(id: string, isDown = () => false): [World, RedisOccupancy] {
    const world = new World();
    const occupancy = new RedisOccupancy({
      server: this.server.of(id, {
        command: async (command) => {
          if (isDown()) throw new Error("down");
          return await command(this.server.client);
        },
      }),
      local: world,
      state: world.state(id),
      observe: (observation) => void this.observed.push(observation),
    });
    world.changed = (room, user) => occupancy.changed(room, user);
    this.#stack.defer(() => occupancy.close());
    return [world, occupancy];
  }

  /** Makes all nodes look as if they had sent their last heartbeats `ms` ago, except for the node `except`. */
  async age(ms: number, except?: string): Promise<void> {
    const [seconds, micros] = await this.redis.command("TIME") as string[];
    const at = Number(seconds) * 1000 + Number(micros) / 1000 - ms;
    const states = await this.redis.command(
      "HGETALL",
      KEYS.occupancyStates,
    ) as string[];
    for (let i = 0; i < states.length; i += 2) {
      if (JSON.parse(states[i + 1] ?? "").id === except) continue;
      await this.redis.command(
        "ZADD",
        KEYS.occupancy,
        String(Math.round(at)),
        states[i] ?? "",
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

const KINDS: Readonly<
  Record<string, (stack: AsyncDisposableStack) => Promise<[World, Occupancy]>>
> = {
  LocalOccupancy: () => {
    const world = new World();
    const local = new LocalOccupancy({ local: world, state: world.state("a") });
    return Promise.resolve([world, local]);
  },
  RedisOccupancy: async (stack) => stack.use(await Setup.start()).node("a"),
};

async function counts(
  occupancy: Occupancy,
  ...rooms: string[]
): Promise<string[]> {
  const counted = await occupancy.count(rooms);
  return counted.map(({ room, clients, users }) =>
    `${room}: ${clients} by ${users}`
  );
}

/** Waits until the rooms have these numbers of clients and users. */
async function untilCounts(
  occupancy: Occupancy,
  expected: readonly string[],
  timeoutMs = 5000,
): Promise<void> {
  const rooms = expected.map((text) => text.split(": ")[0] ?? "");
  let last: string[] = [];
  try {
    await until("the counts are right", async () => {
      last = await counts(occupancy, ...rooms);
      return last.join() === expected.join();
    }, timeoutMs);
  } catch {
    assert.deepEqual(last, expected);
  }
}

for (const [name, open] of Object.entries(KINDS)) {
  Deno.test(`${name} counts clients, and different users among them`, async () => {
    await using stack = new AsyncDisposableStack();
    const [world, occupancy] = await open(stack);
    world.join("1", "ann", "x", "y");
    world.join("2", "ann", "x");
    world.join("3", "bob", "x");
    world.join("4", undefined, "x");
    await untilCounts(occupancy, ["x: 4 by 2", "y: 1 by 1", "z: 0 by 0"]);
    world.leave("1", "x");
    world.leave("3", "x");
    world.leave("1", "y");
    await untilCounts(occupancy, ["x: 2 by 1", "y: 0 by 0"]);
    assert.deepEqual(
      await occupancy.names({ prefix: "", after: undefined, limit: 10 }),
      ["x"],
    );
  });

  Deno.test(`${name}.names() pages through the names in the order of their bytes`, async () => {
    await using stack = new AsyncDisposableStack();
    const [world, occupancy] = await open(stack);
    const sorted = ["a", "n", "n.", "n.1", "n.2", "n\u{ff5e}", "n\u{1f600}"];
    world.join("1", undefined, ...sorted.toReversed(), "z[", "(z");
    await untilCounts(occupancy, ["z[: 1 by 0"]);
    const names = (prefix: string, after?: string, limit = 10) =>
      occupancy.names({ prefix, after, limit });
    assert.deepEqual(await names(""), ["(z", ...sorted, "z["]);
    assert.deepEqual(await names("", undefined, 2), ["(z", "a"]);
    assert.deepEqual(await names("", "a", 2), ["n", "n."]);
    assert.deepEqual(await names("n."), ["n.", "n.1", "n.2"]);
    assert.deepEqual(await names("n.", "n.1"), ["n.2"]);
    assert.deepEqual(await names("n.", "n.2"), []);
    assert.deepEqual(await names("q"), []);
  });

  Deno.test(`${name}.nodes() has the state of the node`, async () => {
    await using stack = new AsyncDisposableStack();
    const [world, occupancy] = await open(stack);
    world.join("1", "ann", "x", "y");
    await untilCounts(occupancy, ["y: 1 by 1"]);
    const [{ ageMs = -1, ...state } = {}, ...others] = await occupancy.nodes();
    assert.deepEqual([state, others], [world.state("a")(), []]);
    assert.ok(ageMs >= 0 && ageMs < 3000, `${ageMs}`);
  });
}

Deno.test("LocalOccupancy.names() finds a page among 100,000 rooms in 100 ms of CPU time", async () => {
  const all = Array.from(
    { length: 100_000 },
    (_, i) => `room.${(i * 7919) % 100_000}.é`,
  );
  const world = new World();
  world.roomNames = () => new Set(all);
  const local = { local: world, state: world.state("a") };
  const occupancy = new LocalOccupancy(local);
  const sorted = all.toSorted();
  const range = { prefix: "room.", after: sorted[500], limit: 1001 };
  let leastMs = Infinity;
  for (let i = 0; i < 3; i++) {
    const start = threadCpuMs();
    const names = await occupancy.names(range);
    leastMs = Math.min(leastMs, threadCpuMs() - start);
    assert.deepEqual(names, sorted.slice(501, 1502));
  }
  assert.ok(leastMs < 100, `${leastMs} ms`);
});

Deno.test("RedisOccupancy.close() does not wait for the next heartbeat if one is in flight", async () => {
  await using setup = await Setup.start();
  await setup.redis.command("CLIENT", "PAUSE", "300", "ALL");
  const [, occupancy] = setup.node("a");
  const start = performance.now();
  await occupancy.close();
  const tookMs = performance.now() - start;
  assert.ok(tookMs < 1500, `${tookMs} ms`);
  assert.deepEqual(await occupancy.nodes(), []);
});

Deno.test("RedisOccupancy counts the clients of all nodes, and a user on two nodes once", async () => {
  await using setup = await Setup.start();
  const [a, one] = setup.node("a");
  const [b, two] = setup.node("b");
  a.join("1", "ann", "x");
  b.join("2", "ann", "x");
  b.join("3", "bob", "x", "y");
  for (const occupancy of [one, two]) {
    await untilCounts(occupancy, ["x: 3 by 2", "y: 1 by 1"]);
  }
  b.leave("2", "x");
  await untilCounts(one, ["x: 2 by 2"]);
  a.leave("1", "x");
  await untilCounts(one, ["x: 1 by 1", "y: 1 by 1"]);
  assert.deepEqual((await one.nodes()).map(({ id }) => id), ["a", "b"]);
  await two.close();
  await untilCounts(one, ["x: 0 by 0", "y: 0 by 0"]);
  assert.deepEqual((await one.nodes()).map(({ id }) => id), ["a"]);
  assert.deepEqual(setup.observed, []);
});

Deno.test("RedisOccupancy does not count a node that has sent no heartbeat for 8 s, and deletes all that it has written", async () => {
  await using setup = await Setup.start();
  const [, one] = setup.node("a");
  let isDead = false;
  const [b, two] = setup.node("b", () => isDead);
  for (let i = 0; i < 3000; i++) b.join(`${i}`, `u${i}`, "x", `r${i % 250}`);
  await untilCounts(two, ["x: 3000 by 3000", "r7: 12 by 12"]);
  isDead = true;
  await setup.age(5000, "a");
  await untilCounts(one, ["x: 3000 by 3000"]);
  await setup.age(8500, "a");
  assert.deepEqual(await counts(one, "x", "r7"), ["x: 0 by 0", "r7: 0 by 0"]);
  const keys = await setup.redis.command("KEYS", "*") as string[];
  assert.deepEqual(keys.filter((key) => /:(clients|users):/.test(key)), []);
  await until("all is deleted", async () => {
    const left = await setup.redis.command("KEYS", "*") as string[];
    return left.length <= 3;
  });
});

Deno.test("RedisOccupancy does not count a dead node for longer after the clock of Redis was set back", async () => {
  await using setup = await Setup.start();
  const [, one] = setup.node("a");
  let isDead = false;
  const [b] = setup.node("b", () => isDead);
  b.join("1", "ann", "x");
  await untilCounts(one, ["x: 1 by 1"]);
  isDead = true;
  await setup.age(-3_600_000);
  await untilCounts(one, ["x: 1 by 1"]);
  await setup.age(8500, "a");
  await untilCounts(one, ["x: 0 by 0"], 1000);
});

Deno.test("RedisOccupancy deletes the keys of a room that all clients have left, and all its keys expire", async () => {
  await using setup = await Setup.start();
  const [a] = setup.node("a");
  const keys = async () =>
    (await setup.redis.command("KEYS", "*") as string[]).toSorted();
  const room = [KEYS.occupancyClients("x"), KEYS.occupancyUsers("x")];
  a.join("1", "ann", "x");
  await until(
    "the room is written",
    async () => {
      const written = await keys();
      return room.every((key) => written.includes(key));
    },
  );
  for (const key of await keys()) {
    assert.ok(await setup.redis.command("TTL", key) as number > 0, key);
  }
  a.leave("1", "x");
  // Nobody asks for the room meanwhile.
  await until("the room is deleted", async () => {
    const left = await keys();
    return ![...room, KEYS.occupancyRooms].some((key) => left.includes(key));
  });
});

Deno.test("RedisOccupancy writes everything again within some minutes, also entries that another program has deleted", async () => {
  await using setup = await Setup.start();
  const [a, one] = setup.node("a");
  a.join("1", "ann", "x");
  await untilCounts(one, ["x: 1 by 1"]);
  await setup.redis.command(
    "DEL",
    KEYS.occupancyClients("x"),
    KEYS.occupancyUsers("x"),
  );
  assert.deepEqual(await counts(one, "x"), ["x: 0 by 0"]);
  // Each heartbeat, which is sent every 2 s, has at least one client.
  await untilCounts(one, ["x: 1 by 1"], 6000);
});

Deno.test("RedisOccupancy reports everything again after it was taken for dead, and after Redis has lost everything", async () => {
  await using setup = await Setup.start();
  const [a, one] = setup.node("a");
  const [b, two] = setup.node("b");
  a.join("1", "ann", "x");
  b.join("2", "bob", "x");
  await untilCounts(one, ["x: 2 by 2"]);
  await setup.age(9000, "a");
  await untilCounts(one, ["x: 1 by 1"]);
  await untilCounts(one, ["x: 2 by 2"]);
  const restored = () =>
    setup.observed.filter(({ kind }) => kind === "occupancy_restored").length;
  assert.equal(restored(), 1);
  await setup.redis.command("FLUSHALL");
  await untilCounts(two, ["x: 2 by 2"]);
  assert.equal(restored(), 3);
  // Both still write what changes.
  a.leave("1", "x");
  await untilCounts(two, ["x: 1 by 1"]);
});

Deno.test("RedisOccupancy counts all nodes as alive after none of them could reach Redis", async () => {
  await using setup = await Setup.start();
  let isDown = false;
  const [a, one] = setup.node("a", () => isDown);
  const [b] = setup.node("b", () => isDown);
  a.join("1", "ann", "x");
  b.join("2", "bob", "x");
  await untilCounts(one, ["x: 2 by 2"]);
  isDown = true;
  await setup.age(20_000);
  isDown = false;
  assert.deepEqual(await counts(one, "x"), ["x: 2 by 2"]);
  await until(
    "both have sent a heartbeat",
    async () => (await one.nodes()).every(({ ageMs }) => ageMs < 3000),
  );
  assert.deepEqual(await counts(one, "x"), ["x: 2 by 2"]);
  assert.deepEqual(
    setup.observed.filter(({ kind }) => kind === "occupancy_restored"),
    [],
  );
});

Deno.test("RedisOccupancy writes many changes with few commands, and writes them again after a failure", async () => {
  await using setup = await Setup.start();
  let isDown = false;
  const [a, one] = setup.node("a", () => isDown);
  await until("it has begun", async () => (await one.nodes()).length === 1);
  const before = await setup.redis.calls("evalsha");
  isDown = true;
  for (let i = 0; i < 5000; i++) a.join(`${i}`, undefined, "x", "y");
  await until("a write has failed", () => setup.observed.length > 0);
  isDown = false;
  const clientsOf = KEYS.occupancyClients("y");
  await until("they are written", async () => {
    const numbers = await setup.redis.command("HVALS", clientsOf) as string[];
    return numbers.join() === "5000";
  });
  const calls = await setup.redis.calls("evalsha") - before;
  assert.ok(calls < 10, `${calls} scripts`);
  await untilCounts(one, ["x: 5000 by 0", "y: 5000 by 0"]);
});

Deno.test("RedisOccupancy keeps at most 200,000 changes while Redis is down, and then writes everything again", async () => {
  await using setup = await Setup.start();
  let isDown = false;
  const [a, one] = setup.node("a", () => isDown);
  a.join("1", "ann", "x", "y");
  await untilCounts(one, ["x: 1 by 1", "y: 1 by 1"]);
  isDown = true;
  a.join("2", "bob", "x");
  await until("a write has failed", () => setup.observed.length > 0);
  for (let i = 0; i < 200_001; i++) one.changed(`left.${i}`, undefined);
  a.leave("1", "y");
  isDown = false;
  await untilCounts(one, ["x: 2 by 2", "y: 0 by 0"]);
  assert.deepEqual(setup.observed.filter(({ kind }) => kind !== "error"), [
    { kind: "occupancy_restored", rooms: 1 },
  ]);
});
