/** A short form of what `deno task chaos` does to clients that join and leave. */
import assert from "node:assert/strict";
import { disturbRooms } from "../support/rooms_chaos.ts";

Deno.test("clients join and leave while nodes are killed and drained: what each was told of its rooms holds on the next node", async () => {
  const { joins, returns, recovered, wrong } = await disturbRooms({
    seconds: 15,
  });
  assert.deepEqual(wrong, []);
  assert.ok(joins > 100 && returns > 5, `${joins} joins, ${returns} returns`);
  assert.equal(recovered, returns);
});
