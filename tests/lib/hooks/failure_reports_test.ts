import assert from "node:assert/strict";
import { FailureReports } from "../../../lib/hooks/failure_reports.ts";
import { until } from "../../support/wait.ts";

Deno.test("FailureReports reports a reason at once, and then the number of calls once in each interval", async () => {
  const lines: string[] = [];
  const reports = new FailureReports(
    (...line) => void lines.push(line.join(" ")),
    50,
  );
  reports.add("invalid", "no JSON");
  for (let calls = 0; calls < 4; calls++) reports.add("timeout", "slow");
  assert.deepEqual(lines, ["invalid no JSON 1", "timeout slow 1"]);
  await until("the repeats are reported", () => lines.length > 2);
  assert.deepEqual(lines.slice(2), ["timeout slow 3"]);
  reports.add("timeout", "slow");
  // The other reason was forgotten, because it had no calls in the interval.
  reports.add("invalid", "no JSON");
  assert.deepEqual(lines.slice(3), ["invalid no JSON 1"]);
  await until("the next interval is over", () => lines.length > 4);
  assert.deepEqual(lines.slice(4), ["timeout slow 1"]);
  reports.close();
  reports.add("timeout", "another");
  assert.equal(lines.length, 5);
});

Deno.test("FailureReports reports all reasons beyond ten of an outcome together, and hides no other outcome", () => {
  const lines: string[] = [];
  const reports = new FailureReports((outcome, why) =>
    void lines.push(`${outcome} ${why}`)
  );
  for (let status = 500; status < 520; status++) {
    reports.add("bad_status", `${status}`);
  }
  reports.add("unreachable", "connection refused");
  reports.close();
  const expected = Array.from(
    { length: 11 },
    (_, i) => `bad_status ${500 + i}`,
  );
  assert.deepEqual(lines, [...expected, "unreachable connection refused"]);
});
