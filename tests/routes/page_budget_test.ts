import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { connect, type Socket } from "node:net";
import type { History } from "../../lib/log/log.ts";
import type { Observation } from "../../lib/observer.ts";
import { PageBudget } from "../../routes/page_budget.ts";
import { TestApp } from "../support/app.ts";
import { pauseFor, until } from "../support/wait.ts";

/** A connection that sends nothing. */
class FakeSocket extends EventEmitter {
  destroyed = false;

  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
}

/** Begins to send a page of `length` characters on a connection. */
function send(
  budget: PageBudget,
  socket: FakeSocket,
  length: number,
): EventEmitter {
  const response = Object.assign(new EventEmitter(), {
    req: { socket: socket as unknown as Socket },
  });
  budget.hold(response, length);
  return response;
}

Deno.test("PageBudget counts a page until its response is sent or its connection is closed, and each once", () => {
  const budget = new PageBudget(() => {}, {
    lengthMax: 100,
    stalledMs: 10_000,
  });
  const socket = new FakeSocket();
  const [first, second] = [send(budget, socket, 30), send(budget, socket, 20)];
  assert.equal(budget.length, 50);
  first.emit("close");
  assert.equal(budget.length, 20);
  socket.destroy();
  assert.equal(budget.length, 0);
  second.emit("close");
  assert.equal(budget.length, 0);
  send(budget, socket, 60);
  assert.equal(budget.length, 0, "the client is gone");
});

/** Reads of pages, which end when the test says so. */
class Reads {
  readonly begun: string[] = [];
  readonly #ends: (() => void)[] = [];
  #endAtOnce = false;

  /** Starts to read a page for a connection. Resolves to `name`, or to the code of the error. */
  start(budget: PageBudget, socket: FakeSocket, name: string): Promise<string> {
    const response = Object.assign(new EventEmitter(), {
      req: { socket: socket as unknown as Socket },
    });
    return budget.read(response, () => {
      this.begun.push(name);
      return new Promise<string>((resolve) => {
        if (this.#endAtOnce) resolve(name);
        else this.#ends.push(() => resolve(name));
      });
    }).catch(({ code }) => code);
  }

  /** Starts reads for new connections, one for each of these names. */
  startAll(budget: PageBudget, names: readonly string[]): Promise<string>[] {
    return names.map((name) => this.start(budget, new FakeSocket(), name));
  }

  /** Ends the oldest read, and lets what waits for it begin. */
  async end(): Promise<void> {
    this.#ends.shift()?.();
    await pauseFor(0);
  }

  /** Ends all reads, those that begin later at once. */
  endAll(): void {
    this.#endAtOnce = true;
    for (const end of this.#ends) end();
  }
}

const FOUR = [..."abcd"];

Deno.test("PageBudget reads four pages at a time, and one for each connection", async () => {
  const budget = new PageBudget(() => {});
  const reads = new Reads();
  const hog = new FakeSocket();
  const names = ["hog 1", "hog 2", "hog 3"];
  const results = names.map((name) => reads.start(budget, hog, name));
  results.push(...reads.startAll(budget, FOUR));
  await pauseFor(0);
  assert.deepEqual(reads.begun, ["hog 1", ...FOUR.slice(0, 3)]);
  await reads.end();
  assert.deepEqual(reads.begun.slice(4), ["d"]);
  await reads.end();
  assert.deepEqual(reads.begun.slice(5), ["hog 2"]);
  reads.endAll();
  assert.deepEqual(await Promise.all(results), [...names, ...FOUR]);
});

Deno.test("PageBudget reads nothing for a connection that is closed, or if no memory is left", async () => {
  const budget = new PageBudget(() => {}, {
    lengthMax: 100,
    stalledMs: 10_000,
  });
  const reads = new Reads();
  const running = reads.startAll(budget, FOUR);
  const gone = new FakeSocket();
  const refused = [
    reads.start(budget, gone, "gone"),
    reads.start(budget, new FakeSocket(), "full"),
  ];
  gone.destroy();
  send(budget, new FakeSocket(), 100);
  reads.endAll();
  assert.deepEqual(await Promise.all(refused), [
    "malformed_request",
    "overloaded",
  ]);
  assert.deepEqual(await Promise.all(running), FOUR);
  assert.deepEqual(reads.begun, FOUR);
});

Deno.test("PageBudget refuses reads beyond a thousand that wait, and those that have waited too long", async () => {
  const budget = new PageBudget(() => {});
  const reads = new Reads();
  const running = reads.startAll(budget, FOUR);
  const waiting = reads.startAll(budget, Array(1000).fill("late"));
  const [beyond] = reads.startAll(budget, ["beyond"]);
  assert.equal(await beyond, "overloaded");
  const { now } = performance;
  try {
    performance.now = () => now.call(performance) + 5001;
    reads.endAll();
    const late = new Set(await Promise.all(waiting));
    assert.deepEqual(late, new Set(["overloaded"]));
  } finally {
    performance.now = now;
  }
  assert.deepEqual(await Promise.all(running), FOUR);
  assert.deepEqual(await Promise.all(reads.startAll(budget, ["z"])), ["z"]);
});

Deno.test("PageBudget listens once to each connection, however many pages it sends", () => {
  const budget = new PageBudget(() => {});
  const socket = new FakeSocket();
  for (let i = 0; i < 20; i++) send(budget, socket, 1).emit("close");
  assert.equal(socket.listenerCount("close"), 1);
});

Deno.test("PageBudget accepts one page of any length, and refuses others beyond the limit", () => {
  const budget = new PageBudget(() => {}, {
    lengthMax: 100,
    stalledMs: 10_000,
  });
  const large = send(budget, new FakeSocket(), 500);
  assert.throws(() => send(budget, new FakeSocket(), 1), {
    code: "overloaded",
  });
  large.emit("close");
  send(budget, new FakeSocket(), 100);
  assert.throws(() => send(budget, new FakeSocket(), 1), {
    code: "overloaded",
  });
  assert.equal(budget.length, 100);
});

Deno.test("PageBudget closes the connection that has made no progress for the longest time, if others need its memory", async () => {
  const observed: Observation[] = [];
  const budget = new PageBudget((seen) => observed.push(seen), {
    lengthMax: 100,
    stalledMs: 100,
  });
  const [stalled, reading, other] = [
    new FakeSocket(),
    new FakeSocket(),
    new FakeSocket(),
  ];
  send(budget, stalled, 40);
  const page = send(budget, reading, 20);
  send(budget, reading, 20);
  await pauseFor(120);
  page.emit("close");
  send(budget, other, 20);
  assert.equal(stalled.destroyed, false, "there was room");
  send(budget, other, 40);
  assert.deepEqual(
    [stalled, reading, other].map(({ destroyed }) => destroyed),
    [true, false, false],
  );
  assert.deepEqual(observed, [{ kind: "limited", limit: "history_pages" }]);
  assert.equal(budget.length, 80);
  assert.throws(() => send(budget, other, 40), { code: "overloaded" });
  assert.equal(reading.destroyed, false, "it has made progress");
});

Deno.test("a client that asks for many pages on one connection and reads none holds no more than the budget", async () => {
  const lengthMax = 32 << 20;
  const pages = new PageBudget(() => {}, { lengthMax, stalledMs: 200 });
  await using app = new TestApp({ MESSAGE_BYTES_MAX: "1048576" }, { pages });
  const message = "x".repeat(1_000_000);
  await app.post("/publish", { message });
  const port = await app.serve();
  const hog = connect(port, "127.0.0.1");
  hog.on("error", () => {});
  hog.pause();
  hog.write(
    "GET /rooms/chat/history HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(90),
  );
  // The system takes some of the pages.
  await until("pages are held", () => pages.length > lengthMax / 4);
  await pauseFor(300);
  assert.ok(pages.length > lengthMax / 4 && pages.length <= lengthMax);
  // The client that makes no progress is closed as soon as another needs its memory.
  const url = `http://127.0.0.1:${port}/rooms/chat/history`;
  const responses = await Promise.all(
    Array.from({ length: 30 }, async () => {
      const response = await fetch(url);
      await response.text();
      return response.status;
    }),
  );
  assert.deepEqual(new Set(responses), new Set([200]));
  await until("nothing is held", () => pages.length === 0);
  hog.destroy();
});

Deno.test("a node reads four pages at a time, however many HTTP clients ask", async () => {
  const gate = Promise.withResolvers<void>();
  let reading = 0, readingMax = 0;
  const read: History["read"] = async (room, range) => {
    readingMax = Math.max(readingMax, ++reading);
    await gate.promise;
    reading--;
    return await app.node.history.read(room, range);
  };
  const clear = () => Promise.resolve();
  await using app = new TestApp({}, { history: { read, clear } });
  const port = await app.serve();
  const responses = Promise.all(Array.from({ length: 10 }, async () => {
    const response = await fetch(
      `http://127.0.0.1:${port}/rooms/chat/history`,
    );
    await response.text();
    return response.status;
  }));
  await until("four pages are read", () => reading === 4);
  gate.resolve();
  assert.deepEqual(new Set(await responses), new Set([200]));
  assert.equal(readingMax, 4);
});
