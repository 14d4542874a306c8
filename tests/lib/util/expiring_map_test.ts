import assert from "node:assert/strict";
import { ExpiringMap } from "../../../lib/util/expiring_map.ts";
import { collectGarbage } from "../../support/collect_garbage.ts";
import { until } from "../../support/wait.ts";

Deno.test("ExpiringMap keeps a value until `keepMs` after the value's work is done", async () => {
  const map = new ExpiringMap<string, number>(50);
  const { promise, resolve } = Promise.withResolvers<void>();
  map.set("x", 1, promise);
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.equal(map.get("x"), 1);
  resolve();
  await promise;
  const done = performance.now();
  await until("it is gone", () => map.get("x") === undefined);
  assert.ok(performance.now() - done > 40);
});

Deno.test("ExpiringMap deletes a value as soon as its work rejects", async () => {
  const map = new ExpiringMap<string, number>(60_000);
  map.set("x", 1, Promise.reject(new Error("failed")));
  assert.equal(map.get("x"), 1);
  await until("it is gone", () => map.get("x") === undefined);
});

Deno.test("ExpiringMap does not delete a new value of a key when the time of the old value ends", async () => {
  const map = new ExpiringMap<string, number>(20);
  const { promise, resolve } = Promise.withResolvers<void>();
  map.set("x", 1, Promise.resolve());
  map.set("x", 2, promise);
  map.delete("x", 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(map.get("x"), 2);
  map.delete("x", 2);
  assert.equal(map.get("x"), undefined);
  resolve();
  map.close();
});

Deno.test("ExpiringMap.close() deletes all values, and set() does nothing afterwards", async () => {
  const map = new ExpiringMap<string, number>(60_000);
  const { promise, resolve } = Promise.withResolvers<void>();
  map.set("done", 1, Promise.resolve());
  map.set("running", 2, promise);
  await new Promise((resolve) => setTimeout(resolve, 0));
  map.close();
  resolve();
  map.set("late", 3, Promise.resolve());
  await new Promise((resolve) => setTimeout(resolve, 0));
  for (const key of ["done", "running", "late"]) {
    assert.equal(map.get(key), undefined);
  }
});

Deno.test("ExpiringMap keeps nothing of a value in memory that is deleted before its time", async () => {
  const map = new ExpiringMap<string, object>(60_000);
  const value = new WeakRef({});
  map.set("x", value.deref() ?? {}, Promise.resolve());
  await collectGarbage();
  assert.ok(map.get("x") !== undefined, "its time has not ended");
  map.delete("x", value.deref() ?? {});
  assert.equal(map.get("x"), undefined);
  await collectGarbage();
  assert.equal(value.deref(), undefined);
});
