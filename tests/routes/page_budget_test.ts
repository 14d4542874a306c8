import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { connect, type Socket } from "node:net";
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
