import assert from "node:assert/strict";
import { Follower } from "../../../lib/cluster/follower.ts";
import type { Observation } from "../../../lib/observer.ts";
import { soon, until } from "../../support/wait.ts";

/** A follower whose looks end when the test says so. */
class Setup implements Disposable {
  /** The looks that have begun, oldest first. */
  readonly looks: PromiseWithResolvers<void>[] = [];
  readonly observed: Observation[] = [];
  isLoaded = true;
  readonly follower = new Follower({
    look: () => {
      const look = Promise.withResolvers<void>();
      this.looks.push(look);
      return look.promise;
    },
    isLoaded: () => this.isLoaded,
    where: "testing",
    observe: (observation) => void this.observed.push(observation),
  });

  /** Waits until the look with this number has begun; the first has the number 1. */
  async begun(number: number): Promise<void> {
    await until(`look ${number} begins`, () => this.looks.length >= number);
  }

  end(number: number): void {
    this.looks[number - 1]?.resolve();
  }

  [Symbol.dispose](): void {
    this.follower.close();
    for (const look of this.looks) look.resolve();
  }
}

Deno.test("Follower.look() resolves when a look has ended that began after the call", async () => {
  using setup = new Setup();
  const { follower } = setup;
  follower.start();
  await setup.begun(1);
  let isDone = false;
  const looked = follower.look().then(() => isDone = true);
  setup.end(1);
  await setup.begun(2);
  assert.equal(isDone, false);
  setup.end(2);
  await soon(looked, "the second look has ended");
});

Deno.test("Follower.wake() during a look causes another look", async () => {
  using setup = new Setup();
  setup.follower.start();
  await setup.begun(1);
  setup.follower.wake();
  const start = performance.now();
  setup.end(1);
  await setup.begun(2);
  // Not after the usual 2 s.
  assert.ok(performance.now() - start < 1500);
});

Deno.test("Follower looks again soon after a failure until it has loaded the store once", async () => {
  using setup = new Setup();
  setup.isLoaded = false;
  setup.follower.start();
  for (const number of [1, 2, 3]) {
    await setup.begun(number);
    setup.looks[number - 1]?.reject(new Error("failed"));
  }
  await setup.begun(4);
  assert.deepEqual(
    setup.observed.map(({ kind }) => kind),
    ["error"],
  );
});

Deno.test("Follower.close() settles the callers that wait for a look, and no further look begins", async () => {
  using setup = new Setup();
  const { follower } = setup;
  follower.start();
  await setup.begun(1);
  const waiting = follower.look();
  follower.close();
  await soon(waiting, "the caller no longer waits");
  setup.end(1);
  await soon(follower.look(), "a later caller does not wait");
  assert.equal(setup.looks.length, 1);
});
