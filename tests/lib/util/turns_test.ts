import assert from "node:assert/strict";
import { KeyedTurns, Limit } from "../../../lib/util/turns.ts";
import { soon } from "../../support/wait.ts";

/** Makes pieces of work. Each one records its start and its end, and ends when the test calls its function in `end`. */
class Work {
  readonly notes: string[] = [];
  readonly end: ((error?: Error) => void)[] = [];

  run(name: string): () => Promise<string> {
    return () => {
      this.notes.push(`+${name}`);
      return new Promise((resolve, reject) =>
        this.end.push((error) => {
          this.notes.push(`-${name}`);
          if (error === undefined) resolve(name);
          else reject(error);
        })
      );
    };
  }
}

/** Resolves after all callbacks that are ready to run have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("KeyedTurns runs work with the same key one after the other, and work with different keys at the same time", async () => {
  const turns = new KeyedTurns(), work = new Work();
  const results = Promise.all([
    turns.run("x", work.run("x1")),
    turns.run("x", work.run("x2")),
    turns.run("y", work.run("y1")),
  ]);
  await settled();
  assert.deepEqual(work.notes, ["+x1", "+y1"]);
  work.end.shift()?.();
  await settled();
  assert.deepEqual(work.notes, ["+x1", "+y1", "-x1", "+x2"]);
  work.end.forEach((end) => end());
  assert.deepEqual(await soon(results, "done"), ["x1", "x2", "y1"]);
});

Deno.test("KeyedTurns starts the first work of a key synchronously", () => {
  const turns = new KeyedTurns(), work = new Work();
  void turns.run("x", work.run("x1"));
  assert.deepEqual(work.notes, ["+x1"]);
});

Deno.test("KeyedTurns runs the next work of a key after work that fails", async () => {
  const turns = new KeyedTurns(), work = new Work();
  const failing = turns.run("x", work.run("x1"));
  const next = turns.run("x", work.run("x2"));
  work.end.shift()?.(new Error("x1"));
  await assert.rejects(soon(failing, "failed"), /x1/);
  await settled();
  work.end.shift()?.();
  assert.equal(await soon(next, "done"), "x2");
});

Deno.test("Limit runs work in the order of the calls, at most the given number of pieces at a time", async () => {
  const limit = new Limit(2), work = new Work();
  const results = Promise.all(
    ["a", "b", "c", "d"].map((name) => limit.run(work.run(name))),
  );
  await settled();
  assert.deepEqual(work.notes, ["+a", "+b"]);
  assert.equal(limit.waiting, 2);
  work.end[1]?.();
  await settled();
  assert.deepEqual(work.notes, ["+a", "+b", "-b", "+c"]);
  work.end[0]?.();
  await settled();
  assert.equal(limit.waiting, 0);
  work.end[2]?.();
  work.end[3]?.();
  assert.deepEqual(await soon(results, "done"), ["a", "b", "c", "d"]);
});

Deno.test("Limit runs the next work after work that rejects or throws", async () => {
  const limit = new Limit(1);
  const fail = (): Promise<never> => {
    throw new Error("thrown");
  };
  await assert.rejects(limit.run(fail), /thrown/);
  await assert.rejects(
    limit.run(() => Promise.reject(new Error("rejected"))),
    /rejected/,
  );
  assert.equal(await limit.run(() => Promise.resolve(1)), 1);
});

Deno.test("KeyedTurns forgets a key when its last work is done", async () => {
  const turns = new KeyedTurns();
  await turns.run("a", () => Promise.resolve());
  let isStarted = false;
  const again = turns.run("a", () => {
    isStarted = true;
    return Promise.resolve();
  });
  assert.equal(isStarted, true, "nothing is left to wait for");
  await again;
});
