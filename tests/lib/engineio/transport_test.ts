/** Tests WebSocketTransport on real connections, with direct writes and with streams. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { WebSocketTransport } from "../../../lib/engineio/transport.ts";
import { encodeTextFrame } from "../../../lib/websocket/frame.ts";
import { DirectWriter } from "../../../lib/wire/direct_write.ts";
import { collectGarbage } from "../../support/collect_garbage.ts";
import { pair } from "../../support/net.ts";
import { until } from "../../support/wait.ts";

/** Creates the transport of a connection, after its handshake. */
function transportOf(
  connection: Socket,
  writer: DirectWriter,
): WebSocketTransport {
  const request = { _query: { EIO: "4" } } as never;
  const head = Buffer.alloc(0);
  return new WebSocketTransport(
    request,
    connection,
    head,
    undefined,
    1000,
    writer,
  );
}

for (const direct of [true, false]) {
  const how = direct ? "direct writes" : "streams";

  Deno.test(`WebSocketTransport sends all packets in order by ${how}, also to a client that starts to read late`, async () => {
    await using stack = new AsyncDisposableStack();
    const [socket, peer] = await pair(stack);
    const writer = new DirectWriter((why) => assert.fail(why));
    if (direct) writer.enable();
    const transport = transportOf(socket, writer);
    let streamed = 0;
    const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
    socket.write = (...args: unknown[]) => {
      streamed++;
      return write(...args);
    };
    const received: Buffer[] = [], sent: Buffer[] = [];
    let length = 0;
    peer.on("data", (chunk: Uint8Array) => {
      received.push(Buffer.from(chunk));
      length += chunk.length;
    });
    const send = (text: string): void => {
      const frame = encodeTextFrame(text);
      sent.push(frame);
      transport.write(frame);
    };
    const arrived = () =>
      until(
        "everything arrives and the transport is idle",
        () =>
          transport.idle &&
          length === sent.reduce((sum, { length }) => sum + length, 0),
      );
    for (let i = 0; i < 10; i++) {
      send(`small ${i}`);
      await arrived();
    }
    assert.equal(streamed > 0, !direct);
    peer.pause();
    for (let i = 0; i < 64 && transport.idle; i++) send("x".repeat(1 << 20));
    assert.equal(transport.idle, false);
    assert.ok(transport.bufferedBytes > 0);
    peer.resume();
    await arrived();
    assert.equal(transport.bufferedBytes, 0);
    send("the last");
    await arrived();
    assert.ok(Buffer.concat(received).equals(Buffer.concat(sent)));
  });
}

Deno.test("WebSocketTransport drops a replay that is not sent yet as soon as it closes, also if the client does not read", async () => {
  for (const close of ["doClose", "terminate"] as const) {
    await using stack = new AsyncDisposableStack();
    const [socket, peer] = await pair(stack);
    const transport = transportOf(socket, new DirectWriter(() => {}));
    peer.pause();
    const replayed = (() => {
      const chunk = encodeTextFrame("x".repeat(16 << 20));
      const replay = {
        type: "message",
        isDone: false,
        chunks: () => [chunk, chunk],
        takePackets: () => [],
      };
      transport.send([replay as never]);
      return new WeakRef(replay);
    })();
    await collectGarbage();
    assert.ok(replayed.deref() !== undefined, "the replay waits");
    transport[close]();
    await collectGarbage();
    assert.equal(replayed.deref(), undefined, close);
  }
});

Deno.test("if a write completes that was already reported as done, WebSocketTransport closes its connection and disables direct writes", async () => {
  await using stack = new AsyncDisposableStack();
  const [socket, peer] = await pair(stack);
  const [other, otherPeer] = await pair(stack);
  const reasons: string[] = [];
  // Simulate a Deno version that no longer updates this state, so that every write is reported as done.
  const writer = new DirectWriter((why) => reasons.push(why), {
    streamBaseState: new Int32Array(8),
    kLastWriteWasAsync: 5,
  });
  writer.enable();
  const transport = transportOf(socket, writer);
  const otherTransport = transportOf(other, writer);
  const bytes = Buffer.alloc(32 << 20);
  transport.write(bytes);
  assert.equal(transport.bufferedBytes, 0);
  peer.resume();
  await until("the connection is closed", () => socket.destroyed);
  assert.equal(reasons.length, 1);
  let received = "";
  otherPeer.on("data", (chunk) => received += chunk);
  for (const text of ["first ", "second"]) {
    otherTransport.write(Buffer.from(text));
    await until("it arrives", () => received.endsWith(text));
    await until("the transport is idle", () => otherTransport.idle);
  }
  assert.equal(received, "first second");
  // The bytes must stay in memory, because the handle has a pointer to them.
  assert.equal(bytes.length, 32 << 20);
});

Deno.test("WebSocketTransport drops the pongs for a client that sends many probes and does not read", async () => {
  await using stack = new AsyncDisposableStack();
  const [socket, peer] = await pair(stack);
  const transport = transportOf(socket, new DirectWriter(() => {}));
  peer.pause();
  const data = "x".repeat(32 << 20);
  transport.send([{ type: "message", data }]);
  assert.equal(transport.writable, false);
  // Every write to the stream is buffered in memory, even an empty one.
  let writes = 0;
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  socket.write = (...args: unknown[]) => {
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
  // Two heads, of 10 and of 2 bytes, and one byte for each packet's type.
  await until("everything arrives", () => length === data.length + 11 + 8);
  assert.equal(end, "\x81\x063probe");
});
