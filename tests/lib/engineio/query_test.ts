import assert from "node:assert/strict";
import { queryOf } from "../../../lib/engineio/query.ts";

Deno.test("queryOf() returns the decoded parameters, and the last value of a repeated one", () => {
  for (
    const [url, query] of [
      ["/socket.io/", {}],
      ["/socket.io/?", {}],
      ["/socket.io/?EIO=4&sid=a%2Bb", { EIO: "4", sid: "a+b" }],
      ["/socket.io/?EIO=3&EIO=4&j", { EIO: "4", j: "" }],
    ] as const
  ) {
    assert.deepEqual(queryOf(url), query, url);
  }
});

Deno.test("queryOf() returns one frozen object for all clients that connect by WebSocket from the start", () => {
  const url = "/socket.io/?EIO=4&transport=websocket";
  const query = queryOf(url);
  assert.deepEqual(query, { EIO: "4", transport: "websocket" });
  assert.equal(queryOf(url), query);
  assert.ok(Object.isFrozen(query));
});
