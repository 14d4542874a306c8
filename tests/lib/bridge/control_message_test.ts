import assert from "node:assert/strict";
import { parseControl } from "../../../lib/bridge/control_message.ts";

Deno.test("parseControl() reads heartbeats, markers and positions, and nothing else", () => {
  assert.deepEqual(parseControl("sign n0 7"), {
    kind: "heartbeat",
    node: "n0",
    number: 7,
  });
  assert.deepEqual(parseControl("marker n0.3"), {
    kind: "marker",
    marker: "n0.3",
  });
  assert.deepEqual(parseControl("at n0.3 12 a n1"), {
    kind: "position",
    position: { marker: "n0.3", number: 12, channelGroup: "a" },
    writer: "n1",
  });
  for (const other of ["", "at n0.3 x a n1", "hello"]) {
    assert.equal(parseControl(other), undefined, other);
  }
});
