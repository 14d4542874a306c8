/** WebSocketTransport on real connections. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { WebSocketTransport } from "../../../lib/engineio/transport.ts";
import { pair } from "../../support/net.ts";
import { until } from "../../support/wait.ts";

Deno.test("WebSocketTransport buffers one pong for a client that sends many probes and does not read", async () => {
  await using stack = new AsyncDisposableStack();
  const [ours, peer] = await pair(stack);
  const transport = new WebSocketTransport(
    { _query: { EIO: "4" } } as never,
    ours,
    Buffer.alloc(0),
    undefined,
    1_000,
  );
  peer.pause();
  const data = "x".repeat(32 << 20);
  transport.send([{ type: "message", data }]);
  assert.equal(transport.writable, false);
  // Every write to the stream is buffered in memory, even an empty one.
  let writes = 0;
  const write = ours.write.bind(ours) as (...args: unknown[]) => boolean;
  ours.write = (...args: unknown[]) => {
    writes++;
    return write(...args);
  };
  for (let i = 0; i < 10_000; i++) {
    transport.send([{ type: "pong", data: "probe" }]);
  }
  assert.equal(writes, 0);
  let length = 0, end = "";
  peer.on("data", (chunk: Uint8Array) => {
    length += chunk.length;
    end = (end + Buffer.from(chunk.subarray(-8)).toString("latin1")).slice(-8);
  });
  peer.resume();
  await until("it can be written to", () => transport.writable);
  transport.send([{ type: "pong", data: "probe" }]);
  // Heads of 10 and of 2 bytes, and a byte for the packet's type.
  await until("all is there", () => length === data.length + 11 + 8);
  assert.equal(end, "\x81\x063probe");
});
