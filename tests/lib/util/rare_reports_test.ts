import assert from "node:assert/strict";
import { RareReports } from "../../../lib/util/rare_reports.ts";
import { pauseFor, until } from "../../support/wait.ts";

Deno.test("RareReports reports the first event of each subject at once, and all others together after the interval", async () => {
  const reported: string[] = [];
  const reports = new RareReports(
    (subject, count) => reported.push(`${subject} ${count}`),
    50,
  );
  for (const subject of ["a", "a", "b", "a"]) reports.add(subject);
  assert.deepEqual(reported, ["a 1", "b 1"]);
  await until("the others are reported", () => reported.length === 3);
  assert.deepEqual(reported[2], "a 2");
  await pauseFor(120);
  assert.equal(reported.length, 3, "nothing is reported if nothing happens");
  assert.deepEqual(reports.subjects, [], "all subjects are forgotten");
  reports.add("a");
  assert.deepEqual(reported[3], "a 1");
  reports.close();
});

Deno.test("RareReports.close() stops its timers", () => {
  const reported: number[] = [];
  const reports = new RareReports((_, count) => reported.push(count));
  for (let i = 0; i < 5; i++) reports.add("a");
  reports.close();
  reports.add("b");
  assert.deepEqual(reported, [1]);
});
