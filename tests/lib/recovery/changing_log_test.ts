/** Tests recovery while the log's epoch changes, and while the log cannot be confirmed or reached. */
import assert from "node:assert/strict";
import { Ring } from "../../../lib/delivery/ring.ts";
import { ApiError } from "../../../lib/errors.ts";
import { type HeadState, LogHead } from "../../../lib/log/head.ts";
import { IngressGaps } from "../../../lib/log/gaps.ts";
import type { History, Log, Page } from "../../../lib/log/log.ts";
import { formatPosition } from "../../../lib/log/position.ts";
import { readAfter } from "../../../lib/recovery/history_pages.ts";
import { Recovery } from "../../../lib/recovery/recovery.ts";
import { SharedReads } from "../../../lib/recovery/shared_reads.ts";
import { Limit } from "../../../lib/util/turns.ts";
import { makeReplayMemory } from "../../support/replay_memory.ts";
import { pauseFor, soon } from "../../support/wait.ts";

/** A recovery from a log that contains no ids. Tests set the log's head and history. */
class Setup implements Disposable {
  readonly state: { -readonly [K in keyof HeadState]: HeadState[K] } = {
    epoch: "first",
    id: "9-0",
    began: "1-0",
    confirmed: true,
    lineage: "first",
  };
  readonly head = new LogHead(this.state);
  readonly ring = new Ring(1 << 20);
  readonly recovery: Recovery;
  probe = (): Promise<void> => Promise.resolve();
  read: History["read"] = () => Promise.resolve(page({ end: "9-0" }));

  constructor() {
    const log = {
      head: this.head,
      knows: () => false,
      contains: () => Promise.resolve(true),
      probe: () => this.probe(),
    } as unknown as Log;
    const history = {
      read: (room, range) => this.read(room, range),
    } as History;
    const gaps = new IngressGaps();
    const memory = makeReplayMemory();
    this.recovery = new Recovery({ log, history, gaps }, this.ring, memory);
  }

  [Symbol.dispose](): void {
    this.recovery.close();
  }

  /** Prepares the join of a client that names the position of `id` in the first epoch. */
  prepare(id: string): ReturnType<Recovery["prepare"]> {
    return soon(
      this.recovery.prepare(
        { room: "chat", since: { epoch: "first", id } },
        this.recovery.hold(() => true),
      ),
      "prepared",
    );
  }

  /** Begins another epoch. */
  change(): void {
    Object.assign(this.state, { epoch: "second", id: "20-0" });
    this.head.moved();
  }
}

/** Returns a page of a history that ends at the id `end` and has messages with the ids `ids`. */
function page(
  { end, ids = [], more = false, completeSince = "1-0" }: {
    end: string;
    ids?: readonly string[];
    more?: boolean;
    completeSince?: string;
  },
): Page {
  return {
    messages: ids.map((id) => ({ id, room: "chat", json: "1" })),
    more,
    position: formatPosition("first", end),
    complete: true,
    completeSince,
  };
}

Deno.test("collect() returns the gap `epoch` if another epoch has begun since prepare()", async () => {
  using setup = new Setup();
  const prepared = await setup.prepare("8-0");
  assert.equal(prepared.reason, undefined);
  setup.change();
  assert.deepEqual(setup.recovery.collect([prepared]), [
    { room: "chat", recovered: false, reason: "epoch", messages: [] },
  ]);
});

Deno.test("prepare() returns the gap `epoch` if another epoch begins while prepare() waits for the node to deliver the position", async () => {
  using setup = new Setup();
  const preparing = setup.prepare("15-0");
  await pauseFor(20);
  setup.change();
  assert.equal((await preparing).reason, "epoch");
});

Deno.test("prepare() returns the gap `epoch` if another epoch begins while the history is read", async () => {
  using setup = new Setup();
  setup.ring.reset("9-0");
  setup.read = () => {
    setup.change();
    return Promise.resolve(page({ end: "9-0", ids: ["9-0"] }));
  };
  assert.equal((await setup.prepare("8-0")).reason, "epoch");
});

Deno.test("if this node has not delivered the message at the position, prepare() waits until the epoch is confirmed", async () => {
  using setup = new Setup();
  setup.state.confirmed = false;
  let isPrepared = false;
  const preparing = setup.prepare("8-0").then((prepared) => {
    isPrepared = true;
    return prepared;
  });
  await pauseFor(100);
  assert.equal(isPrepared, false);
  setup.state.confirmed = true;
  setup.head.moved();
  assert.equal((await preparing).reason, undefined);
});

Deno.test("prepare() rejects if the log cannot be reached and this node has not delivered the messages up to the position", async () => {
  using setup = new Setup();
  const error = new ApiError("log_unreachable", "Cannot reach the log: down");
  setup.probe = () => Promise.reject(error);
  await assert.rejects(setup.prepare("15-0"), error);
});

Deno.test("readAfter() discards the first page if the history was trimmed beyond that page", async () => {
  const pages = [
    page({ end: "3-0", ids: ["2-0", "3-0"], more: true }),
    page({ end: "9-0", ids: ["8-0", "9-0"], completeSince: "7-0" }),
  ];
  const history = {
    read: () => Promise.resolve(pages.shift()),
  } as unknown as History;
  const read = await readAfter(history, "first", "chat", "1-0", () => false);
  assert.deepEqual(read.entries.map(({ id }) => id), ["8-0", "9-0"]);
  assert.equal(read.since, "7-0");
  assert.equal(read.end, "9-0");
});

Deno.test("SharedReads repeats a read for one client alone if the shared read failed because another client needs more messages", async () => {
  const memory = makeReplayMemory();
  const reads = new SharedReads({
    history: { read: () => Promise.reject(new Error("no pages are read")) },
    limit: new Limit(4),
    memory,
    isContinued: () => Promise.resolve(true),
  });
  const hold = memory.hold(() => true);
  const froms: string[] = [];
  const read = (from: string) => {
    froms.push(from);
    const since = from === "1-0" ? undefined : from;
    return Promise.resolve({ entries: [], since, end: "9-0" });
  };
  const results = await soon(
    Promise.all([
      reads.read("chat", "5-0", read, hold),
      reads.read("chat", "1-0", read, hold),
    ]),
    "both are read",
  );
  reads.close();
  memory.close();
  assert.deepEqual(results.map(({ since }) => since), ["5-0", undefined]);
  assert.deepEqual(froms, ["1-0", "5-0"]);
});
