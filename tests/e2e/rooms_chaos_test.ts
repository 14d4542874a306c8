/** A short form of the test of `deno task chaos` in which clients join and leave. */
import assert from "node:assert/strict";
import { disturbRooms } from "../support/rooms_chaos.ts";

Deno.test("answered joins and leaves still apply after a reconnect to another node while nodes are killed and drained", async () => {
  const { joins, returns, recovered, wrong } = await disturbRooms({
    seconds: 15,
  });
  assert.deepEqual(wrong, []);
  assert.ok(joins > 100 && returns > 5, `${joins} joins, ${returns} returns`);
  assert.equal(recovered, returns);
});
