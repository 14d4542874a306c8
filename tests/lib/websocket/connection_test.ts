/**
 * Tests WebSocketConnection against RFC 6455 on real connections, with messages that are split into frames and chunks
 * at random.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { closeBody } from "../../../lib/websocket/close_frame.ts";
import { WebSocketConnection } from "../../../lib/websocket/connection.ts";
import { handshakeResponse } from "../../../lib/websocket/handshake.ts";
import { listen } from "../../support/net.ts";
import { Inbox, until } from "../../support/wait.ts";

const BYTES_MAX = 100_000;

/** The server's end of one WebSocket, and everything that its handler received. */
class Peer {
  readonly messages = new Inbox<string | Buffer>();
  readonly errors: string[] = [];
  closes = 0;
  readonly websocket: WebSocketConnection;

  constructor(readonly connection: Socket, head: Buffer) {
    this.websocket = new WebSocketConnection(connection, head, BYTES_MAX, this);
  }

  onMessage(message: string | Buffer): void {
    this.messages.push(message);
  }

  onProtocolError(reason: string): void {
    this.errors.push(reason);
  }

  onClosed(): void {
    this.closes++;
  }
}

/** A server that accepts every connection as a WebSocket. */
class Server {
  readonly peers = new Inbox<Peer>();
  readonly #http = createServer();

  static async start(): Promise<Server> {
    const server = new Server();
    server.#http.on("upgrade", (request, duplex, head) => {
      const connection = duplex as Socket;
      connection.on("error", () => {});
      connection.write(handshakeResponse(request));
      server.peers.push(new Peer(connection, head));
    });
    await listen(server.#http);
    return server;
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { connection } of this.peers.items) connection.destroy();
    await new Promise<void>((resolve) => this.#http.close(() => resolve()));
  }
}

const REQUEST = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n" +
  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/** A client that can send any bytes, also bytes that violate the protocol. */
class Raw {
  #bytes: Buffer = Buffer.alloc(0);
  readonly #chunks: Buffer[] = [];
  ended = false;
  closed = false;
  readonly socket: Socket;

  private constructor(port: number) {
    this.socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    this.socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
    });
    this.socket.on("error", () => {});
    this.socket.on("end", () => this.ended = true);
    this.socket.on("close", () => this.closed = true);
  }

  /** Connects a client, which sends the bytes `more` together with the upgrade request. */
  static async open(
    server: Server,
    more: Buffer = Buffer.alloc(0),
  ): Promise<{ client: Raw; peer: Peer }> {
    const count = server.peers.items.length;
    const client = new Raw(server.port);
    client.socket.setNoDelay();
    client.socket.write(Buffer.concat([Buffer.from(REQUEST), more]));
    await server.peers.have(count + 1);
    const peer = server.peers.items[count];
    assert.ok(peer);
    return { client, peer };
  }

  /** The bytes of the frames that have arrived: everything after the response to the upgrade. */
  get frames(): Buffer {
    if (this.#chunks.length > 0) {
      this.#bytes = Buffer.concat([this.#bytes, ...this.#chunks.splice(0)]);
    }
    const end = this.#bytes.indexOf("\r\n\r\n");
    return end < 0 ? Buffer.alloc(0) : this.#bytes.subarray(end + 4);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await until("the client is closed", () => this.closed);
  }
}

interface Frame {
  readonly opcode: number;
  readonly payload: Uint8Array;
  readonly fin?: boolean;
  readonly reserved?: number;
  readonly mask?: Uint8Array | null;
  /** The length to write into the head, if it shall differ from the payload's length. */
  readonly announced?: bigint;
}

/** Encodes a frame of a client, which may violate the protocol. */
function encode(
  {
    opcode,
    payload,
    fin = true,
    reserved = 0,
    mask = Buffer.from([1, 2, 3, 4]),
    announced = BigInt(payload.length),
  }: Frame,
): Buffer {
  const head = Buffer.alloc(
    announced < 126n ? 2 : announced < 65_536n ? 4 : 10,
  );
  head[0] = (fin ? 0x80 : 0) | (reserved << 4) | opcode;
  head[1] = (mask === null ? 0 : 0x80) |
    (head.length === 2 ? Number(announced) : head.length === 4 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(Number(announced), 2);
  if (head.length === 10) head.writeBigUInt64BE(announced, 2);
  const masked = Buffer.from(payload).map((byte, at) =>
    byte ^ (mask?.[at % 4] ?? 0)
  );
  return Buffer.concat([head, mask ?? Buffer.alloc(0), masked]);
}

const text = (payload: string | Uint8Array, more: Partial<Frame> = {}) =>
  encode({ opcode: 1, payload: Buffer.from(payload as string), ...more });
const closing = (...payload: number[]) =>
  encode({ opcode: 8, payload: Uint8Array.from(payload) });

const message = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }).map((data) => ({
    opcode: 1,
    data: Buffer.from(data.toWellFormed()),
  })),
  fc.uint8Array({ maxLength: 200 }).map((data) => ({
    opcode: 2,
    data: Buffer.from(data),
  })),
  fc.constantFrom(125, 126, 65_535, 65_536, BYTES_MAX).map((length) => ({
    opcode: 2,
    data: Buffer.alloc(length, "abc"),
  })),
);
/**
 * Generates a message, the places at which it is split into frames, and the control frame that is sent after each
 * frame.
 */
const sent = fc.record({
  message,
  cuts: fc.array(fc.nat(300), { maxLength: 4 }),
  between: fc.constantFrom<number | undefined>(undefined, 9, 10),
  mask: fc.uint8Array({ minLength: 4, maxLength: 4 }),
});

Deno.test("WebSocketConnection delivers complete messages in order, however they are split into frames and chunks", async () => {
  await using server = await Server.start();
  await fc.assert(
    fc.asyncProperty(
      fc.array(sent, { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(400), { maxLength: 8 }),
      fc.boolean(),
      async (list, pieces, withRequest) => {
        const expected = list.map(({ message: { opcode, data } }) =>
          opcode === 1 ? data.toString() : data
        );
        const bytes = Buffer.concat(list.flatMap(
          ({ message: { opcode, data }, cuts, between, mask }) => {
            const ends = [
              ...cuts.map((cut) => Math.min(cut, data.length)).sort((a, b) =>
                a - b
              ),
              data.length,
            ];
            return ends.flatMap((end, index) => {
              const frame = encode({
                opcode: index === 0 ? opcode : 0,
                payload: data.subarray(ends[index - 1] ?? 0, end),
                fin: index === ends.length - 1,
                mask,
              });
              return between === undefined
                ? [frame]
                : [frame, encode({ opcode: between, payload: mask, mask })];
            });
          },
        ));
        const first = withRequest ? bytes.length >> 1 : 0;
        const { client, peer } = await Raw.open(
          server,
          bytes.subarray(0, first),
        );
        await using _ = client;
        let at = first;
        for (const piece of pieces) {
          client.socket.write(bytes.subarray(at, at + piece));
          at += piece;
          await new Promise((resolve) => setTimeout(resolve));
        }
        client.socket.write(bytes.subarray(at));
        await peer.messages.have(expected.length);
        assert.deepEqual(peer.messages.items, expected);
        assert.deepEqual(peer.errors, []);
      },
    ),
    { numRuns: 60 },
  );
});

const END = Buffer.from("end");
const EURO = Buffer.from("€");
const INVALID: readonly [what: string, code: number, frames: Buffer[]][] = [
  ["a reserved bit", 1002, [text("a", { reserved: 4 })]],
  ["another reserved bit", 1002, [text("a", { reserved: 1 })]],
  ["a frame without a mask", 1002, [text("a", { mask: null })]],
  ["an unknown opcode", 1002, [encode({ opcode: 3, payload: EURO })]],
  ["an unknown control opcode", 1002, [encode({ opcode: 11, payload: EURO })]],
  ["a continuation without a message", 1002, [
    encode({ opcode: 0, payload: EURO }),
  ]],
  ["a message that begins before the previous one ends", 1002, [
    text("a", { fin: false }),
    text("b"),
  ]],
  ["a fragmented ping", 1002, [
    encode({ opcode: 9, payload: EURO, fin: false }),
  ]],
  ["a long ping", 1002, [encode({ opcode: 9, payload: Buffer.alloc(126) })]],
  ["half a close code", 1002, [closing(3)]],
  ["a close code that may not be sent", 1002, [closing(3, 0xed)]],
  ["a close code below 1000", 1002, [closing(0, 1)]],
  ["a close reason that is not UTF-8", 1007, [closing(3, 0xe8, 0xff)]],
  ["a text that is not UTF-8", 1007, [text(EURO.subarray(0, 2))]],
  ["a fragmented text that is not UTF-8", 1007, [
    text(EURO.subarray(0, 1), { fin: false }),
    encode({ opcode: 0, payload: EURO.subarray(1, 2) }),
  ]],
  ["an encoded surrogate", 1007, [text(Buffer.from([0xed, 0xa0, 0x80]))]],
  ["a message too large", 1009, [
    text("a", { announced: BigInt(BYTES_MAX + 1) }),
  ]],
  ["a message of 2⁶³ bytes", 1009, [text("a", { announced: 1n << 63n })]],
  ["a fragmented message that is too large", 1009, [
    text(Buffer.alloc(BYTES_MAX), { fin: false }),
    encode({ opcode: 0, payload: EURO }),
  ]],
];

for (const [what, code, frames] of INVALID) {
  Deno.test(`WebSocketConnection stops reading and closes with ${code} after ${what}`, async () => {
    await using server = await Server.start();
    const { client, peer } = await Raw.open(server);
    await using _ = client;
    client.socket.write(
      Buffer.concat([text("before"), ...frames, text("after")]),
    );
    await until("the server ends", () => client.ended);
    client.socket.write(text("later"));
    const { frames: [first, length = 0, ...body] } = { frames: client.frames };
    assert.deepEqual([first, length], [0x88, body.length]);
    assert.deepEqual(body.slice(0, 2), [code >> 8, code & 0xff]);
    assert.equal(
      Buffer.from(body.slice(2)).toString(),
      code === 1009
        ? `message_too_large: Cannot read what was sent: it exceeds ${BYTES_MAX} bytes; send less`
        : "",
    );
    client.socket.end();
    await until("the connection is closed", () => peer.closes === 1);
    assert.deepEqual(peer.messages.items, ["before"]);
    assert.equal(peer.errors.length, 1);
  });
}

Deno.test("WebSocketConnection accepts a text whose first frame ends within a character", async () => {
  await using server = await Server.start();
  const { client, peer } = await Raw.open(server);
  await using _ = client;
  client.socket.write(Buffer.concat([
    text(EURO.subarray(0, 2), { fin: false }),
    encode({ opcode: 9, payload: Buffer.from("?") }),
    encode({ opcode: 0, payload: EURO.subarray(2) }),
  ]));
  await peer.messages.have(1);
  assert.deepEqual(peer.messages.items, ["€"]);
  await until("the pong", () => client.frames.length === 3);
  assert.deepEqual(client.frames, Buffer.from("\x8a\x01?", "latin1"));
});

Deno.test("WebSocketConnection answers a close frame with the same code and ends the connection before the client does", async () => {
  await using server = await Server.start();
  for (const body of [[], [3, 0xe8], [0x0f, 0xa0, 0x62, 0x79, 0x65]]) {
    const { client, peer } = await Raw.open(server);
    await using _ = client;
    client.socket.write(Buffer.concat([closing(...body), text("after")]));
    await until("the server ends", () => client.ended);
    const code = body.slice(0, 2);
    assert.deepEqual(client.frames, Buffer.from([0x88, code.length, ...code]));
    client.socket.end();
    await until("the connection is closed", () => peer.closes === 1);
    assert.deepEqual([peer.messages.items, peer.errors], [[], []]);
  }
});

Deno.test("WebSocketConnection.close() waits for the client's close frame before it ends the connection", async () => {
  await using server = await Server.start();
  const { client, peer } = await Raw.open(server);
  await using _ = client;
  peer.websocket.close();
  peer.websocket.close();
  client.socket.write(Buffer.concat([
    text("on its way"),
    encode({ opcode: 9, payload: EURO }),
    closing(),
    text("after"),
  ]));
  assert.equal(peer.websocket.open, false);
  await until("the server ends", () => client.ended);
  assert.deepEqual(client.frames, Buffer.from([0x88, 0]));
  assert.deepEqual(peer.messages.items, ["on its way"]);
  client.socket.end();
  await until("the connection is closed", () => peer.closes === 1);
});

Deno.test("WebSocketConnection closes the connection if the client ends its half of the connection or resets the connection", async () => {
  await using server = await Server.start();
  for (const leave of ["end", "resetAndDestroy"] as const) {
    const { client, peer } = await Raw.open(server);
    await using _ = client;
    client.socket.write(text("half", { fin: false }));
    client.socket[leave]();
    await until("the connection is closed", () => peer.closes === 1);
    assert.equal(peer.websocket.open, false);
    assert.deepEqual(peer.errors, []);
    peer.websocket.close();
    peer.websocket.terminate();
  }
});

Deno.test("WebSocketConnection.close() disconnects a client that sends no close frame within 30 s", async () => {
  await using server = await Server.start();
  const { client, peer } = await Raw.open(server);
  await using _ = client;
  const { setTimeout } = globalThis;
  let waitMs: number | undefined;
  try {
    globalThis.setTimeout = ((then: () => void, ms: number) => {
      waitMs = ms;
      return setTimeout(then, 10);
    }) as typeof setTimeout;
    peer.websocket.close();
  } finally {
    globalThis.setTimeout = setTimeout;
  }
  assert.equal(waitMs, 30_000);
  await until("the connection is closed", () => peer.closes === 1);
});

Deno.test("WebSocketConnection buffers only one pong for a client that sends many pings and does not read", async () => {
  await using server = await Server.start();
  const { client, peer } = await Raw.open(server);
  await using _ = client;
  client.socket.pause();
  peer.connection.write(Buffer.alloc(16 << 20));
  const waiting = peer.connection.writableLength;
  assert.ok(waiting > 0);
  for (let n = 0; n < 1000; n++) {
    client.socket.write(encode({ opcode: 9, payload: Buffer.alloc(125, n) }));
  }
  client.socket.write(text("read"));
  await peer.messages.have(1);
  assert.ok(peer.connection.writableLength <= waiting);
  client.socket.resume();
  await until("all is read", () => client.frames.length >= 16 << 20);
  peer.connection.write("end");
  await until("the end", () => client.frames.subarray(-3).equals(END));
  assert.ok(client.frames.length < (16 << 20) + 10 * 127);
});

Deno.test("closeBody() cuts off a reason that is longer than a control frame allows, at a whole character", () => {
  assert.deepEqual([...closeBody(1002)], [3, 234]);
  const body = closeBody(1013, "why");
  assert.equal(body.readUInt16BE(), 1013);
  assert.equal(body.toString("utf8", 2), "why");
  assert.equal(
    closeBody(1013, "é".repeat(100)).toString("utf8", 2),
    "é".repeat(61),
  );
});
