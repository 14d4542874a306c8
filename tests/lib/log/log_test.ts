/** Tests of the interface `Log`, which both the embedded log and the log on Redis must pass. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type {
  Entry,
  History,
  Log,
  LogReader,
  Page,
  PublishResult,
} from "../../../lib/log/log.ts";
import { fingerprint } from "../../../lib/log/idempotency.ts";
import { MemoryLog } from "../../../lib/log/memory_log.ts";
import { RedisLog } from "../../../lib/redis_log/redis_log.ts";
import type { PublishRequest } from "../../../lib/log/message.ts";
import {
  compareIds,
  formatPosition,
  ID_ZERO,
  parsePosition,
} from "../../../lib/log/position.ts";
import { AWKWARD_EVENTS } from "../../support/event_names.ts";
import { Redis } from "../../support/redis.ts";
import { Inbox, soon, until } from "../../support/wait.ts";

interface Limits {
  readonly historySize: number;
  readonly historySeconds: number;
  readonly idempotencySeconds: number;
}

type LogAndHistory = Log & { readonly history: History };

/** A log, and everything that the log has passed to its reader. */
interface Opened extends AsyncDisposable {
  readonly log: LogAndHistory;
  readonly entries: Inbox<Entry>;
  readonly gaps: Inbox<string>;
}

const LIMITS: Limits = {
  historySize: 100,
  historySeconds: 3600,
  idempotencySeconds: 600,
};

function inboxes(): Pick<Opened, "entries" | "gaps"> & {
  reader: LogReader;
} {
  const entries = new Inbox<Entry>(), gaps = new Inbox<string>();
  return {
    entries,
    gaps,
    reader: {
      started: () => {},
      entries: (list) => list.forEach((entry) => entries.push(entry)),
      gap: (reason) => gaps.push(reason),
      lineageChanged: () => {},
      ingressGap: () => gaps.push("ingress"),
    },
  };
}

function openMemory(limits: Limits): Promise<Opened> {
  const { reader, ...rest } = inboxes();
  const log = new MemoryLog({ ...limits, reader });
  return Promise.resolve({
    log,
    ...rest,
    [Symbol.asyncDispose]: () => log.close(),
  });
}

async function openRedis(limits: Limits): Promise<Opened> {
  const redis = await Redis.start();
  const { reader, ...rest } = inboxes();
  const log = new RedisLog({
    ...limits,
    url: redis.url,
    keyPrefix: "test",
    ackReplicas: 0,
    recoverySeconds: 120,
    reader,
    observe: () => {},
  });
  const dispose = async (): Promise<void> => {
    await log.close();
    await redis[Symbol.asyncDispose]();
  };
  try {
    await soon(log.commands.connected, "the log is connected");
    await until(
      "the log can be reached",
      () => log.probe().then(() => true, () => false),
    );
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    log,
    ...rest,
    [Symbol.asyncDispose]: dispose,
  };
}

/** Appends publishes, all of which must succeed, and returns their results. */
async function append(
  log: Log,
  publish: PublishRequest,
): Promise<{ room: string; id: string; duplicate: boolean }[]> {
  const [outcomes = []] = await soon(
    log.append([publish]),
    "a publish is answered",
  );
  return outcomes.map(succeeded);
}

function succeeded(
  outcome: PublishResult,
): { room: string; id: string; duplicate: boolean } {
  if ("error" in outcome) throw outcome.error;
  return outcome;
}

/** Appends one message to one room. Returns the message's id. */
async function publish(log: Log, room: string, json: string): Promise<string> {
  const [outcome] = await append(log, { rooms: [room], json });
  return outcome?.id ?? "";
}

/** Appends the numbers from 1 to `count` to a room, all at once. Returns the ids of these messages. */
async function publishMany(
  log: Log,
  room: string,
  count: number,
): Promise<string[]> {
  const numbers = Array.from({ length: count }, (_, i) => String(i + 1));
  return await Promise.all(numbers.map((json) => publish(log, room, json)));
}

/** Reads a page of a room's history; by default, all messages from the room's beginning. */
async function history(
  log: LogAndHistory,
  room: string,
  { since, order = "asc", limit = 1000 }: {
    since?: string | undefined;
    order?: "asc" | "desc";
    limit?: number;
  } = {},
): Promise<Page> {
  return await soon(
    log.history.read(room, {
      since: since === undefined ? undefined : parsePosition(since),
      order,
      limit,
    }),
    "history is read",
  );
}

function jsons(page: Page): string[] {
  return page.messages.map(({ json }) => json);
}

/** Returns the integers from `first` to `last`, rising or falling, as JSON. */
function range(first: number, last: number): string[] {
  const step = first <= last ? 1 : -1;
  return Array.from(
    { length: Math.abs(last - first) + 1 },
    (_, i) => String(first + step * i),
  );
}

function assertRising(ids: readonly string[]): void {
  ids.forEach((id, i) => {
    assert.match(id, /^\d{1,15}-\d{1,15}$/);
    assert.ok(compareIds(id, ids[i - 1] ?? ID_ZERO) > 0, `${ids[i - 1]} ${id}`);
  });
}

/**
 * Reads a room's history in both orders from the id of every message in `all`, and checks that the pages have exactly
 * the messages that are kept.
 */
async function readsAs(
  log: LogAndHistory,
  room: string,
  all: readonly { id: string; json: string }[],
  limit: number,
  size: number,
): Promise<void> {
  const kept = all.slice(-size);
  for (
    const [index, since] of [undefined, ...all.map(({ id }) => id)].entries()
  ) {
    const newer = kept.slice(Math.max(0, index - (all.length - kept.length)));
    const up = await history(log, room, { since, limit });
    assert.deepEqual(
      up.messages.map(({ id, json }) => ({ id, json })),
      newer.slice(0, limit),
    );
    assert.equal(up.more, newer.length > limit);
    // The page must be complete exactly if no message after `since` was trimmed.
    assert.equal(up.complete, index >= all.length - kept.length);
    if (since !== undefined) {
      const { completeSince = "" } = up;
      assert.equal(up.complete, compareIds(completeSince, since) <= 0);
    }
    const older = since === undefined
      ? kept
      : kept.slice(0, Math.max(0, index - 1 - (all.length - kept.length)));
    const down = await history(log, room, { since, limit, order: "desc" });
    assert.deepEqual(
      down.messages.map(({ id, json }) => ({ id, json })),
      older.toReversed().slice(0, limit),
    );
    assert.equal(down.more, older.length > limit);
  }
}

const STRANGE_ROOMS = [
  "__proto__",
  "constructor",
  "a b",
  "{x}",
  "{test}:log",
  "news.*",
  "👍",
  "\u202eright",
  "é".repeat(127),
];

function logSuite(
  name: string,
  open: (limits: Limits) => Promise<Opened>,
): void {
  function test(
    what: string,
    run: (opened: Opened) => Promise<void>,
    limits: Partial<Limits> = {},
  ): void {
    Deno.test(`${name}.${what}`, async () => {
      await using opened = await open({ ...LIMITS, ...limits });
      await run(opened);
    });
  }

  test(
    "history.read() returns the newest messages of a room for random batches, page sizes, orders and starts",
    async ({ log, entries }) => {
      let round = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.array(
              fc.record({
                room: fc.nat({ max: 2 }),
                key: fc.option(fc.nat({ max: 5 }), { nil: undefined, freq: 6 }),
              }),
              { minLength: 1, maxLength: 12 },
            ),
            { minLength: 1, maxLength: 6 },
          ),
          fc.integer({ min: 1, max: 9 }),
          async (batches, limit) => {
            const here = ++round, start = entries.items.length;
            const rooms = new Map<string, { id: string; json: string }[]>();
            let value = 0, count = 0;
            for (const batch of batches) {
              const publishes = batch.map(({ room, key }) => ({
                rooms: [`${here} ${room}`],
                json: key === undefined ? String(value++) : `"${key}"`,
                ...(key !== undefined && { key: `${here} ${room} ${key}` }),
              }));
              for (
                const [i, outcomes] of (await log.append(publishes)).entries()
              ) {
                const { room, id, duplicate } = succeeded(
                  outcomes[0] as PublishResult,
                );
                if (duplicate) continue;
                count++;
                const json = publishes[i]?.json ?? "";
                rooms.set(room, [...rooms.get(room) ?? [], { id, json }]);
              }
            }
            const got = (await entries.have(start + count)).slice(start);
            assertRising(got.map(({ id }) => id));
            for (const [room, all] of rooms) {
              await readsAs(log, room, all, limit, 7);
              assert.deepEqual(
                got.filter((entry) => entry.room === room).map(({ id }) => id),
                all.map(({ id }) => id),
              );
            }
          },
        ),
        { numRuns: 25 },
      );
    },
    { historySize: 7 },
  );

  test("append() returns rising ids, and the log's reader receives the messages in the same order", async ({ log, entries, gaps }) => {
    const ids = await publishMany(log, "a", 300);
    assertRising(ids);
    for (const room of ["b", "a", "b"]) {
      ids.push(await publish(log, room, JSON.stringify(`in ${room}`)));
    }
    const got = await entries.have(303);
    assert.deepEqual(got.map(({ id }) => id), ids);
    assert.deepEqual(got.map(({ json }) => json), [
      ...range(1, 300),
      '"in b"',
      '"in a"',
      '"in b"',
    ]);
    assert.deepEqual(got.slice(-3).map(({ room }) => room), ["b", "a", "b"]);
    assertRising(ids);
    assert.deepEqual(gaps.items, []);
  });

  test("append() appends a publish to many rooms and returns one result for each room, in order", async ({ log, entries }) => {
    const rooms = Array.from({ length: 100 }, (_, i) => `room ${99 - i}`);
    const outcomes = await append(log, { rooms, json: '"to all"' });
    assert.deepEqual(outcomes.map(({ room }) => room), rooms);
    assertRising(outcomes.map(({ id }) => id));
    const got = await entries.have(100);
    assert.deepEqual(
      got,
      outcomes.map(({ id, room }) => ({ id, room, json: '"to all"' })),
    );
    const page = await history(log, "room 50");
    assert.deepEqual(
      page.messages,
      got.filter(({ room }) => room === "room 50"),
    );
  });

  test("append() keeps JSON of every kind unchanged, in rooms of every kind of name", async ({ log, entries }) => {
    const values = [
      "null",
      '""',
      "0",
      '{"__proto__":{"a":1}}',
      '"\\u0000 \\ud800 \\n"',
      '"é👍\u2028"',
      JSON.stringify("x".repeat(60_000)),
    ];
    for (const room of STRANGE_ROOMS) {
      const ids: string[] = [];
      for (const json of values) ids.push(await publish(log, room, json));
      const expected = values.map((json, i) => ({ id: ids[i], room, json }));
      const { messages, complete } = await history(log, room);
      assert.deepEqual(messages, expected);
      assert.equal(complete, true);
      await entries.where(() => entries.items.at(-1)?.id === ids.at(-1));
      assert.deepEqual(entries.items.slice(-values.length), expected);
    }
    await log.history.clear("__proto__");
    assert.deepEqual(jsons(await history(log, "__proto__")), []);
    assert.equal(
      jsons(await history(log, "constructor")).length,
      values.length,
    );
  });

  test("append() appends a publish only once if it is repeated with the same key, and returns the same ids", async ({ log, entries }) => {
    const rooms = ["a", "b"];
    for (const key of ["k", "__proto__", "constructor", "é".repeat(128)]) {
      const json = JSON.stringify(key);
      const first = await append(log, { rooms, json, key });
      assert.deepEqual(first.map(({ duplicate }) => duplicate), [false, false]);
      const again = await Promise.all(
        [1, 2, 3].map(() => append(log, { rooms, json, key })),
      );
      for (const outcomes of again) {
        assert.deepEqual(
          outcomes,
          first.map((outcome) => ({ ...outcome, duplicate: true })),
        );
      }
    }
    await publish(log, "a", '"end"');
    await entries.where(() => entries.items.at(-1)?.json === '"end"');
    assert.equal(entries.items.length, 4 * rooms.length + 1);
  });

  test("append() appends only one message if several publishes with the same key arrive at the same time", async ({ log, entries }) => {
    const outcomes = (await Promise.all(
      range(1, 50).map(() =>
        append(log, { rooms: ["a"], json: "1", key: "k" })
      ),
    )).flat();
    assert.equal(new Set(outcomes.map(({ id }) => id)).size, 1);
    assert.equal(outcomes.filter(({ duplicate }) => !duplicate).length, 1);
    await publish(log, "a", "2");
    await entries.where(() => entries.items.at(-1)?.json === "2");
    assert.deepEqual(entries.items.map(({ json }) => json), ["1", "2"]);
  });

  test("append() passes the names of events on to the reader and to histories", async ({ log, entries }) => {
    const names = [undefined, ...AWKWARD_EVENTS, undefined];
    const publishes = names.map((event, i) => ({
      rooms: ["a", "b"],
      json: `${i}`,
      key: i % 2 === 0 ? undefined : `key ${i}`,
      meta: event === undefined ? undefined : { event },
    }));
    for (const duplicate of [false, true]) {
      const outcomes = (await soon(log.append(publishes), "it is answered"))
        .flat();
      assert.deepEqual(
        outcomes.map((outcome) => "id" in outcome && outcome.duplicate),
        publishes.flatMap(({ key }) => Array(2).fill(duplicate && !!key)),
      );
    }
    await entries.where(() => entries.items.length > names.length * 3 - 2);
    const read = entries.items.slice(0, names.length * 2);
    assert.deepEqual(
      read.map(({ json, meta }) => [json, meta?.event]),
      names.flatMap((event, i) => Array(2).fill([`${i}`, event])),
    );
    // A message without meta has no such member.
    assert.ok(!("meta" in (read[0] as Entry)));
    for (const order of ["asc", "desc"] as const) {
      const { messages } = await log.history.read("b", {
        since: undefined,
        order,
        limit: 100,
      });
      assert.deepEqual(
        messages,
        (order === "asc" ? entries.items : entries.items.toReversed())
          .filter(({ room }) => room === "b"),
      );
    }
  });

  test("append() compares the fingerprint of a publish that has one, and not its message", async ({ log }) => {
    const original = {
      rooms: ["a"],
      json: "1",
      key: "\u0000ann\u0000k",
      meta: { from: "ann" },
    };
    const print = fingerprint(original);
    const replaced = { ...original, json: "2", fingerprint: print };
    const first = await append(log, replaced);
    const again = first.map((outcome) => ({ ...outcome, duplicate: true }));
    assert.deepEqual(await append(log, { ...replaced, json: "3" }), again);
    assert.deepEqual(await append(log, original), again);
    const [[other] = []] = await log.append([{ ...original, json: "2" }]);
    assert.ok(other && "error" in other && other.error.code === "key_reused");
    assert.deepEqual(jsons(await history(log, "a")), ["2"]);
  });

  test("append() rejects a key that was used before with another message, another event or other rooms", async ({ log }) => {
    const original = { rooms: ["a", "b"], json: "1", key: "k" };
    const first = await append(log, original);
    for (
      const other of [
        { ...original, json: "2" },
        { ...original, rooms: ["a"] },
        { ...original, rooms: ["b", "a"] },
        { ...original, rooms: ["a", "b", "c"] },
        { ...original, meta: { event: "moved" } },
      ]
    ) {
      const [outcomes = []] = await soon(
        log.append([other]),
        "the answer comes",
      );
      assert.deepEqual(outcomes.map(({ room }) => room), other.rooms);
      for (const outcome of outcomes) {
        assert.ok("error" in outcome);
        assert.equal(outcome.error.code, "key_reused");
        assert.equal(outcome.error.status, 422);
      }
    }
    assert.deepEqual(
      await append(log, original),
      first.map((outcome) => ({ ...outcome, duplicate: true })),
    );
    for (const room of ["a", "b", "c"]) {
      assert.deepEqual(
        jsons(await history(log, room)),
        room === "c" ? [] : ["1"],
      );
    }
  });

  test(
    "append() forgets a key IDEMPOTENCY_SECONDS after its first publish, even if the publish was repeated meanwhile",
    async ({ log }) => {
      const start = performance.now();
      const publish = { rooms: ["a"], json: "1", key: "k" };
      const [first] = await append(log, publish);
      let last = first;
      await until("the key is forgotten", async () => {
        [last] = await append(log, publish);
        return last?.duplicate === false;
      });
      assert.ok(performance.now() - start >= 900, "remembered for a second");
      assertRising([first?.id ?? "", last?.id ?? ""]);
      assert.equal((await history(log, "a")).messages.length, 2);
      const [other] = await append(log, {
        ...publish,
        json: "2",
        key: "other",
      });
      assert.equal(other?.duplicate, false);
    },
    { idempotencySeconds: 1 },
  );

  test("history.read() returns the newest messages of a room in both orders, in pages without overlap", async ({ log }) => {
    const ids = await publishMany(log, "a", 250);
    await publishMany(log, "quiet", 3);
    const whole = await history(log, "a");
    assert.deepEqual(jsons(whole), range(151, 250));
    assert.deepEqual(whole.messages.map(({ id }) => id), ids.slice(150));
    assert.equal(whole.complete, false, "150 messages are gone");
    const back = await history(log, "a", { order: "desc" });
    assert.deepEqual(jsons(back), range(250, 151));
    assert.equal(back.complete, false);
    for (const limit of [1, 7, 50, 99, 100, 101]) {
      const up: string[] = [], down: string[] = [];
      let position: string | undefined;
      for (let first = true;; first = false) {
        const page = await history(log, "a", { since: position, limit });
        // The trimmed messages are missing only from the first page, because later pages continue from its position.
        assert.equal(page.complete, !first, `limit ${limit}, from ${position}`);
        assert.ok(page.messages.length <= limit);
        if (page.messages.length === 0) break;
        up.push(...jsons(page));
        position = page.position;
      }
      assert.deepEqual(up, range(151, 250), `limit ${limit}`);
      let since: string | undefined;
      while (true) {
        const page = await history(log, "a", { since, limit, order: "desc" });
        if (page.messages.length === 0) break;
        down.push(...jsons(page));
        since = page.messages.at(-1)?.id;
        assert.equal(page.complete, down.length < 100, `limit ${limit}`);
      }
      assert.deepEqual(down, range(250, 151), `limit ${limit}`);
    }
    const quiet = await history(log, "quiet");
    assert.deepEqual(jsons(quiet), range(1, 3));
    assert.equal(
      quiet.complete,
      true,
      "a busy room takes nothing from a quiet one",
    );
  });

  test("history.read() returns `complete: true` only if no message since the page's start is missing", async ({ log }) => {
    const ids = await publishMany(log, "a", 250);
    const epoch = (await history(log, "a")).position.split(".")[0] ?? "";
    // The newest trimmed message is number 150, and no later message is missing.
    for (
      const [number, complete] of [
        [1, false],
        [100, false],
        [149, false],
        [150, true],
        [151, true],
        [249, true],
        [250, true],
      ] as const
    ) {
      const id = ids[number - 1] ?? "";
      for (const since of [id, formatPosition(epoch, id)]) {
        const page = await history(log, "a", { since });
        assert.equal(page.complete, complete, `since ${number}`);
        assert.deepEqual(
          jsons(page),
          number === 250 ? [] : range(Math.max(151, number + 1), 250),
        );
        const back = await history(log, "a", { since, order: "desc" });
        assert.deepEqual(
          jsons(back),
          number < 152 ? [] : range(number - 1, 151),
        );
      }
    }
  });

  test("history.read() returns `complete: true` for a room with exactly HISTORY_SIZE messages", async ({ log }) => {
    await publishMany(log, "a", 100);
    for (const order of ["asc", "desc"] as const) {
      const page = await history(log, "a", { order });
      assert.equal(page.messages.length, 100);
      assert.equal(page.complete, true);
    }
    await publish(log, "a", "101");
    for (const order of ["asc", "desc"] as const) {
      const page = await history(log, "a", { order });
      assert.equal(page.messages.length, 100);
      assert.equal(page.complete, false);
    }
  });

  test("history.read() returns positions from which the next page continues without a gap or a repetition", async ({ log }) => {
    const empty = await history(log, "a");
    assert.deepEqual(empty.messages, []);
    const got: string[] = [];
    let position = empty.position;
    for (let round = 0; round < 5; round++) {
      for (let i = 1; i <= 10; i++) {
        await publish(log, "a", String(round * 10 + i));
        await publish(log, "b", "0");
      }
      for (let pages = 0; pages < 4; pages++) {
        const page = await history(log, "a", { since: position, limit: 3 });
        assert.equal(page.complete, true);
        got.push(...jsons(page));
        position = page.position;
      }
    }
    assert.deepEqual(got, range(1, 50));
    const { position: newest } = await history(log, "a", { order: "desc" });
    assert.deepEqual(jsons(await history(log, "a", { since: newest })), []);
  });

  test("history.read() with the limit 0 returns the position of the log's end, and whether a page with all messages is complete", async ({ log }) => {
    const check = async (complete: boolean, since?: string): Promise<void> => {
      for (const order of ["asc", "desc"] as const) {
        const page = await history(log, "a", { since, order, limit: 0 });
        const whole = await history(log, "a", { since, order });
        assert.deepEqual(page, { ...whole, messages: [] });
        if (order === "asc") assert.equal(page.complete, complete);
      }
    };
    await check(true);
    const [first] = await publishMany(log, "a", 50);
    await check(true);
    await check(true, first);
    // HISTORY_SIZE is 100.
    await publishMany(log, "a", 60);
    await check(false);
    await check(false, first);
    const { position } = await history(log, "a", { limit: 0 });
    const last = await publish(log, "b", "1");
    await check(true, position);
    const later = await history(log, "a", { limit: 0 });
    assert.equal(parsePosition(later.position).id, last);
  });

  test("history.clear() empties a room's history, and a page from before the cleared messages is not complete", async ({ log, entries, gaps }) => {
    const ids = await publishMany(log, "a", 5);
    await publishMany(log, "b", 5);
    const before = (await history(log, "a")).position;
    await soon(log.history.clear("a"), "the history is cleared");
    for (const since of [undefined, ids[0], ids[3]]) {
      for (const order of ["asc", "desc"] as const) {
        const page = await history(log, "a", { since, order });
        assert.deepEqual(page.messages, []);
        assert.equal(page.complete, false, `${order} since ${since}`);
      }
    }
    const after = await history(log, "a");
    for (const since of [ids[4], before, after.position]) {
      const page = await history(log, "a", { since });
      assert.equal(page.complete, true, "nothing was missed since");
    }
    await publish(log, "a", "6");
    const later = await history(log, "a", { since: after.position });
    assert.deepEqual(jsons(later), ["6"]);
    assert.equal(later.complete, true);
    assert.equal((await history(log, "a", { since: ids[2] })).complete, false);
    assert.equal((await history(log, "a")).complete, false);
    const other = await history(log, "b");
    assert.deepEqual(jsons(other), range(1, 5));
    assert.equal(other.complete, true);
    await entries.have(11);
    assert.deepEqual(gaps.items, [], "connected clients are not concerned");
  });

  test("history.clear() succeeds for rooms that are full, empty, cleared or unknown", async ({ log }) => {
    await log.history.clear("unknown");
    assert.equal((await history(log, "unknown")).complete, true);
    for (let round = 0; round < 2; round++) {
      const ids = await publishMany(log, "a", 150);
      await log.history.clear("a");
      await log.history.clear("a");
      const { messages, position } = await history(log, "a", {
        since: ids[140],
      });
      assert.deepEqual(messages, []);
      await publishMany(log, "a", 100);
      const page = await history(log, "a", { since: position });
      assert.deepEqual(jsons(page), range(1, 100));
      assert.equal(page.complete, true);
    }
  });

  test("history.read() returns an empty, complete page for an unknown room", async ({ log }) => {
    const id = await publish(log, "a", "1");
    for (const room of ["unknown", "__proto__", "constructor", "toString"]) {
      for (const since of [undefined, id]) {
        for (const order of ["asc", "desc"] as const) {
          const page = await history(log, room, { since, order });
          assert.deepEqual(page.messages, []);
          assert.equal(page.complete, true);
          parsePosition(page.position);
        }
      }
    }
  });

  test("history.read() returns `complete: false` for a position of another epoch or in the future", async ({ log }) => {
    const [id = ""] = await publishMany(log, "a", 3);
    const { position } = await history(log, "a");
    const epoch = position.split(".")[0] ?? "";
    const future = `${Date.now() + 3_600_000}-0`;
    for (const room of ["a", "unknown"]) {
      for (const order of ["asc", "desc"] as const) {
        for (
          const since of [
            formatPosition("0123456789abcdef", id),
            formatPosition("0123456789abcdef", ID_ZERO),
            formatPosition(epoch, future),
            future,
            "999999999999999-999999999999999",
          ]
        ) {
          const page = await history(log, room, { since, order });
          assert.equal(page.complete, false, `${room} ${order} since ${since}`);
          assert.equal(page.position, position);
        }
      }
    }
    assert.equal((await history(log, "a", { since: id })).complete, true);
  });

  test("history.read() returns `complete: false` for an id from before the log began", async ({ log }) => {
    await publishMany(log, "a", 3);
    for (const room of ["a", "unknown"]) {
      for (const order of ["asc", "desc"] as const) {
        const page = await history(log, room, { since: "1-1", order });
        assert.equal(page.complete, false, `${room} ${order}`);
      }
      assert.equal((await history(log, room)).complete, true);
    }
  });

  test(
    "history.read() leaves out messages older than HISTORY_SECONDS, and returns `complete: false` if any are left out",
    async ({ log }) => {
      const { position: start } = await history(log, "a");
      const ids = await publishMany(log, "a", 3);
      await until(
        "the messages are gone",
        async () => (await history(log, "a")).messages.length === 0,
      );
      assert.ok(Date.now() - Number(ids[0]?.split("-")[0]) >= 900);
      assert.deepEqual(jsons(await history(log, "a", { order: "desc" })), []);
      for (const since of [start, ids[0]]) {
        const page = await history(log, "a", { since });
        assert.deepEqual(page.messages, []);
        assert.equal(page.complete, false, `since ${since}`);
      }
      const fresh = await publish(log, "a", "4");
      const page = await history(log, "a", { since: start });
      assert.deepEqual(page.messages.map(({ id }) => id), [fresh]);
      assert.equal(page.complete, false);
      const { complete } = await history(log, "a", { since: fresh });
      assert.equal(complete, true);
    },
    { historySeconds: 1 },
  );

  test(
    "history.read() returns `complete: true` for a page from the beginning only if no message has expired",
    async ({ log }) => {
      await publishMany(log, "a", 3);
      await until(
        "the messages are gone",
        async () => (await history(log, "a")).messages.length === 0,
      );
      for (const order of ["asc", "desc"] as const) {
        assert.equal(
          (await history(log, "a", { order })).complete,
          false,
          order,
        );
      }
    },
    { historySeconds: 1 },
  );

  test("probe() resolves, and warnings() returns an empty list, for a log that works", async ({ log, entries }) => {
    await until(
      "it can be reached",
      () => log.probe().then(() => true, () => false),
    );
    await publish(log, "a", "1");
    await entries.have(1);
    assert.deepEqual(entries.items.map(({ json }) => json), ["1"]);
    assert.deepEqual(log.warnings(), []);
  });
}

logSuite("MemoryLog", openMemory);
logSuite("RedisLog", openRedis);
