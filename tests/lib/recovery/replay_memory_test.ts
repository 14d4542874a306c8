import assert from "node:assert/strict";
import { entryBytes } from "../../../lib/delivery/ring.ts";
import type { Subscriber } from "../../../lib/delivery/subscriber.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Entry, Page } from "../../../lib/log/log.ts";
import { ID_ZERO } from "../../../lib/log/position.ts";
import type { Observation } from "../../../lib/observer.ts";
import { readNewest } from "../../../lib/recovery/history_pages.ts";
import type { ReplayHold } from "../../../lib/recovery/replay_hold.ts";
import type { ReplayLimits } from "../../../lib/recovery/replay_limits.ts";
import { SharedReads } from "../../../lib/recovery/shared_reads.ts";
import { Limit } from "../../../lib/util/turns.ts";
import {
  RecordingEncoder,
  RecordingSubscriber,
} from "../../support/recording_subscriber.ts";
import { makeReplayMemory } from "../../support/replay_memory.ts";
import { pauseFor, soon, until } from "../../support/wait.ts";

const ENTRY: Entry = { id: "1000-1", room: "chat", json: "x".repeat(1000) };
/** What one message counts. */
const BYTES = entryBytes(ENTRY);

/** Shared reads of a history, of which each page has two messages, with a small limit. */
class Setup implements Disposable {
  /** Number of pages that each room has. */
  pages = 1;
  /** The rooms of the pages that were read, in order. */
  readonly read: string[] = [];
  readonly observed: Observation[] = [];
  readonly disconnected: Subscriber[] = [];
  readonly ring = { droppedBytes: 0 };
  readonly memory;
  /** Whether the ring has every message after a read. Tests may replace this function. */
  isContinued: () => Promise<boolean> = () => Promise.resolve(true);
  readonly #reads: SharedReads;

  constructor(limits: Partial<ReplayLimits> = {}) {
    this.memory = makeReplayMemory({
      ring: this.ring,
      observe: (observation) => this.observed.push(observation),
      disconnect: (subscriber) => this.disconnected.push(subscriber),
      limits: { bytesMax: 4 * BYTES, smallBytes: BYTES, checkMs: 5, ...limits },
    });
    this.#reads = new SharedReads({
      history: { read: (room) => this.page(room) },
      limit: new Limit(4),
      memory: this.memory,
      isContinued: () => this.isContinued(),
    });
  }

  /** Returns the room's next page. Tests may replace this function. */
  page: (room: string) => Promise<Page> = (room) => {
    this.read.push(room);
    const count = this.read.filter((name) => name === room).length;
    return Promise.resolve({
      messages: [ENTRY, ENTRY],
      more: count < this.pages,
      position: `epoch.1000-${count}`,
      complete: true,
      completeSince: ID_ZERO,
    });
  };

  /** Reads the history of a room for a client. Resolves to what holds it. */
  async hold(
    room: string,
    hold: ReplayHold = this.memory.hold(() => true),
  ): Promise<ReplayHold> {
    const read = this.#reads.read(
      room,
      ID_ZERO,
      (_, history) => readNewest(history, "epoch", room, 1000),
      hold,
    );
    await soon(read, `${room} is read`);
    return hold;
  }

  /** Deletes all reads that are kept for further clients. */
  close(): void {
    this.#reads.close();
  }

  [Symbol.dispose](): void {
    this.close();
    this.memory.close();
  }
}

function subscriber(): RecordingSubscriber {
  return new RecordingSubscriber(new RecordingEncoder());
}

function isOverloaded(error: unknown): boolean {
  return error instanceof ApiError && error.code === "overloaded";
}

Deno.test("a read counts once, until no client needs it and it is not kept for others", async () => {
  using setup = new Setup();
  const holds = await Promise.all([setup.hold("a"), setup.hold("a")]);
  assert.deepEqual(setup.read, ["a"]);
  assert.equal(setup.memory.bytes, 2 * BYTES);
  holds[0].release();
  setup.close();
  assert.equal(setup.memory.bytes, 2 * BYTES);
  holds[0].release();
  holds[1].release();
  assert.equal(setup.memory.bytes, 0);
});

Deno.test("a read that has failed does not count, nor does one whose client is gone when it ends", async () => {
  using setup = new Setup();
  const gone = setup.memory.hold(() => true);
  const { page } = setup;
  setup.page = (room) => {
    gone.release();
    return page(room);
  };
  await setup.hold("a", gone);
  setup.page = async (room) => {
    if (setup.read.includes(room)) throw new Error("the log is down");
    return { ...await page(room), more: true };
  };
  await assert.rejects(setup.hold("b"), /the log is down/);
  setup.close();
  assert.equal(setup.memory.bytes, 0);
});

Deno.test("at the limit, reads that no client needs are dropped for others, oldest first", async () => {
  using setup = new Setup({ waitMs: 60_000 });
  for (const room of ["a", "b", "c", "d"]) {
    const hold = await setup.hold(room);
    assert.ok(setup.memory.bytes <= 4 * BYTES);
    hold.release();
  }
  await setup.hold("d");
  assert.deepEqual(setup.read, ["a", "b", "c", "d"]);
  assert.deepEqual(setup.observed, []);
});

Deno.test("at the limit, a read waits until a client needs its messages no more, and fails as `overloaded` after waitMs", async () => {
  using setup = new Setup({ waitMs: 300 });
  const holds = [await setup.hold("a"), await setup.hold("b")];
  const waiting = setup.hold("c");
  await pauseFor(100);
  assert.deepEqual(setup.read, ["a", "b"]);
  holds[1]?.release();
  await waiting;
  await assert.rejects(setup.hold("d"), isOverloaded);
  assert.deepEqual(setup.read, ["a", "b", "c"]);
  assert.deepEqual(setup.observed, [
    { kind: "limited", limit: "replay_bytes" },
  ]);
});

Deno.test("at the limit, clients that have been sent nothing for stalledMs are disconnected, unless a client that reads needs the same", async () => {
  using setup = new Setup({ stalledMs: 100, waitMs: 60_000 });
  const stalled = await setup.hold("a");
  const [reading, sharing] = await Promise.all([
    setup.hold("b"),
    setup.hold("b"),
  ]);
  for (const hold of [stalled, reading, sharing]) hold.start(subscriber(), []);
  const reads = setInterval(() => reading.progressed(), 10);
  await pauseFor(150);
  assert.deepEqual(setup.disconnected, []);
  await setup.hold("c");
  clearInterval(reads);
  assert.deepEqual(setup.disconnected, [stalled.subscriber]);
});

Deno.test("at the limit, clients that need longer than slowMs are disconnected even if they read", async () => {
  using setup = new Setup({ slowMs: 100, waitMs: 60_000 });
  const slow = await setup.hold("a");
  const before = await setup.hold("b");
  slow.start(subscriber(), []);
  const reads = setInterval(() => slow.progressed(), 10);
  await setup.hold("c");
  clearInterval(reads);
  assert.deepEqual(setup.disconnected, [slow.subscriber]);
  before.release();
});

Deno.test("the messages of a client whose connection is closed are released, before and while it is sent them", async () => {
  using setup = new Setup();
  let isOpen = true;
  await setup.hold("a", setup.memory.hold(() => isOpen));
  const sent = await setup.hold("b");
  const client = subscriber();
  sent.start(client, []);
  setup.close();
  isOpen = false;
  await until("the first is released", () => setup.memory.bytes === 2 * BYTES);
  client.closed = true;
  await until("both are released", () => setup.memory.bytes === 0);
  assert.deepEqual(setup.disconnected, []);
});

Deno.test("histories larger than the limit are read whole, one after the other", async () => {
  using setup = new Setup({ bytesMax: 10 * BYTES, waitMs: 60_000 });
  setup.pages = 10;
  let most = 0;
  const { page } = setup;
  setup.page = async (room) => {
    const result = await page(room);
    await pauseFor(5);
    most = Math.max(most, setup.memory.bytes);
    return result;
  };
  await Promise.all(["a", "b", "c", "d"].map(async (room) => {
    (await setup.hold(room)).release();
  }));
  assert.equal(setup.read.length, 40);
  // One whole history, and the first page of each of the others.
  assert.ok(most <= (20 + 3 * 2) * BYTES, `${most / BYTES} messages`);
});

Deno.test("a read of several pages does not fail because it waits for its turn for longer than waitMs", async () => {
  using setup = new Setup({ bytesMax: 1000 * BYTES, waitMs: 50 });
  setup.pages = 5;
  const { page } = setup;
  setup.page = async (room) => {
    await pauseFor(30);
    return await page(room);
  };
  await Promise.all(["a", "b", "c"].map((room) => setup.hold(room)));
  assert.equal(setup.read.length, 15);
});

Deno.test("a read whose result a client cannot use does not count for the client", async () => {
  using setup = new Setup();
  setup.isContinued = () => Promise.resolve(setup.read.length > 1);
  await setup.hold("a");
  setup.close();
  assert.deepEqual(setup.read, ["a", "a"]);
  assert.equal(setup.memory.bytes, 2 * BYTES);
});

Deno.test("a client is not disconnected because the node was too busy to send it anything", async () => {
  using setup = new Setup({
    bytesMax: BYTES,
    stalledMs: 300,
    waitMs: 60_000,
    checkMs: 20,
  });
  const reading = await setup.hold("a");
  reading.start(subscriber(), []);
  const waiting = setup.hold("b");
  await pauseFor(40);
  reading.progressed();
  const start = performance.now();
  while (performance.now() - start < 500);
  await pauseFor(60);
  assert.deepEqual(setup.disconnected, []);
  await waiting;
  assert.deepEqual(setup.disconnected, [reading.subscriber]);
});

Deno.test("a client that has not been sent its messages when the ring has dropped more than bytesMax is disconnected, unless its messages are small", async () => {
  using setup = new Setup();
  const hold = setup.memory.hold(() => true);
  const client = subscriber();
  hold.start(client, [ENTRY, ENTRY]);
  const small = setup.memory.hold(() => true);
  small.start(subscriber(), [ENTRY]);
  setup.ring.droppedBytes += 4 * BYTES;
  await pauseFor(20);
  assert.deepEqual(setup.disconnected, []);
  setup.ring.droppedBytes++;
  await until("it is disconnected", () => setup.disconnected.length > 0);
  await pauseFor(20);
  assert.deepEqual(setup.disconnected, [client]);
});
