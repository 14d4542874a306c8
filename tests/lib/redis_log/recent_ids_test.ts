import assert from "node:assert/strict";
import { RecentIds } from "../../../lib/redis_log/recent_ids.ts";

Deno.test("RecentIds.add() removes the oldest id when RecentIds has more ids than its maximum", () => {
  const ids = new RecentIds(2);
  for (const id of ["1-0", "2-0", "3-0"]) ids.add(id);
  assert.deepEqual(["1-0", "2-0", "3-0"].map((id) => ids.has(id)), [
    false,
    true,
    true,
  ]);
});
