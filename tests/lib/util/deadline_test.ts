import assert from "node:assert/strict";
import {
  deadline,
  DeadlineError,
  pause,
  TimeoutList,
} from "../../../lib/util/deadline.ts";
import { until } from "../../support/wait.ts";

Deno.test("deadline() settles as its promise does if the promise settles before the timeout", async () => {
  assert.equal(await deadline(Promise.resolve(5), 10_000, "it"), 5);
  const error = new Error("broken");
  await assert.rejects(deadline(Promise.reject(error), 10_000, "it"), error);
});

Deno.test("deadline() rejects after its timeout with a message that names what was waited for", async () => {
  const never = Promise.withResolvers<void>();
  const start = performance.now();
  await assert.rejects(deadline(never.promise, 30, "asking Redis"), (error) => {
    assert.ok(error instanceof DeadlineError);
    assert.equal(error.name, "DeadlineError");
    assert.equal(error.message, "asking Redis: no answer in 30 ms");
    return true;
  });
  assert.ok(performance.now() - start >= 29);
});

Deno.test("deadline() ignores a rejection of its promise after the timeout", async () => {
  const late = Promise.withResolvers<void>();
  await assert.rejects(deadline(late.promise, 1, "it"), DeadlineError);
  const unhandled: unknown[] = [];
  const note = (event: PromiseRejectionEvent): void => {
    event.preventDefault();
    unhandled.push(event.reason);
  };
  globalThis.addEventListener("unhandledrejection", note);
  late.reject(new Error("too late"));
  // Unhandled rejections are reported between turns of the event loop.
  for (let turn = 0; turn < 3; turn++) {
    await new Promise((resolve) => setTimeout(resolve));
  }
  globalThis.removeEventListener("unhandledrejection", note);
  assert.deepEqual(unhandled, []);
});

Deno.test("pause() resolves after the given time, or as soon as its signal is aborted", async () => {
  const start = performance.now();
  await pause(20, new AbortController().signal);
  assert.ok(performance.now() - start >= 19);
  await pause(20);
  assert.ok(performance.now() - start >= 38);

  await pause(3_600_000, AbortSignal.abort());
  const controller = new AbortController();
  const paused = pause(3_600_000, controller.signal);
  controller.abort();
  await paused;
});

Deno.test("TimeoutList calls onTimeout in order for each item that is not removed in time", async () => {
  const over: [string, number][] = [];
  const start = performance.now();
  const list = new TimeoutList<string>(
    60,
    (name) => over.push([name, performance.now() - start]),
  );
  const [, b, c] = ["a", "b", "c", "d"].map((name) => list.add(name));
  assert.ok(b && c);
  list.remove(b);
  list.remove(b);
  await pause(30, new AbortController().signal);
  list.remove(c);
  list.add("c");
  await pause(120, new AbortController().signal);
  assert.deepEqual(over.map(([name]) => name), ["a", "d", "c"]);
  for (const [name, ms] of over) assert.ok(ms >= (name === "c" ? 88 : 58));
  // Without timeouts it has no timer, so the next one must start it again.
  list.add("e");
  await pause(90, new AbortController().signal);
  assert.equal(over.at(-1)?.[0], "e");
});

Deno.test("TimeoutList lets other work go on between timeouts that end at the same time", async () => {
  const ended: number[] = [];
  let endedBefore: number | undefined;
  const list = new TimeoutList<number>(1, (item) => {
    if (item === 0) setTimeout(() => endedBefore = ended.length, 0);
    ended.push(item);
  });
  const items = Array.from({ length: 100 }, (_, item) => item);
  for (const item of items) list.add(item);
  await until("all have ended", () => ended.length === items.length);
  assert.deepEqual(ended, items);
  assert.ok(endedBefore !== undefined && endedBefore < 50, `${endedBefore}`);
});

Deno.test("TimeoutList ends timeouts ten at a time, 20 ms apart, if they may be late", async () => {
  const ended: number[] = [];
  const list = new TimeoutList<number>(
    1,
    () => ended.push(performance.now()),
    60_000,
  );
  for (let item = 0; item < 45; item++) list.add(item);
  await until("all have ended", () => ended.length === 45);
  const pauses = ended.slice(1).map((at, i) => at - (ended[i] ?? 0));
  for (const next of [10, 20, 30, 40]) {
    // A timer may be up to 1 ms early.
    assert.ok((pauses[next - 1] ?? 0) >= 18, `${next}: ${pauses[next - 1]} ms`);
  }
});

Deno.test("TimeoutList no longer waits between timeouts that are later than they may be", async () => {
  const ended: number[] = [];
  const list = new TimeoutList<number>(
    1,
    (item) => ended.push(item),
    50,
  );
  const start = performance.now();
  const items = Array.from({ length: 2000 }, (_, item) => item);
  for (const item of items) list.add(item);
  await until("all have ended", () => ended.length === items.length);
  assert.deepEqual(ended, items);
  // With 20 ms between all of them, they would take 4 s.
  const ms = performance.now() - start;
  assert.ok(ms < 3000, `${ms} ms`);
});

Deno.test("TimeoutList.close() leaves no timer, even if onTimeout has added an item", async () => {
  const added = Promise.withResolvers<void>();
  const list = new TimeoutList<string>(20, () => {
    list.add("next");
    added.resolve();
  });
  list.add("first");
  await added.promise;
  // Deno's test runner reports a timer that is left.
  list.close();
});

Deno.test("TimeoutList.remove() removes a timeout at the beginning, in the middle and at the end of the list", async () => {
  const list = new TimeoutList<number>(1, () => {});
  const waits = [0, 1, 2, 3].map((number) => list.add(number));
  for (const place of [1, 0, 3, 2]) {
    const wait = waits[place];
    assert.ok(wait);
    list.remove(wait);
    assert.equal(wait.before ?? wait.after, undefined);
    assert.ok(
      !waits.some(({ before, after }) => before === wait || after === wait),
    );
  }
  // Wait until its timer has expired.
  await pause(20, new AbortController().signal);
});

Deno.test("TimeoutList iterates over all items even if the caller removes the current item", () => {
  const list = new TimeoutList<string>(3_600_000, () => {});
  const timeouts = new Map(
    ["a", "b", "c"].map((item) => [item, list.add(item)]),
  );
  const seen: string[] = [];
  for (const item of list) {
    seen.push(item);
    const timeout = timeouts.get(item);
    if (item !== "b" && timeout !== undefined) list.remove(timeout);
  }
  assert.deepEqual(seen, ["a", "b", "c"]);
  assert.deepEqual([...list], ["b"]);
  list.close();
});
