/** Writes past the stream, on real connections: these fail when Deno's handles look different. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  tryDirectWrite,
  type WriteRequest,
} from "../../../lib/wire/direct_write.ts";
import { pair } from "../../support/net.ts";
import { until } from "../../support/wait.ts";

const never = {
  waiting: undefined,
  oncomplete: (): void => assert.fail("nothing was to wait"),
};

Deno.test("writeNow hands to the kernel what it takes at once", async () => {
  await using stack = new AsyncDisposableStack();
  const [ours, peer] = await pair(stack);
  let text = "";
  peer.on("data", (chunk) => text += chunk);
  // In its first turn a connection does not know yet that it can be written to.
  ours.write("zero ");
  await until("it is there", () => text === "zero ");
  assert.equal(tryDirectWrite(ours, Buffer.from("one "), never), "done");
  assert.equal(tryDirectWrite(ours, Buffer.from("two "), never), "done");
  ours.write("three");
  await until("all is there", () => text === "zero one two three");
});

Deno.test("writeNow says when the rest has left, and what is written meanwhile comes behind it", async () => {
  await using stack = new AsyncDisposableStack();
  const [ours, peer] = await pair(stack);
  peer.pause();
  const bytes = Buffer.alloc(32 << 20, "x");
  let status: number | undefined;
  const request: WriteRequest = {
    waiting: undefined,
    oncomplete: (result) => void (status = result),
  };
  assert.equal(tryDirectWrite(ours, bytes, request), "waits");
  ours.write("the end");
  let length = 0, last = "";
  peer.on("data", (chunk) => {
    length += chunk.length;
    last = (last + chunk.toString("latin1").slice(-7)).slice(-7);
  });
  assert.equal(status, undefined);
  peer.resume();
  await until("all is there", () => length === bytes.length + 7);
  assert.equal(last, "the end");
  assert.equal(status, 0);
});

Deno.test("writeNow keeps what waits: memory that was collected, and is used anew, would leave in its place", async () => {
  await using stack = new AsyncDisposableStack();
  const connections = await Promise.all(
    Array.from({ length: 4 }, () => pair(stack)),
  );
  const requests = connections.map(([ours, peer]) => {
    peer.pause();
    const request: WriteRequest = { waiting: undefined, oncomplete() {} };
    assert.equal(
      tryDirectWrite(ours, Buffer.alloc(8 << 20, "x"), request),
      "waits",
    );
    return request;
  });
  // So much that all is collected that nobody holds.
  for (let i = 0; i < 100; i++) {
    Buffer.alloc(8 << 20, "y");
    if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  const expected = Buffer.alloc(1 << 20, "x");
  for (const [, peer] of connections) {
    let length = 0, others = 0;
    peer.on("data", (chunk: Uint8Array) => {
      length += chunk.length;
      if (!expected.subarray(0, chunk.length).equals(chunk)) others++;
    });
    peer.resume();
    await until("all is there", () => length === 8 << 20);
    assert.equal(others, 0);
  }
  assert.ok(requests.every(({ waiting }) => waiting?.length === 8 << 20));
});

Deno.test("writeNow says when what waits will never leave", async () => {
  await using stack = new AsyncDisposableStack();
  const [ours, peer] = await pair(stack);
  peer.pause();
  let status: number | undefined;
  const request: WriteRequest = {
    waiting: undefined,
    oncomplete: (result) => void (status = result),
  };
  assert.equal(tryDirectWrite(ours, Buffer.alloc(32 << 20), request), "waits");
  peer.resetAndDestroy();
  await until("it is told", () => status !== undefined);
  assert.ok(status !== undefined && status < 0, `${status}`);
});

Deno.test("writeNow leaves it to the stream where something waits there, or the connection is gone", async () => {
  await using stack = new AsyncDisposableStack();
  const [ours, peer] = await pair(stack);
  peer.pause();
  ours.write(Buffer.alloc(32 << 20));
  assert.equal(tryDirectWrite(ours, Buffer.from("more"), never), "stream");
  ours.destroy();
  assert.equal(tryDirectWrite(ours, Buffer.from("more"), never), "stream");
});
