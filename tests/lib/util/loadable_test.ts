import assert from "node:assert/strict";
import { Loadable } from "../../../lib/util/loadable.ts";

Deno.test("whenLoaded() waits, and rejects after the timeout", async () => {
  const error = new Error("not loaded");
  const data = new Loadable(() => error);
  await assert.rejects(data.whenLoaded(5), error);
  const waiting = data.whenLoaded(1000);
  assert.equal(data.isLoaded, false);
  data.loaded();
  await waiting;
  await data.whenLoaded(0);
  assert.equal(data.isLoaded, true);
});
