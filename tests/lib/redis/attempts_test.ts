import assert from "node:assert/strict";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";
import { Attempts } from "../../../lib/redis/attempts.ts";

/** Attempts that record what is reported, and end as the test says. */
class Setup {
  readonly closing = new AbortController();
  readonly observed: Observation[] = [];
  readonly attempts = new Attempts(
    "testing",
    (observation) => void this.observed.push(observation),
    this.closing.signal,
  );

  run(error?: Error): Promise<boolean> {
    return this.attempts.run(() =>
      error === undefined ? Promise.resolve() : Promise.reject(error)
    );
  }
}

Deno.test("Attempts reports only the first of several failures in a row", async () => {
  const setup = new Setup();
  const errors = ["1", "2", "3"].map((text) => new Error(text));
  assert.equal(await setup.run(errors[0]), false);
  assert.equal(await setup.run(errors[1]), false);
  assert.equal(setup.attempts.isFailing, true);
  assert.equal(await setup.run(), true);
  assert.equal(setup.attempts.isFailing, false);
  await setup.run(errors[2]);
  assert.deepEqual(
    setup.observed,
    [errors[0], errors[2]].map((error) => ({
      kind: "error",
      where: "testing",
      error,
    })),
  );
});

Deno.test("Attempts reports neither outages of Redis nor failures after closing", async () => {
  const setup = new Setup();
  for (
    const code of ["log_unreachable", "log_loading", "log_timeout"] as const
  ) {
    assert.equal(
      await setup.run(new ApiError(code, "Cannot reach Redis")),
      false,
    );
    assert.equal(setup.attempts.isFailing, true);
    await setup.run();
  }
  setup.closing.abort();
  assert.equal(await setup.run(new Error("closed")), false);
  assert.deepEqual(setup.observed, []);
});
