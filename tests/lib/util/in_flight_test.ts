import assert from "node:assert/strict";
import { InFlight } from "../../../lib/util/in_flight.ts";

const HOUR_MS = 3_600_000;

Deno.test("InFlight.settled() resolves at once if no work is in flight", async () => {
  await new InFlight().settled(HOUR_MS);
});

Deno.test("InFlight.run() settles as its work does", async () => {
  const inFlight = new InFlight();
  assert.equal(await inFlight.run(() => Promise.resolve(5)), 5);
  const error = new Error("broken");
  await assert.rejects(inFlight.run(() => Promise.reject(error)), error);
  await assert.rejects(
    inFlight.run(() => {
      throw error;
    }),
    error,
  );
  await inFlight.settled(HOUR_MS);
});

Deno.test("InFlight.settled() waits for all work in flight, including work that fails", async () => {
  const inFlight = new InFlight();
  const works = [1, 2, 3].map(() => Promise.withResolvers<void>());
  const runs = works.map(({ promise }) => inFlight.run(() => promise));
  let done = false;
  const settled = inFlight.settled(HOUR_MS).then(() => done = true);
  works[1]?.resolve();
  works[0]?.reject(new Error("broken"));
  await Promise.allSettled(runs.slice(0, 2));
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(done, false);
  works[2]?.resolve();
  await settled;
});

Deno.test("InFlight.settled() resolves after its timeout if work is still in flight", async () => {
  const inFlight = new InFlight();
  const work = Promise.withResolvers<void>();
  const run = inFlight.run(() => work.promise);
  const start = performance.now();
  await inFlight.settled(30);
  assert.ok(performance.now() - start >= 29);
  work.resolve();
  await run;
});
