import assert from "node:assert/strict";
import { InFlight } from "../../../lib/util/in_flight.ts";

const HOUR_MS = 3_600_000;

Deno.test("UnderWay is settled at once when nothing is under way", async () => {
  await new InFlight().settled(HOUR_MS);
});

Deno.test("UnderWay.run() answers and throws as the work does", async () => {
  const underWay = new InFlight();
  assert.equal(await underWay.run(() => Promise.resolve(5)), 5);
  const error = new Error("broken");
  await assert.rejects(underWay.run(() => Promise.reject(error)), error);
  await assert.rejects(
    underWay.run(() => {
      throw error;
    }),
    error,
  );
  await underWay.settled(HOUR_MS);
});

Deno.test("UnderWay.settled() waits for all work, also for what fails", async () => {
  const underWay = new InFlight();
  const works = [1, 2, 3].map(() => Promise.withResolvers<void>());
  const runs = works.map(({ promise }) => underWay.run(() => promise));
  let done = false;
  const settled = underWay.settled(HOUR_MS).then(() => done = true);
  works[1]?.resolve();
  works[0]?.reject(new Error("broken"));
  await Promise.allSettled(runs.slice(0, 2));
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(done, false);
  works[2]?.resolve();
  await settled;
});

Deno.test("UnderWay.settled() waits no longer than it is told", async () => {
  const underWay = new InFlight();
  const work = Promise.withResolvers<void>();
  const run = underWay.run(() => work.promise);
  const start = performance.now();
  await underWay.settled(30);
  assert.ok(performance.now() - start >= 29);
  work.resolve();
  await run;
});
