import assert from "node:assert/strict";
import type { Observation } from "../../../lib/observer.ts";
import { ConnectionGroup, type Member } from "../../../lib/redis/group.ts";
import { until } from "../../support/wait.ts";

/** A fake connection, which the test establishes and loses. */
class Connection implements Member {
  client: unknown;
  resets = 0;

  constructor(readonly name: string, public runId = "a") {}

  reset(): void {
    this.resets++;
  }
}

/** A group of two fake connections, and the group's reports. */
class Stage implements Disposable {
  readonly reports: Observation[] = [];
  readonly one = new Connection("one");
  readonly two = new Connection("two");
  readonly group: ConnectionGroup;

  constructor(intervalMs?: number) {
    const observe = (report: Observation): void =>
      void this.reports.push(report);
    this.group = new ConnectionGroup(observe, intervalMs);
    this.group.add(this.one);
    this.group.add(this.two);
  }

  connect(...connections: Connection[]): void {
    for (const connection of connections) {
      connection.client = {};
      this.group.connected(connection);
    }
  }

  lose(...connections: Connection[]): void {
    for (const connection of connections) {
      connection.client = undefined;
      this.group.failed(`${connection.name} is lost`);
    }
  }

  /** The reports of the group: the kind of each, and for an outage the connections without a client and the reason. */
  get reported(): unknown[] {
    return this.reports.map((report) =>
      "connections" in report
        ? [report.kind, report.connections, report.why]
        : report.kind
    );
  }

  [Symbol.dispose](): void {
    this.group.delete(this.one);
    this.group.delete(this.two);
  }
}

Deno.test("ConnectionGroup reports redis_connected once, when all its connections are established", () => {
  using stage = new Stage();
  stage.connect(stage.one);
  assert.deepEqual(stage.reported, []);
  stage.connect(stage.two);
  assert.deepEqual(stage.reported, ["redis_connected"]);
});

Deno.test("ConnectionGroup reports an outage at once, again while the outage lasts, and when the outage has ended", async () => {
  using stage = new Stage(20);
  const { one, two } = stage;
  // As at a start without Redis: each connection fails again and again.
  for (let i = 0; i < 5; i++) stage.lose(one, two);
  assert.deepEqual(stage.reported, [
    ["redis_disconnected", ["one", "two"], "one is lost"],
  ]);
  await until("it is reported again", () => stage.reports.length > 2);
  assert.deepEqual(stage.reported[2], [
    "redis_disconnected",
    ["one", "two"],
    "two is lost",
  ]);
  const durations = stage.reports.map((report) =>
    "durationMs" in report ? report.durationMs : -1
  );
  assert.equal(durations[0], 0);
  assert.ok((durations[2] ?? 0) >= 39, String(durations));
  stage.connect(one);
  await until("only one is missing", () => {
    const last = stage.reported.at(-1);
    return Array.isArray(last) && String(last[1]) === "two";
  });
  stage.connect(two);
  // The timer has to end with the outage; otherwise the test runner reports it.
  assert.equal(stage.reported.at(-1), "redis_connected");
});

Deno.test("ConnectionGroup reports the end of an outage when the only connection without a Redis client is removed", async () => {
  using stage = new Stage(20);
  const { one, two, group } = stage;
  stage.connect(one, two);
  stage.lose(two);
  await until("the outage is reported twice", () => stage.reports.length > 2);
  group.delete(two);
  const reports = stage.reported.length;
  assert.equal(stage.reported.at(-1), "redis_connected");
  stage.lose(one);
  stage.connect(one);
  assert.equal(stage.reported.length, reports);
});

Deno.test("ConnectionGroup does not report a second outage that begins and ends within 5 s of the last report", () => {
  using stage = new Stage();
  const { one, two } = stage;
  stage.connect(one, two);
  for (let i = 0; i < 100; i++) {
    stage.lose(one, two);
    stage.connect(two, one);
  }
  assert.deepEqual(stage.reported, [
    "redis_connected",
    ["redis_disconnected", ["one"], "one is lost"],
    "redis_connected",
  ]);
});

Deno.test("ConnectionGroup closes the Redis clients that are connected to another server than the newest Redis client", () => {
  using stage = new Stage();
  const { one, two } = stage;
  stage.connect(one, two);
  assert.deepEqual([one.resets, two.resets], [0, 0]);
  two.runId = "b";
  stage.connect(two);
  assert.deepEqual([one.resets, two.resets], [1, 0]);
});

Deno.test("ConnectionGroup.missing contains the names of the connections that have no Redis client", () => {
  using stage = new Stage();
  assert.deepEqual(stage.group.missing, ["one", "two"]);
  stage.connect(stage.two);
  assert.deepEqual(stage.group.missing, ["one"]);
  stage.group.delete(stage.one);
  assert.deepEqual(stage.group.missing, []);
});
