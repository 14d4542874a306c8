/** Tests the limit of frames of a WebSocketConnection on real connections. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createServer, type Socket } from "node:net";
import { connect } from "node:net";
import { type AddressInfo } from "node:net";
import { RateLimit } from "../../../lib/limits/rate_limit.ts";
import { WebSocketConnection } from "../../../lib/websocket/connection.ts";
import { until } from "../../support/wait.ts";

/** Two ends of a TCP connection; the server's end is read as a WebSocket that allows a number of frames. */
class Pair {
  readonly received: string[] = [];
  exceeded = 0;
  cut = 0;
  closed = false;
  /** What the server has sent to the client. */
  sent = "";
  readonly #server = createServer((socket) => {
    socket.on("error", () => {});
    new WebSocketConnection(socket, Buffer.alloc(0), 100_000, {
      onMessage: (message) => this.received.push(String(message)),
      onProtocolError: () => {},
      onClosed: () => this.closed = true,
    }, {
      rate: new RateLimit(this.perSecond, this.atOnce),
      pausesMax: this.pausesMax,
      onExceeded: (outcome) =>
        outcome === "paused" ? this.exceeded++ : this.cut++,
    });
  });
  readonly client: Promise<Socket>;

  constructor(
    readonly perSecond: number,
    readonly atOnce: number,
    readonly pausesMax = 50,
  ) {
    this.client = new Promise((resolve) =>
      this.#server.listen(0, "127.0.0.1", () => {
        const { port } = this.#server.address() as AddressInfo;
        const client = connect(port, "127.0.0.1", () => resolve(client));
        client.on("error", () => {});
        client.on("data", (bytes) => this.sent += bytes.toString("latin1"));
      })
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    (await this.client).destroy();
    await until("the connection is closed", () => this.closed);
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

function frame(opcode: number, payload: string, fin = true): Buffer {
  const head = [(fin ? 0x80 : 0) | opcode, 0x80 | payload.length, 0, 0, 0, 0];
  return Buffer.concat([Buffer.from(head), Buffer.from(payload)]);
}

Deno.test("WebSocketConnection delivers all frames in order if its peer sends more than its limit, but later", async () => {
  await using pair = new Pair(500, 100);
  const client = await pair.client;
  const texts = Array.from({ length: 300 }, (_, index) => `message ${index}`);
  const start = performance.now();
  client.write(Buffer.concat(texts.map((text) => frame(1, text))));
  await until("all arrive", () => pair.received.length >= 300);
  assert.deepEqual(pair.received, texts);
  // 100 frames at once, and 200 more at 500 a second.
  assert.ok(performance.now() - start > 390);
  assert.ok(pair.exceeded >= 1 && pair.exceeded <= 4, `${pair.exceeded}`);
});

Deno.test("WebSocketConnection counts frames of every kind: pings, pongs, empty fragments and messages", async () => {
  for (
    const flood of [
      frame(9, ""),
      frame(10, "x"),
      frame(1, ""),
      frame(2, "x"),
      Buffer.concat([frame(1, "a", false), frame(0, "b")]),
      Buffer.concat([frame(1, "", false), frame(0, "", false), frame(0, "")]),
    ]
  ) {
    await using pair = new Pair(100, 20);
    const client = await pair.client;
    client.write(Buffer.concat(Array(60).fill(flood)));
    await until("the limit is reached", () => pair.exceeded > 0);
    assert.ok(pair.received.length <= 20);
  }
});

Deno.test("WebSocketConnection counts large messages as several frames", async () => {
  await using pair = new Pair(10, 10);
  const client = await pair.client;
  const head = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0]);
  const large = Buffer.concat([head, Buffer.alloc(98_304)]);
  client.write(Buffer.concat([large, large, large]));
  await until("the limit is reached", () => pair.exceeded > 0);
  assert.equal(pair.received.length, 2, "each of them costs 7");
});

Deno.test("WebSocketConnection answers a ping that waits behind too many frames", async () => {
  await using pair = new Pair(100, 1);
  const client = await pair.client;
  client.write(
    Buffer.concat([frame(1, "one"), frame(1, "two"), frame(9, "p")]),
  );
  await until("the pong arrives", () => pair.sent.endsWith("\x8a\x01p"));
  assert.deepEqual(pair.received, ["one", "two"]);
  assert.equal(pair.cut, 0);
});

Deno.test("WebSocketConnection does not read more than some buffers of a peer that floods it, and disconnects it in the end", async () => {
  await using pair = new Pair(10, 5, 3);
  const client = await pair.client;
  const flood = Buffer.concat(Array(20_000).fill(frame(1, "x".repeat(100))));
  let flushed = 0;
  // 40 MB, far more than the buffers of both systems.
  for (let i = 0; i < 20; i++) {
    client.write(flood, (error) => void (error ?? flushed++));
  }
  await until("it is disconnected", () => pair.closed);
  await until(
    "it has the close frame 1008",
    () => pair.sent.includes("\x88") && pair.sent.includes("\x03\xf0"),
  );
  assert.equal(pair.exceeded, 3);
  assert.equal(pair.cut, 1);
  assert.ok(pair.received.length < 30, `${pair.received.length}`);
  assert.ok(flushed < 20, "the peer cannot send everything");
});

Deno.test("WebSocketConnection stops its timer when a connection is closed that it does not read", async () => {
  const pair = new Pair(1, 1);
  const client = await pair.client;
  client.write(Buffer.concat([frame(1, "a"), frame(1, "b")]));
  await until("the limit is reached", () => pair.exceeded > 0);
  // The sanitizer of the test finds a timer that was left.
  await pair[Symbol.asyncDispose]();
  assert.deepEqual(pair.received, ["a"]);
});
