import assert from "node:assert/strict";
import { BridgeHealth } from "../../../lib/bridge/health.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";

function create(): { health: BridgeHealth; observed: Observation[] } {
  const observed: Observation[] = [];
  return { health: new BridgeHealth((one) => observed.push(one)), observed };
}

Deno.test("BridgeHealth reports bridge_stuck only for the first part that fails, and bridge_recovered when all failed parts have succeeded", () => {
  const { health, observed } = create();
  health.failed("append", new Error("full"));
  health.failed("append", new Error("full"));
  health.failed("heartbeat", "away");
  health.succeeded("append");
  assert.deepEqual(observed, [{ kind: "bridge_stuck", why: "full" }]);
  health.succeeded("heartbeat", "resume");
  assert.deepEqual(observed.slice(1), [{ kind: "bridge_recovered" }]);
});

Deno.test("BridgeHealth reports a failure, unless the failure is that Redis is unreachable", () => {
  const { health, observed } = create();
  const outage = new ApiError("log_unreachable", "away");
  health.failed("heartbeat", outage);
  health.failed("append", outage);
  assert.equal(health.canAppend, false);
  health.succeeded("heartbeat", "append");
  assert.deepEqual(observed, []);
  health.failed("heartbeat", outage);
  health.failed("append", new ApiError("log_full", "full"));
  health.failed("append", outage);
  health.succeeded("heartbeat");
  assert.deepEqual(observed, [{ kind: "bridge_stuck", why: "full" }]);
  health.succeeded("append");
  assert.deepEqual(observed.slice(1), [{ kind: "bridge_recovered" }]);
});

Deno.test("BridgeHealth reports nothing while every part succeeds", () => {
  const { health, observed } = create();
  health.succeeded("heartbeat");
  health.succeeded("append");
  assert.deepEqual(observed, []);
});

Deno.test("BridgeHealth.canAppend is true if no part, or only the heartbeat or the subscription, has failed", () => {
  const { health } = create();
  assert.equal(health.canAppend, true);
  health.failed("heartbeat", "away");
  health.failed("subscribe", "away");
  assert.equal(health.canAppend, true);
  health.failed("resume", "away");
  assert.equal(health.canAppend, false);
  health.succeeded("resume");
  assert.equal(health.canAppend, true);
});
