import assert from "node:assert/strict";
import { Ring } from "../../../lib/delivery/ring.ts";
import { ApiError } from "../../../lib/errors.ts";
import { type GapReason, IngressGaps } from "../../../lib/log/gaps.ts";
import type { History } from "../../../lib/log/log.ts";
import { MemoryLog } from "../../../lib/log/memory_log.ts";
import { formatPosition, idBefore } from "../../../lib/log/position.ts";
import { isGap, type JoinResult } from "../../../lib/recovery/join_result.ts";
import { Recovery } from "../../../lib/recovery/recovery.ts";
import type { JoinRequest } from "../../../lib/recovery/join_request.ts";
import { makeReplayMemory } from "../../support/replay_memory.ts";
import { pauseFor, soon } from "../../support/wait.ts";

/**
 * Sizes of two rings, in bytes: the first holds all messages that these tests publish, the second about four messages.
 */
const LARGE = 1 << 20, SMALL = 1700;

/** An embedded log, a ring that is filled from the log, and a recovery that reads from both. */
class Setup implements Disposable {
  readonly ring: Ring;
  readonly log: MemoryLog;
  readonly gaps = new IngressGaps();
  /** Reads a page of a room's history from the log. Tests may replace this function. */
  read: History["read"];
  readonly recovery: Recovery;
  /** The room of each page that was read from the log, in the order of the reads. */
  readonly reads: string[] = [];
  /** Runs before each page is read. */
  beforeRead: () => void | Promise<void> = () => {};

  constructor(ringBytes: number, historySize = 1000) {
    const ring = this.ring = new Ring(ringBytes);
    this.log = new MemoryLog({
      historySize,
      historySeconds: 3600,
      idempotencySeconds: 600,
      reader: {
        started: (_, floor) => ring.reset(floor),
        entries: (entries) => entries.forEach((entry) => ring.push(entry)),
        gap: () => {},
        lineageChanged: () => {},
        ingressGap: () => {},
      },
    });
    const { log } = this;
    this.read = async (room, range) => {
      await this.beforeRead();
      this.reads.push(room);
      return await log.history.read(room, range);
    };
    const history: History = {
      read: (room, range) => this.read(room, range),
      clear: (room) => log.history.clear(room),
    };
    this.recovery = new Recovery(
      { log, history, gaps: this.gaps },
      ring,
      makeReplayMemory({ ring }),
    );
  }

  [Symbol.dispose](): void {
    this.recovery.close();
  }

  /** Publishes the numbers from `from` to `to` as messages. Returns the ids of the messages. */
  async publish(room: string, from: number, to: number): Promise<string[]> {
    const publishes = Array.from(
      { length: to - from + 1 },
      (_, i) => ({ rooms: [room], json: String(from + i) }),
    );
    const results = (await this.log.append(publishes)).flat();
    return results.map((result) => "id" in result ? result.id : "");
  }

  /** Prepares one request of a client that stays connected. */
  prepare(request: JoinRequest): ReturnType<Recovery["prepare"]> {
    return this.recovery.prepare(request, this.recovery.hold(() => true));
  }

  /** Prepares one request and collects its result. */
  async recover(request: JoinRequest): Promise<JoinResult> {
    const prepared = await soon(this.prepare(request), "prepared");
    const [result] = this.recovery.collect([prepared]) ?? [];
    assert.ok(result !== undefined, "the ring has moved on");
    return result;
  }

  /** Returns the position of an id in the log's epoch. */
  at(id: string): { epoch: string; id: string } {
    return { epoch: this.log.head.epoch, id };
  }
}

function numbers({ messages }: JoinResult): number[] {
  return messages.map(({ json }) => Number(json));
}

/** Asserts that a result has the gap `reason` and no messages. */
function assertGap(result: JoinResult, reason: GapReason): void {
  assert.equal(result.reason, reason);
  assert.equal(isGap(result), true);
  assert.equal(result.recovered, false);
  assert.deepEqual(result.messages, []);
}

Deno.test("recovery returns no messages for a join that names neither `since` nor `last`", async () => {
  using setup = new Setup(LARGE);
  await setup.publish("chat", 1, 3);
  for (const request of [{ room: "chat" }, { room: "chat", last: 0 }]) {
    const result = await setup.recover(request);
    assert.deepEqual(result, { room: "chat", recovered: false, messages: [] });
    assert.equal(isGap(result), false);
  }
});

Deno.test("recovery replays the messages after an id or a position from the ring", async () => {
  using setup = new Setup(LARGE);
  const ids = await setup.publish("chat", 1, 5);
  await setup.publish("other", 6, 7);
  const since = ids[2] ?? "";
  for (const epoch of [undefined, setup.log.head.epoch]) {
    const result = await setup.recover({
      room: "chat",
      since: { epoch, id: since },
    });
    assert.deepEqual(numbers(result), [4, 5]);
    assert.equal(result.recovered, true);
    assert.equal(result.reason, undefined);
    assert.equal(result.from, since);
  }
  assert.deepEqual(setup.reads, []);
});

Deno.test("recovery reports `recovered: true` for a client that missed no messages", async () => {
  using setup = new Setup(LARGE);
  const [id = ""] = await setup.publish("chat", 1, 1);
  const result = await setup.recover({ room: "chat", since: setup.at(id) });
  assert.deepEqual(numbers(result), []);
  assert.equal(result.recovered, true);
});

Deno.test("recovery returns messages that are delivered between prepare() and collect()", async () => {
  using setup = new Setup(LARGE);
  const [id = ""] = await setup.publish("chat", 1, 2);
  const prepared = await setup.prepare({
    room: "chat",
    since: setup.at(id),
  });
  await setup.publish("chat", 3, 4);
  const [result] = setup.recovery.collect([prepared]) ?? [];
  assert.deepEqual(result && numbers(result), [2, 3, 4]);
});

Deno.test("recovery reads messages that are older than the ring from the history", async () => {
  using setup = new Setup(SMALL);
  const ids = await setup.publish("chat", 1, 20);
  const since = ids[4] ?? "";
  assert.equal(setup.ring.covers(since), false);
  const result = await setup.recover({ room: "chat", since: setup.at(since) });
  assert.deepEqual(
    numbers(result),
    Array.from({ length: 15 }, (_, i) => i + 6),
  );
  assert.equal(result.recovered, true);
  assert.deepEqual(setup.reads, ["chat"]);
});

Deno.test("recovery reads pages of the history until the ring has all later messages", async () => {
  using setup = new Setup(SMALL, 5000);
  const [id = ""] = await setup.publish("chat", 1, 2500);
  const result = await setup.recover({ room: "chat", since: setup.at(id) });
  assert.deepEqual(
    numbers(result),
    Array.from({ length: 2499 }, (_, i) => i + 2),
  );
  assert.equal(setup.reads.length, 3);
});

Deno.test("recovery returns the gap `trimmed` if the history no longer reaches back to the position", async () => {
  using setup = new Setup(SMALL, 10);
  const ids = await setup.publish("chat", 1, 20);
  const kept = ids[9] ?? "", gone = ids[8] ?? "";
  assertGap(
    await setup.recover({ room: "chat", since: setup.at(gone) }),
    "trimmed",
  );
  const result = await setup.recover({ room: "chat", since: setup.at(kept) });
  assert.deepEqual(
    numbers(result),
    Array.from({ length: 10 }, (_, i) => i + 11),
  );
});

Deno.test("recovery returns the gap `epoch` for a position of another epoch, and for an id from before the log began", async () => {
  using setup = new Setup(LARGE);
  const [id = ""] = await setup.publish("chat", 1, 1);
  for (
    const since of [
      { epoch: "another0", id },
      // An id from before this log began belongs to another log.
      { epoch: undefined, id: idBefore(setup.log.head.began) },
      setup.at("1-1"),
    ]
  ) assertGap(await setup.recover({ room: "chat", since }), "epoch");
});

Deno.test("recovery returns the gap `position` for a text that is not a position", async () => {
  using setup = new Setup(LARGE);
  assertGap(await setup.recover({ room: "chat", since: null }), "position");
});

Deno.test("recovery across an ingress gap replays the messages on both sides and reports `recovered: false`", async () => {
  for (const bytes of [LARGE, SMALL]) {
    using setup = new Setup(bytes);
    const ids = await setup.publish("chat", 1, 20);
    setup.gaps.add(ids[9] ?? "", ["chat"]);
    const before = await setup.recover({
      room: "chat",
      since: setup.at(ids[4] ?? ""),
    });
    assert.equal(numbers(before).at(0), 6);
    assert.equal(before.reason, "ingress");
    assert.equal(before.recovered, false);
    assert.equal(isGap(before), false);
    const after = await setup.recover({
      room: "chat",
      since: setup.at(ids[9] ?? ""),
    });
    assert.equal(after.reason, undefined);
    assert.equal(after.recovered, true);
  }
});

Deno.test("recovery returns the gap that a request contains, so that a client gets an unconfirmed gap again", async () => {
  using setup = new Setup(LARGE);
  const request = { room: "chat", gap: "expired" } as const;
  assertGap(await setup.recover(request), "expired");
});

Deno.test("recovery waits until the node has delivered the messages up to the client's position", async () => {
  using setup = new Setup(LARGE);
  const id = `${Date.now() + 300}-0`;
  let done = false;
  const prepared = setup.prepare({ room: "chat", since: setup.at(id) })
    .finally(() => done = true);
  await setup.publish("chat", 1, 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(done, false);
  while (Date.now() < parseInt(id) + 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await setup.publish("chat", 2, 2);
  const [result] = setup.recovery.collect([await soon(prepared, "prepared")]) ??
    [];
  assert.deepEqual(result && numbers(result), [2]);
  assert.equal(result?.recovered, true);
});

Deno.test("recovery returns the gap `position` if the log ends before the position", async () => {
  using setup = new Setup(LARGE);
  const ahead = setup.at(`${Date.now() + 3_600_000}-0`);
  assertGap(await setup.recover({ room: "chat", since: ahead }), "position");
});

Deno.test("recovery returns the newest messages of a room, from the ring or its history", async () => {
  for (const bytes of [LARGE, SMALL]) {
    using setup = new Setup(bytes);
    const ids = await setup.publish("chat", 1, 10);
    for (const [last, first] of [[3, 8], [8, 3], [50, 1]] as const) {
      const result = await setup.recover({ room: "chat", last });
      assert.deepEqual(
        numbers(result),
        Array.from({ length: 11 - first }, (_, i) => first + i),
      );
      assert.equal(result.recovered, false);
      assert.equal(result.reason, undefined);
      assert.equal(result.from, idBefore(ids[first - 1] ?? ""));
    }
  }
});

Deno.test("recovery returns the newest `last` messages even if messages are delivered between prepare() and collect()", async () => {
  using setup = new Setup(SMALL);
  await setup.publish("chat", 1, 10);
  const prepared = await setup.prepare({ room: "chat", last: 5 });
  await setup.publish("chat", 11, 12);
  const [result] = setup.recovery.collect([prepared]) ?? [];
  assert.deepEqual(result && numbers(result), [8, 9, 10, 11, 12]);
});

Deno.test("collect() returns undefined if the ring has dropped messages since prepare()", async () => {
  using setup = new Setup(SMALL);
  const [id = ""] = await setup.publish("chat", 1, 1);
  const prepared = await setup.prepare({
    room: "chat",
    since: setup.at(id),
  });
  await setup.publish("chat", 2, 20);
  assert.equal(setup.recovery.collect([prepared]), undefined);
});

Deno.test("recovery repeats a read during which the ring drops messages, and throws `overloaded` after three such reads", async () => {
  using setup = new Setup(SMALL);
  const [id = ""] = await setup.publish("chat", 1, 20);
  const request = { room: "chat", since: setup.at(id) };
  // As soon as a page is read, the ring drops the messages that come after this page.
  const read = setup.read;
  let stale = 1;
  setup.read = async (room, range) => {
    const page = await read(room, range);
    if (stale-- > 0) await setup.publish("chat", 21, 30);
    return page;
  };
  assert.deepEqual(
    numbers(await setup.recover(request)),
    Array.from({ length: 29 }, (_, i) => i + 2),
  );
  stale = Infinity;
  const [older = ""] = await setup.publish("chat", 31, 50);
  await assert.rejects(
    setup.prepare({ room: "chat", since: setup.at(older) }),
    (error) => error instanceof ApiError && error.code === "overloaded",
  );
});

Deno.test("recovery shares one read between clients that connect at about the same time", async () => {
  using setup = new Setup(SMALL);
  const ids = await setup.publish("chat", 1, 20);
  const results = await Promise.all(
    [7, 3, 5, 3].map((index) =>
      setup.recover({ room: "chat", since: setup.at(ids[index] ?? "") })
    ),
  );
  assert.deepEqual(
    results.map((result) => numbers(result).at(0)),
    [9, 5, 7, 5],
  );
  for (const result of results) assert.equal(numbers(result).at(-1), 20);
  assert.deepEqual(setup.reads, ["chat"]);
  // A client that connects later shares the read if the read begins early enough.
  await setup.recover({ room: "chat", since: setup.at(ids[4] ?? "") });
  assert.deepEqual(setup.reads, ["chat"]);
  await setup.recover({ room: "chat", since: setup.at(ids[2] ?? "") });
  assert.deepEqual(setup.reads, ["chat", "chat"]);
});

Deno.test("recovery shares one read between clients that ask for different numbers of the newest messages", async () => {
  using setup = new Setup(SMALL);
  await setup.publish("chat", 1, 40);
  const ask = (last: number): Promise<JoinResult> =>
    setup.recover({ room: "chat", last });
  const results = await Promise.all([16, 9, 12].map(ask));
  assert.deepEqual(results.map((result) => numbers(result).length), [
    16,
    9,
    12,
  ]);
  assert.deepEqual(setup.reads, ["chat"]);
  assert.equal(numbers(await ask(17)).at(0), 24);
  assert.equal(numbers(await ask(1000)).length, 40);
  assert.deepEqual(setup.reads, ["chat", "chat", "chat"]);
});

Deno.test("a shared read succeeds for a client even if another client needs trimmed messages", async () => {
  using setup = new Setup(SMALL, 10);
  const ids = await setup.publish("chat", 1, 20);
  const [gone, kept] = await Promise.all(
    [0, 12].map((index) =>
      setup.recover({ room: "chat", since: setup.at(ids[index] ?? "") })
    ),
  );
  assert.ok(gone !== undefined && kept !== undefined);
  assertGap(gone, "trimmed");
  assert.equal(numbers(kept).at(0), 14);
  assert.equal(kept.recovered, true);
});

Deno.test("recovery reads at most four histories at a time", async () => {
  using setup = new Setup(SMALL);
  const rooms = Array.from({ length: 9 }, (_, i) => `room${i}`);
  const ids = new Map<string, string>();
  for (const room of rooms) {
    const [id = ""] = await setup.publish(room, 1, 5);
    ids.set(room, id);
  }
  let reading = 0, most = 0;
  setup.beforeRead = async () => {
    most = Math.max(most, ++reading);
    await new Promise((resolve) => setTimeout(resolve, 10));
    reading--;
  };
  const older = rooms.filter((room) => !setup.ring.covers(ids.get(room) ?? ""));
  assert.ok(older.length > 6);
  const results = await Promise.all(
    older.map((room) =>
      setup.recover({ room, since: setup.at(ids.get(room) ?? "") })
    ),
  );
  for (const result of results) assert.deepEqual(numbers(result), [2, 3, 4, 5]);
  assert.equal(most, 4);
});

Deno.test("Recovery.position contains the epoch and the id of the message that was delivered last", async () => {
  using setup = new Setup(LARGE);
  const [id = ""] = await setup.publish("chat", 1, 1);
  const { epoch } = setup.log.head;
  assert.equal(setup.recovery.position, formatPosition(epoch, id));
});

/** Ids that the log may have had and that no node has delivered. */
const FOREIGN_IDS = Array.from({ length: 50 }, (_, i) => `${i + 1}-1`);

/** A log that has begun long ago, and whose look-ups of ids wait until `answer()` is called. */
class HeldLookups extends Setup {
  /** The ids that were looked up, in order. */
  readonly lookedUp: string[] = [];
  readonly #gate = Promise.withResolvers<void>();

  constructor() {
    super(LARGE);
    Object.defineProperty(this.log.head, "began", { value: "0-1" });
    Object.assign(this.log, {
      knows: () => false,
      contains: async (id: string) => {
        this.lookedUp.push(id);
        await this.#gate.promise;
        return true;
      },
    });
  }

  /** Asks for the messages after each of the ids, for one client. Returns whether each was answered. */
  async ask(
    ids: readonly string[],
    hold = this.recovery.hold(() => true),
  ): Promise<readonly boolean[]> {
    const outcomes = await Promise.allSettled(
      ids.map((id) =>
        this.recovery.prepare(
          { room: `room ${id}`, since: { epoch: undefined, id } },
          hold,
        )
      ),
    );
    return outcomes.map(({ status }) => status === "fulfilled");
  }

  answer(): void {
    this.#gate.resolve();
  }

  fail(): void {
    this.#gate.reject(new ApiError("log_unreachable", "Cannot look up: down"));
  }
}

Deno.test("a client that names many different ids does not delay the look-up of another client's id", async () => {
  using setup = new HeldLookups();
  await setup.publish("chat", 1, 1);
  const many = setup.ask(FOREIGN_IDS);
  const one = setup.ask(["1000-1"]);
  await pauseFor(10);
  assert.equal(setup.lookedUp.length, 4);
  setup.answer();
  await soon(Promise.all([many, one]), "all are looked up");
  assert.equal(setup.lookedUp.length, FOREIGN_IDS.length + 1);
  const turn = setup.lookedUp.indexOf("1000-1");
  assert.ok(turn < 10, `it was looked up after ${turn} others`);
});

Deno.test("nothing is looked up any more for a client that is gone, or whose other reads have failed", async () => {
  for (const hasFailed of [false, true]) {
    using setup = new HeldLookups();
    await setup.publish("chat", 1, 1);
    let isOpen = true;
    const hold = setup.recovery.hold(() => isOpen);
    const many = setup.ask(FOREIGN_IDS, hold);
    await pauseFor(10);
    if (hasFailed) hold.release();
    else isOpen = false;
    setup.answer();
    await soon(many, "all are settled");
    assert.equal(setup.lookedUp.length, 4);
  }
});

Deno.test("clients that name the same id share one look-up also while it waits for its turn, even if it fails", async () => {
  using setup = new HeldLookups();
  await setup.publish("chat", 1, 1);
  const others = setup.ask(FOREIGN_IDS.slice(0, 4));
  await pauseFor(10);
  const asked = FOREIGN_IDS.map(() => setup.ask(["1000-1"]));
  await pauseFor(10);
  setup.fail();
  const all = await soon(Promise.all([others, ...asked]), "all are settled");
  assert.ok(all.flat().every((isAnswered) => !isAnswered));
  assert.deepEqual(setup.lookedUp, [...FOREIGN_IDS.slice(0, 4), "1000-1"]);
});

Deno.test("an id is looked up once for all clients that still wait when the client that has named it first is gone", async () => {
  using setup = new HeldLookups();
  await setup.publish("chat", 1, 1);
  const others = setup.ask(FOREIGN_IDS.slice(0, 4));
  await pauseFor(10);
  let isOpen = true;
  const gone = setup.ask(["1000-1"], setup.recovery.hold(() => isOpen));
  const waiting = [setup.ask(["1000-1"]), setup.ask(["1000-1"])];
  await pauseFor(10);
  isOpen = false;
  setup.answer();
  assert.deepEqual(
    await soon(Promise.all([others, gone, ...waiting]), "all are settled"),
    [[true, true, true, true], [false], [true], [true]],
  );
  assert.deepEqual(setup.lookedUp, [...FOREIGN_IDS.slice(0, 4), "1000-1"]);
});

Deno.test("a history is not read if all clients that wait for it are gone before the read starts", async () => {
  using setup = new Setup(SMALL);
  const gate = Promise.withResolvers<void>();
  setup.beforeRead = () => gate.promise;
  const rooms = ["a", "b", "c", "d", "left", "kept"];
  for (const room of rooms) await setup.publish(room, 1, 10);
  let isOpen = true;
  const reading = rooms.map((room) =>
    setup.recovery.prepare(
      { room, last: 10 },
      setup.recovery.hold(() => room !== "left" || isOpen),
    )
  );
  const shared = setup.recovery.prepare(
    { room: "kept", last: 10 },
    setup.recovery.hold(() => isOpen),
  );
  // The first four read; the others wait for their turn.
  await pauseFor(50);
  isOpen = false;
  gate.resolve();
  const [outcomes] = await soon(
    Promise.all([Promise.allSettled(reading), shared]),
    "all are settled",
  );
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    [...Array(4).fill("fulfilled"), "rejected", "fulfilled"],
  );
  assert.deepEqual(new Set(setup.reads), new Set(["a", "b", "c", "d", "kept"]));
});
