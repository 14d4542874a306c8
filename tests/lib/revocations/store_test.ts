/** Tests of the interface `RevocationStore`, which the stores in memory and on Redis must pass. */
import assert from "node:assert/strict";
import {
  RETENTION_MS,
  type Revocation,
} from "../../../lib/access/revocations.ts";
import { ApiError } from "../../../lib/errors.ts";
import { RedisRevocationStore } from "../../../lib/revocations/redis_store.ts";
import {
  MemoryRevocationStore,
  type RevocationStore,
} from "../../../lib/revocations/store.ts";
import { KEYS, TestLogServer } from "../../support/log_server.ts";
import { until } from "../../support/wait.ts";

const MAX = 5;
const NOW = Date.now();

/** A store on a Redis of its own. */
async function openRedis(
  stack: AsyncDisposableStack,
  max = MAX,
): Promise<{ store: RevocationStore; server: TestLogServer }> {
  const server = stack.use(await TestLogServer.start());
  return { store: new RedisRevocationStore(server.of("node"), max), server };
}

const STORES: Readonly<
  Record<string, (stack: AsyncDisposableStack) => Promise<RevocationStore>>
> = {
  MemoryRevocationStore: () => Promise.resolve(new MemoryRevocationStore(MAX)),
  RedisRevocationStore: async (stack) => (await openRedis(stack)).store,
};

function user(name: string, at = NOW): Revocation {
  return { kind: "user", name, at };
}

function sorted(revocations: readonly Revocation[]): string[] {
  return revocations.map(({ kind, name, at }) => `${kind} ${name} ${at}`)
    .sort();
}

for (const [name, open] of Object.entries(STORES)) {
  Deno.test(`${name} keeps the later of two revocations of a user, and returns what it keeps`, async () => {
    await using stack = new AsyncDisposableStack();
    const store = await open(stack);
    const token: Revocation = { kind: "jti", name: "a:\u{1f600} b", at: NOW };
    const later = user("ann", NOW + 5);
    assert.deepEqual(await store.add(user("ann")), user("ann"));
    assert.deepEqual(await store.add(user("ann", NOW - 5)), user("ann"));
    assert.deepEqual(await store.add(later), later);
    assert.deepEqual(await store.add(token), token);
    const { isWhole, revocations } = await store.changes(undefined);
    assert.equal(isWhole, true);
    assert.deepEqual(sorted(revocations), sorted([token, later]));
  });

  Deno.test(`${name}.changes() has what was added since a version`, async () => {
    await using stack = new AsyncDisposableStack();
    const store = await open(stack);
    const empty = await store.changes(undefined);
    assert.deepEqual([empty.isWhole, empty.revocations], [true, []]);
    await store.add(user("ann"));
    const first = await store.changes(empty.version);
    assert.deepEqual(sorted(first.revocations), sorted([user("ann")]));
    const same = await store.changes(first.version);
    assert.deepEqual(same, { ...first, isWhole: false, revocations: [] });
    await store.add(user("bob"));
    const next = await store.changes(first.version);
    assert.equal(next.isWhole, false);
    assert.deepEqual(sorted(next.revocations), sorted([user("bob")]));
    const other = await store.changes("1-1");
    assert.equal(other.isWhole, true);
    assert.equal(other.revocations.length, 2);
  });

  Deno.test(`${name}.add() refuses a new revocation if the store is full, and restore() does not`, async () => {
    await using stack = new AsyncDisposableStack();
    const store = await open(stack);
    for (let i = 0; i < MAX; i++) await store.add(user(`u${i}`));
    await assert.rejects(
      store.add(user("ann")),
      (error) =>
        error instanceof ApiError && error.code === "too_many_revocations" &&
        error.status === 409 && !error.retryable &&
        /; change the key that signs the tokens/.test(error.message),
    );
    await store.add(user("u1", NOW + 1));
    await store.restore([user("ann"), user("bob")]);
    const { revocations } = await store.changes(undefined);
    assert.equal(revocations.length, MAX + 2);
  });

  Deno.test(`${name}.add() replaces revocations that have ended`, async () => {
    await using stack = new AsyncDisposableStack();
    const store = await open(stack);
    const at = Date.now() - RETENTION_MS + 500;
    for (let i = 0; i < MAX; i++) await store.add(user(`u${i}`, at));
    await until("they have ended", () => Date.now() > at + RETENTION_MS);
    await store.add(user("ann"));
    const { revocations } = await store.changes(undefined);
    assert.deepEqual(sorted(revocations), sorted([user("ann")]));
  });
}

Deno.test("MemoryRevocationStore.changes() has everything for a version that is too old", async () => {
  const store = new MemoryRevocationStore();
  const { version } = await store.changes(undefined);
  const added = Array.from({ length: 1001 }, (_, i) => user(`u${i}`));
  await store.add(added[0] ?? user("ann"));
  const second = await store.changes(version);
  await store.restore(added.slice(1));
  const some = await store.changes(second.version);
  assert.deepEqual([some.isWhole, some.revocations.length], [false, 1000]);
  const all = await store.changes(version);
  assert.deepEqual([all.isWhole, all.revocations.length], [true, 1001]);
});

Deno.test("RedisRevocationStore.changes() reads only what is new, and everything if that is not possible", async () => {
  await using stack = new AsyncDisposableStack();
  const { store } = await openRedis(stack, 20_000);
  const many = Array.from({ length: 12_000 }, (_, i) => user(`u${i}`, NOW - i));
  await store.restore(many);
  const all = await store.changes(undefined);
  assert.deepEqual(sorted(all.revocations), sorted(many));
  await store.add(user("ann"));
  const next = await store.changes(all.version);
  assert.deepEqual(next.revocations, [user("ann")]);
  assert.equal(next.isWhole, false);
  // This is more than the stream keeps.
  await store.restore(many.map(({ name, at }) => user(name, at + 1)));
  assert.equal((await store.changes(all.version)).isWhole, true);
});

Deno.test("RedisRevocationStore.changes() has everything that is left if Redis has lost one of the keys or both", async () => {
  await using stack = new AsyncDisposableStack();
  const { store, server: { redis } } = await openRedis(stack);
  await store.add(user("ann"));
  const { version } = await store.changes(undefined);
  const since = async () => {
    const { isWhole, revocations } = await store.changes(version);
    return [isWhole, revocations];
  };
  await redis.command("DEL", KEYS.revocationChanges);
  assert.deepEqual(await since(), [true, [user("ann")]]);
  await redis.command("DEL", KEYS.revocations);
  assert.deepEqual(await since(), [true, []]);
  await store.add(user("bob"));
  const next = await store.changes(version);
  assert.deepEqual(next.revocations, [user("bob")]);
  await redis.command("DEL", KEYS.revocations);
  const after = await store.changes(next.version);
  assert.deepEqual([after.isWhole, after.revocations], [true, []]);
  await store.restore([user("bob")]);
  const restored = await store.changes(after.version);
  assert.deepEqual(restored.revocations, [user("bob")]);
});

Deno.test("RedisRevocationStore neither reads nor writes on a server that this node has not checked", async () => {
  await using stack = new AsyncDisposableStack();
  const { store, server } = await openRedis(stack);
  server.isMoved = true;
  const isRetryable = (error: unknown): boolean =>
    error instanceof ApiError && error.retryable;
  await assert.rejects(store.add(user("ann")), isRetryable);
  await assert.rejects(store.restore([user("ann")]), isRetryable);
  await assert.rejects(store.changes(undefined), isRetryable);
  server.isMoved = false;
  assert.deepEqual((await store.changes(undefined)).revocations, []);
});

Deno.test("RedisRevocationStore ignores what another program has written into its keys", async () => {
  await using stack = new AsyncDisposableStack();
  const { store, server: { redis } } = await openRedis(stack);
  await store.add(user("ann"));
  const { version } = await store.changes(undefined);
  const { revocations: set, revocationChanges: stream } = KEYS;
  for (const member of ["x", "user:", "key:web", `user:${"x".repeat(300)}`]) {
    await redis.command("ZADD", set, String(NOW), member);
    await redis.command("XADD", stream, "*", member, String(NOW));
  }
  await redis.command("ZADD", set, "+inf", "user:eve");
  await redis.command("XADD", stream, "*", "user:eve", "x");
  assert.deepEqual((await store.changes(version)).revocations, []);
  assert.deepEqual((await store.changes(undefined)).revocations, [user("ann")]);
});
