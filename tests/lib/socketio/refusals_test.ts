/** Refused clients whose refusals wait. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { Subscriber } from "../../support/client.ts";
import { RawConnection } from "../../support/engine.ts";
import { TestApp } from "../../support/app.ts";
import { collectGarbage } from "../../support/collect_garbage.ts";
import { frameOf } from "../../support/fuzz/frames.ts";
import { SECRET } from "../../support/tokens.ts";
import { until } from "../../support/wait.ts";

const CLIENTS = 40;

/** Opens a WebSocket that sends `packet` as soon as it is open. Adds what arrives to `received`. */
function open(port: number, packet: Buffer, received: string[]): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.on("data", (bytes) => {
    const text = bytes.toString("latin1");
    received.push(text);
    if (text.includes('0{"sid"')) socket.write(packet);
  });
  socket.write(
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n" +
      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  return socket;
}

Deno.test("what a refused client has sent is not kept while its refusal waits", async () => {
  await using app = new TestApp({ TOKEN_SECRET: SECRET });
  using opened = new DisposableStack();
  const port = await app.serve();
  // Each of these lists takes about 50 bytes of memory, which makes 2 MB for each client.
  const lists = Array(35_000).fill("[]").join(",");
  const payload = `40{"token":"a.b.c","lists":[${lists}]}`;
  const packet = Buffer.from(frameOf({ payload }), "latin1");
  const received: string[] = [];
  await collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < CLIENTS; i++) {
    const socket = open(port, packet, received);
    opened.defer(() => void socket.destroy());
  }
  await until(
    "all are refused",
    () =>
      app.observations.filter(({ kind }) => kind === "client_refused")
        .length === CLIENTS,
  );
  await collectGarbage();
  const grown = process.memoryUsage().heapUsed - before;
  const answered = received.filter((text) => text.includes("44{")).length;
  assert.ok(answered < CLIENTS, "some refusals wait");
  assert.ok(grown < 15 << 20, `${grown} bytes`);
});

Deno.test("connections that are refused, or not connected yet, do not count as clients", async () => {
  await using app = new TestApp();
  const port = await app.serve();
  await using unconnected = new RawConnection(port);
  await unconnected.pieces.have(1);
  await using _ = await Subscriber.connect(`http://127.0.0.1:${port}`);
  assert.deepEqual(
    app.observations.filter(({ kind }) => kind === "client_connected"),
    [{ kind: "client_connected", transport: "socket.io", clients: 1 }],
  );
});
