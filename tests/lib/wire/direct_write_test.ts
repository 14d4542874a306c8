/** Tests DirectWriter on real connections. The tests fail if the private parts of Deno's sockets change. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, connect, type Server } from "node:net";
import { DirectWriter } from "../../../lib/wire/direct_write.ts";
import {
  enableDirectWrites,
  TESTED_DENO_VERSIONS,
} from "../../../lib/wire/direct_write_check.ts";
import { collectGarbage } from "../../support/collect_garbage.ts";
import { pair } from "../../support/net.ts";
import { until } from "../../support/wait.ts";

const { writer } = writerWithReasons();
writer.enable();

/** Creates a writer, and an array that gets the reason if the writer is disabled. */
function writerWithReasons(
  wrap?: ConstructorParameters<typeof DirectWriter>[1],
) {
  const reasons: string[] = [];
  const writer = new DirectWriter((why) => reasons.push(why), wrap);
  return { writer, reasons };
}

/** A request for writes by `writer`. Records the status of each completed write. */
class Request {
  waiting: Buffer | undefined;
  readonly statuses: number[] = [];
  readonly expected: boolean[] = [];

  constructor(readonly owner: DirectWriter = writer) {}

  oncomplete(status: number): void {
    this.statuses.push(status);
    this.expected.push(this.owner.complete(this));
  }
}

/** Makes a server listen on a free loopback port. */
async function listen(server: Server): Promise<AddressInfo> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server.address() as AddressInfo;
}

Deno.test("DirectWriter.tryWrite() returns `done` if the kernel takes all bytes at once", async () => {
  await using stack = new AsyncDisposableStack();
  const [socket, peer] = await pair(stack);
  const request = new Request();
  let text = "";
  peer.on("data", (chunk) => text += chunk);
  // On a new connection, the first write may be reported as waiting.
  socket.write("zero ");
  await until("the first bytes arrive", () => text === "zero ");
  assert.equal(writer.tryWrite(socket, Buffer.from("one "), request), "done");
  assert.equal(writer.tryWrite(socket, Buffer.from("two "), request), "done");
  socket.write("three");
  await until("all bytes arrive", () => text === "zero one two three");
  assert.deepEqual(request.statuses, []);
});

Deno.test("DirectWriter.tryWrite() returns `waits` if the kernel takes only some bytes, and later writes come after the rest", async () => {
  await using stack = new AsyncDisposableStack();
  const [socket, peer] = await pair(stack);
  peer.pause();
  const bytes = Buffer.alloc(32 << 20, "x"), request = new Request();
  assert.equal(writer.tryWrite(socket, bytes, request), "waits");
  socket.write("the end");
  let length = 0, last = "";
  peer.on("data", (chunk) => {
    length += chunk.length;
    last = (last + chunk.toString("latin1").slice(-7)).slice(-7);
  });
  assert.deepEqual(request.statuses, []);
  assert.equal(request.waiting, bytes);
  peer.resume();
  await until("all bytes arrive", () => length === bytes.length + 7);
  assert.equal(last, "the end");
  assert.deepEqual(request.statuses, [0]);
  assert.deepEqual(request.expected, [true]);
  assert.equal(request.waiting, undefined);
});

Deno.test("DirectWriter.tryWrite() keeps the bytes of an incomplete write in memory until the kernel has taken them", async () => {
  await using stack = new AsyncDisposableStack();
  const connections = await Promise.all(
    Array.from({ length: 4 }, () => pair(stack)),
  );
  for (const [socket, peer] of connections) {
    peer.pause();
    const bytes = Buffer.alloc(8 << 20, "x");
    assert.equal(writer.tryWrite(socket, bytes, new Request()), "waits");
  }
  for (let i = 0; i < 3; i++) {
    await collectGarbage();
    for (let j = 0; j < 4; j++) Buffer.alloc(8 << 20, "y");
  }
  const expected = Buffer.alloc(1 << 20, "x");
  for (const [, peer] of connections) {
    let length = 0, others = 0;
    peer.on("data", (chunk: Uint8Array) => {
      length += chunk.length;
      if (!expected.subarray(0, chunk.length).equals(chunk)) others++;
    });
    peer.resume();
    await until("all bytes arrive", () => length === 8 << 20);
    assert.equal(others, 0);
  }
});

Deno.test("DirectWriter.tryWrite() calls oncomplete() with an error for an incomplete write if the connection breaks", async () => {
  await using stack = new AsyncDisposableStack();
  const [socket, peer] = await pair(stack);
  peer.pause();
  const request = new Request();
  assert.equal(
    writer.tryWrite(socket, Buffer.alloc(32 << 20), request),
    "waits",
  );
  peer.resetAndDestroy();
  await until("the write completes", () => request.statuses.length === 1);
  const [status = 0] = request.statuses;
  assert.ok(status < 0, `${status}`);
});

Deno.test("DirectWriter.tryWrite() returns `stream` while the stream has buffered bytes and after the connection is destroyed", async () => {
  await using stack = new AsyncDisposableStack();
  const [socket, peer] = await pair(stack);
  const bytes = Buffer.from("more"), request = new Request();
  peer.pause();
  socket.write(Buffer.alloc(32 << 20));
  assert.equal(writer.tryWrite(socket, bytes, request), "stream");
  socket.destroy();
  assert.equal(writer.tryWrite(socket, bytes, request), "stream");
});

Deno.test("DirectWriter.tryWrite() returns `stream` before enable() and after disable()", async () => {
  await using stack = new AsyncDisposableStack();
  const [socket] = await pair(stack);
  const { writer, reasons } = writerWithReasons();
  const write = () => writer.tryWrite(socket, Buffer.from("x"), new Request());
  assert.equal(write(), "stream");
  writer.enable();
  assert.notEqual(write(), "stream");
  writer.disable("a reason");
  writer.disable("another reason");
  writer.enable();
  assert.equal(write(), "stream");
  assert.deepEqual(reasons, ["a reason"]);
});

Deno.test("DirectWriter.complete() disables direct writes permanently if the completed write was already reported as done", async () => {
  await using stack = new AsyncDisposableStack();
  const [socket, peer] = await pair(stack);
  // Simulate that Deno no longer updated the state: every write is reported as done.
  const { writer, reasons } = writerWithReasons({
    streamBaseState: new Int32Array(8),
    kLastWriteWasAsync: 5,
  });
  writer.enable();
  const request = new Request(writer), bytes = Buffer.alloc(32 << 20, "x");
  assert.equal(writer.tryWrite(socket, bytes, request), "done");
  peer.resume();
  await until("the write completes", () => request.statuses.length === 1);
  assert.deepEqual(request.expected, [false]);
  assert.equal(writer.enabled, false);
  assert.deepEqual(reasons, [
    "Deno reported a direct write as done before it was",
  ]);
  assert.equal(bytes.length, 32 << 20);
});

Deno.test("enableDirectWrites() enables direct writes on the Deno version that CI uses", async () => {
  const { writer, reasons } = writerWithReasons();
  await enableDirectWrites(writer, listen);
  assert.deepEqual(reasons, []);
  assert.equal(writer.enabled, true);
  const dockerfile = await Deno.readTextFile(
    new URL("../../../Dockerfile", import.meta.url),
  );
  const [, version = ""] = /^ARG DENO_VERSION=(.+)$/m.exec(dockerfile) ?? [];
  assert.ok(TESTED_DENO_VERSIONS.includes(version), version);
});

Deno.test("enableDirectWrites() does not enable direct writes before its check has succeeded", async () => {
  const { writer } = writerWithReasons();
  const enabled: boolean[] = [];
  const check = enableDirectWrites(writer, async (server) => {
    server.on("connection", () => enabled.push(writer.enabled));
    const address = await listen(server);
    enabled.push(writer.enabled);
    return address;
  });
  enabled.push(writer.enabled);
  await check;
  enabled.push(writer.enabled);
  assert.deepEqual(enabled, [false, false, false, true]);
});

Deno.test("enableDirectWrites() disables direct writes on any other version of Deno", async () => {
  const { writer, reasons } = writerWithReasons();
  await enableDirectWrites(writer, listen, "3.0.0");
  assert.equal(writer.enabled, false);
  assert.match(
    reasons.join(),
    /^direct writes are tested only on .+ is Deno 3\.0\.0$/,
  );
});

for (
  const [what, wrap] of [
    ["reports every write as done", {
      streamBaseState: new Int32Array(8),
      kLastWriteWasAsync: 5,
    }],
    ["reports every write as waiting", {
      streamBaseState: new Int32Array(8).fill(1),
      kLastWriteWasAsync: 5,
    }],
    ["is missing", {}],
  ] as const
) {
  Deno.test(`enableDirectWrites() disables direct writes if Deno's state ${what}`, async () => {
    const { writer, reasons } = writerWithReasons(wrap);
    await enableDirectWrites(writer, listen);
    assert.equal(writer.enabled, false);
    assert.equal(reasons.length, 1, reasons.join());
  });
}

Deno.test("enableDirectWrites() disables direct writes if the server of its check cannot listen", async () => {
  const { writer, reasons } = writerWithReasons();
  await enableDirectWrites(
    writer,
    () => Promise.reject(new Error("no free port")),
  );
  assert.equal(writer.enabled, false);
  assert.deepEqual(reasons, [
    "the check of direct writes failed: no free port",
  ]);
});

Deno.test("enableDirectWrites() resolves even if another program connects to the server of its check", async () => {
  const { writer } = writerWithReasons();
  await using stack = new AsyncDisposableStack();
  let hasEnded = false;
  const check = enableDirectWrites(writer, async (server) => {
    const address = await listen(server);
    for (let i = 0; i < 3; i++) {
      const other = connect(address.port, "127.0.0.1");
      other.on("error", () => {});
      stack.defer(() => void other.destroy());
      await once(other, "connect");
    }
    await until("they are accepted", async () => await count(server) === 3);
    return address;
  }).then(() => hasEnded = true);
  await until("the check has ended", () => hasEnded, 6000);
  await check;
});

function count(server: Server): Promise<number> {
  return new Promise((resolve) =>
    server.getConnections((_, count) => resolve(count))
  );
}
