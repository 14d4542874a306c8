import assert from "node:assert/strict";
import { CallQueue, QueueError } from "../../../lib/hooks/call_queue.ts";
import { soon } from "../../support/wait.ts";

const OPTIONS = {
  runningMax: 2,
  waitingMax: 6,
  waitingPerCallerMax: 4,
  bytesMax: 1000,
  waitMs: 10_000,
};

/** A queue whose calls end when the test says so. */
class Setup implements Disposable {
  readonly queue: CallQueue;
  readonly started: string[] = [];
  readonly #ends: (() => void)[] = [];
  readonly errors: string[] = [];

  constructor(options: Partial<typeof OPTIONS> = {}) {
    this.queue = new CallQueue({ ...OPTIONS, ...options });
  }

  call(caller: string, bytes = 1): Promise<void> {
    return this.queue.run({ caller, bytes }, () => {
      this.started.push(caller);
      return new Promise<void>((resolve) => this.#ends.push(resolve));
    }).catch((error) => {
      assert.ok(error instanceof QueueError);
      this.errors.push(`${caller}: ${error.message}`);
    });
  }

  /** Ends the oldest call that runs. */
  async end(): Promise<void> {
    this.#ends.shift()?.();
    for (let i = 0; i < 10; i++) await Promise.resolve();
  }

  [Symbol.dispose](): void {
    this.queue.close();
  }
}

Deno.test("close() refuses the calls that wait", async () => {
  using setup = new Setup();
  const calls = ["a", "a", "a", "b"].map((caller) => setup.call(caller));
  setup.queue.close();
  await soon(Promise.all(calls.slice(2)), "the calls that wait are refused");
  assert.deepEqual(setup.errors, [
    "a: the node is stopping",
    "b: the node is stopping",
  ]);
  assert.equal(setup.queue.waiting, 0);
});

Deno.test("CallQueue runs no more calls at a time than allowed, and then those that wait", async () => {
  using setup = new Setup();
  for (const caller of ["a", "b", "c"]) void setup.call(caller);
  await Promise.resolve();
  assert.deepEqual(setup.started, ["a", "b"]);
  assert.deepEqual([setup.queue.running, setup.queue.waiting], [2, 1]);
  await setup.end();
  assert.deepEqual(setup.started, ["a", "b", "c"]);
  await setup.end();
  await setup.end();
  assert.deepEqual([setup.queue.running, setup.queue.waiting], [0, 0]);
});

Deno.test("CallQueue gives callers turns, however many calls one of them has", async () => {
  using setup = new Setup({ runningMax: 1 });
  for (const caller of ["a", "a", "a", "a", "b", "c"]) void setup.call(caller);
  await Promise.resolve();
  for (let i = 0; i < 6; i++) await setup.end();
  assert.equal(setup.started.join(""), "aabcaa");
});

Deno.test("CallQueue refuses calls beyond its limits: in all, of one caller and in bytes", async () => {
  using setup = new Setup();
  void setup.call("x");
  void setup.call("x");
  for (let i = 0; i < 5; i++) void setup.call("a");
  await soon(setup.call("big", 997), "the refusal");
  void setup.call("b");
  void setup.call("c");
  await soon(setup.call("d"), "the refusal");
  const full = "too many calls wait";
  assert.deepEqual(
    setup.errors.sort(),
    [`a: ${full}`, `big: ${full}`, `d: ${full}`],
  );
  assert.equal(setup.queue.waiting, 6);
});

Deno.test("CallQueue refuses a call that has waited too long, and never makes it", async () => {
  using setup = new Setup({ runningMax: 1, waitMs: 30 });
  void setup.call("x");
  const [a, b] = [setup.call("a"), setup.call("b")];
  await soon(Promise.all([a, b]), "the refusals");
  assert.deepEqual(setup.errors, [
    "a: no call was free within 30 ms",
    "b: no call was free within 30 ms",
  ]);
  assert.equal(setup.queue.waiting, 0);
  void setup.call("c");
  await setup.end();
  assert.deepEqual(setup.started, ["x", "c"]);
});

Deno.test("CallQueue goes on after calls that fail", async () => {
  using setup = new Setup({ runningMax: 1 });
  const failed = setup.queue.run(
    { caller: "a", bytes: 1 },
    () => Promise.reject(new Error("broken")),
  );
  void setup.call("b");
  await assert.rejects(failed, /broken/);
  await setup.end();
  assert.deepEqual(setup.started, ["b"]);
});
