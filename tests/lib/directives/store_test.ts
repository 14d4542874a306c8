/** Tests of the interface `DirectiveStore`, which the stores in memory and on Redis must pass. */
import assert from "node:assert/strict";
import type {
  Directive,
  DirectiveRequest,
} from "../../../lib/directives/directives.ts";
import { RedisDirectiveStore } from "../../../lib/directives/redis_store.ts";
import {
  type DirectiveStore,
  MemoryDirectiveStore,
} from "../../../lib/directives/store.ts";
import { ApiError } from "../../../lib/errors.ts";
import { compareIds, timestampOf } from "../../../lib/log/position.ts";
import { KEYS, TestLogServer } from "../../support/log_server.ts";
import { until } from "../../support/wait.ts";

const MAX = 5;
const KEPT_MS = 60_000;

/** A store on a Redis of its own. */
async function openRedis(
  stack: AsyncDisposableStack,
  { max = MAX, keptMs = KEPT_MS } = {},
): Promise<{ store: DirectiveStore; server: TestLogServer }> {
  const server = stack.use(await TestLogServer.start());
  const store = new RedisDirectiveStore(server.of("node"), keptMs, max);
  return { store, server };
}

const STORES: Readonly<
  Record<
    string,
    (stack: AsyncDisposableStack, keptMs?: number) => Promise<DirectiveStore>
  >
> = {
  MemoryDirectiveStore: (_, keptMs = KEPT_MS) =>
    Promise.resolve(new MemoryDirectiveStore(keptMs, MAX)),
  RedisDirectiveStore: async (stack, keptMs = KEPT_MS) =>
    (await openRedis(stack, { keptMs })).store,
};

function join(name: string, room = "chat"): DirectiveRequest {
  return { kind: "join", target: { by: "user", name }, room };
}

const OTHERS: readonly DirectiveRequest[] = [
  {
    kind: "leave",
    target: { by: "client", name: "c1" },
    room: "a:\u{1f600} b",
  },
  { kind: "disconnect", target: { by: "user", name: "a b" }, room: "" },
];

for (const [name, open] of Object.entries(STORES)) {
  Deno.test(`${name} returns all directives, or those since a version, in their order`, async () => {
    await using stack = new AsyncDisposableStack();
    const store = await open(stack);
    const empty = await store.changes(undefined);
    assert.deepEqual([empty.isWhole, empty.directives], [true, []]);
    const requests = [join("ann"), ...OTHERS];
    const stored: Directive[] = [];
    for (const request of requests) {
      const id = await store.add(request, undefined);
      stored.push({ ...request, id });
      assert.ok(Math.abs(timestampOf(id) - Date.now()) < 5000);
    }
    const all = await store.changes(undefined);
    assert.deepEqual(all.directives, stored);
    assert.ok(Math.abs(all.now - Date.now()) < 5000);
    const ids = stored.map(({ id }) => id);
    assert.deepEqual(ids, ids.toSorted(compareIds));
    const same = await store.changes(all.version);
    assert.deepEqual([same.isWhole, same.directives], [false, []]);
    const id = await store.add(join("bob"), undefined);
    const next = await store.changes(all.version);
    assert.deepEqual([next.isWhole, next.directives], [
      false,
      [{ ...join("bob"), id }],
    ]);
    assert.equal((await store.changes("1-1")).isWhole, true);
  });

  Deno.test(`${name}.add() gives ids that are greater than the floor`, async () => {
    await using stack = new AsyncDisposableStack();
    const store = await open(stack);
    const floor = `${Date.now() + 3000}-7`;
    const first = await store.add(join("ann"), floor);
    const second = await store.add(join("bob"), undefined);
    assert.ok(compareIds(first, floor) > 0);
    assert.ok(compareIds(second, first) > 0);
  });

  Deno.test(`${name}.add() refuses directives if the store is full, until some are too old`, async () => {
    await using stack = new AsyncDisposableStack();
    const store = await open(stack, 1000);
    for (let i = 0; i < MAX; i++) await store.add(join(`u${i}`), undefined);
    const first = await store.changes(undefined);
    await assert.rejects(
      store.add(join("ann"), undefined),
      (error) =>
        error instanceof ApiError && error.code === "overloaded" &&
        /^Cannot join: .+; try again later$/.test(error.message),
    );
    const last = timestampOf(first.directives.at(-1)?.id ?? "");
    await until("all are too old", () => Date.now() > last + 1100);
    for (let i = 0; i < MAX; i++) await store.add(join(`v${i}`), undefined);
    await assert.rejects(store.add(join("ann"), undefined));
    const { directives } = await store.changes(undefined);
    assert.deepEqual(
      directives.map(({ target: { name } }) => name),
      [`u${MAX - 1}`, "v0", "v1", "v2", "v3", "v4"],
    );
  });

  Deno.test(`${name} returns all directives if one after the version was deleted, and only then`, async () => {
    await using stack = new AsyncDisposableStack();
    const store = await open(stack, 300);
    await store.add(join("one"), undefined);
    const { version } = await store.changes(undefined);
    const second = await store.add(join("two"), undefined);
    const old = (): boolean => Date.now() > timestampOf(second) + 320;
    await until("both are too old", old);
    assert.equal((await store.changes(version)).isWhole, false);
    await store.add(join("three"), undefined);
    const all = await store.changes(version);
    assert.equal(all.isWhole, true);
    const next = await store.changes(second);
    assert.deepEqual(
      [next.isWhole, next.directives.map(({ target: { name } }) => name)],
      [false, ["three"]],
    );
  });

  Deno.test(`${name}.restore() stores directives with their ids`, async () => {
    await using stack = new AsyncDisposableStack();
    const store = await open(stack);
    const lost: Directive[] = [
      { ...join("ann"), id: "5-1" },
      { ...join("bob"), id: "5-2" },
    ];
    await store.add(join("eve"), undefined);
    await store.restore(lost);
    const { directives } = await store.changes(undefined);
    assert.deepEqual(directives.slice(-2), lost);
  });
}

Deno.test("RedisDirectiveStore reads thousands of directives in pages", async () => {
  await using stack = new AsyncDisposableStack();
  const { store } = await openRedis(stack, { max: 10_000 });
  const many = Array.from(
    { length: 2500 },
    (_, i) => ({ ...join(`u${i}`), id: `${i + 1}-0` }),
  );
  await store.restore(many);
  const all = await store.changes(undefined);
  assert.deepEqual(all.directives, many);
  await store.add(join("ann"), undefined);
  assert.equal((await store.changes(all.version)).directives.length, 1);
});

Deno.test("RedisDirectiveStore neither reads nor writes on a server that this node has not checked", async () => {
  await using stack = new AsyncDisposableStack();
  const { store, server } = await openRedis(stack);
  server.isMoved = true;
  const isRetryable = (error: unknown): boolean =>
    error instanceof ApiError && error.retryable;
  await assert.rejects(store.add(join("ann"), undefined), isRetryable);
  await assert.rejects(
    store.restore([{ ...join("ann"), id: "1-0" }]),
    isRetryable,
  );
  await assert.rejects(store.changes(undefined), isRetryable);
  server.isMoved = false;
  assert.deepEqual((await store.changes(undefined)).directives, []);
});

Deno.test("RedisDirectiveStore ignores what another program has written into its key", async () => {
  await using stack = new AsyncDisposableStack();
  const { store, server: { redis } } = await openRedis(stack);
  for (
    const text of [
      "x",
      "{}",
      '["join","user","ann"]',
      '["join","user","ann",""]',
      '["disconnect","user","ann","chat"]',
      '["drop","user","ann","chat"]',
      '["join","users","ann","chat"]',
      '["join","user","ann","chat","x"]',
      '["join","user","ann","chat",["1-1"]]',
      '["join","user",1,"chat"]',
    ]
  ) await redis.command("XADD", KEYS.directives, "*", "d", text);
  await redis.command("XADD", KEYS.directives, "*", "x", "y");
  assert.deepEqual((await store.changes(undefined)).directives, []);
});

Deno.test("RedisDirectiveStore lets its key expire one day after its last directive has become too old", async () => {
  await using stack = new AsyncDisposableStack();
  const { store, server: { redis } } = await openRedis(stack);
  await store.add(
    { kind: "join", target: { by: "user", name: "ann" }, room: "a" },
    undefined,
  );
  const leftMs = await redis.command("PTTL", KEYS.directives) as number;
  const lifetimeMs = KEPT_MS + 86_400_000;
  assert.ok(leftMs > lifetimeMs - 5000 && leftMs <= lifetimeMs, `${leftMs}`);
});
