/** Servers and raw clients of each protocol that implements `Subscriber`, for tests that run for all protocols. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createServer, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import type { Subscriber } from "../../lib/delivery/subscriber.ts";
import { subscriberOf } from "../../lib/socketio/subscriber.ts";
import { SseEncoder } from "../../lib/sse/encoder.ts";
import { SseSubscriber } from "../../lib/sse/subscriber.ts";
import { DirectWriter } from "../../lib/wire/direct_write.ts";
import { TestEngineServer } from "./engine.ts";
import { listen } from "./net.ts";
import { soon, until } from "./wait.ts";

/** An event that a client received. */
export interface Received {
  readonly event: string;
  readonly id: string;
  readonly room: string;
  /** The published message, if the event is a message. */
  readonly message?: unknown;
  /** The reason of the gap, if the event is a gap. */
  readonly reason?: string;
  readonly since?: string | null;
}

/** A protocol to test: its name, and a function that starts a server of the protocol. */
export interface Protocol {
  readonly name: string;
  start(): Promise<ProtocolServer>;
}

/** A server of one protocol; `await using` stops the server. */
export interface ProtocolServer extends AsyncDisposable {
  /** Connects a raw client to the server. */
  connect(): Promise<TestClient>;
}

/** A raw client, together with the server's subscriber of its connection. */
export class TestClient {
  readonly received: Received[] = [];
  /**
   * Number of reads in which at least one event arrived. Events that the server sends in one small write arrive in one
   * read.
   */
  reads = 0;
  closed = false;
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #subscriber: Subscriber | undefined;

  /**
   * Wraps a connection. `parse` decodes the complete events in the received bytes, and returns the number of bytes that
   * it has decoded.
   */
  constructor(
    socket: Socket,
    parse: (bytes: Buffer, onEvent: (event: Received) => void) => number,
  ) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.on("close", () => this.closed = true);
    socket.on("data", (chunk: Uint8Array) => {
      const bytes = Buffer.concat([this.#rest, chunk]);
      const before = this.received.length;
      const used = parse(bytes, (event) => this.received.push(event));
      this.#rest = bytes.subarray(used);
      if (this.received.length > before) this.reads++;
    });
  }

  /** The server's subscriber of this client. */
  get subscriber(): Subscriber {
    if (this.#subscriber === undefined) throw new Error("It is not connected");
    return this.#subscriber;
  }

  set subscriber(subscriber: Subscriber) {
    this.#subscriber = subscriber;
  }

  /** The ids of all received events, in order. */
  get ids(): string[] {
    return this.received.map(({ id }) => id);
  }

  /** Stops the client from reading. */
  pause(): void {
    this.#socket.pause();
  }

  /** Lets the client read again. */
  resume(): void {
    this.#socket.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await until("the client is closed", () => this.closed);
  }
}

/** Returns the protocol Socket.IO over WebSocket, with or without direct writes. */
function socketIo(name: string, directWrite: boolean): Protocol {
  return {
    name,
    async start() {
      const server = await TestEngineServer.start({}, directWrite);
      return {
        connect: () => connectSocketIo(server),
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  };
}

async function connectSocketIo(server: TestEngineServer): Promise<TestClient> {
  const come = new Promise<Subscriber>((resolve) =>
    server.io.once("connection", (socket) => resolve(subscriberOf(socket)))
  );
  let upgraded = false;
  const socket = connect(server.port, "127.0.0.1");
  const client = new TestClient(socket, (bytes, onEvent) => {
    let at = 0;
    if (!upgraded) {
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) return 0;
      upgraded = true;
      at = end + 4;
      // CONNECT, in a short frame masked by zeros.
      socket.write(Buffer.from("\x81\x82\0\0\0\x0040", "latin1"));
    }
    return at + parseWebSocket(bytes.subarray(at), onEvent);
  });
  socket.write(
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n" +
      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  client.subscriber = await soon(come, "the client connects");
  return client;
}

function parseWebSocket(
  bytes: Buffer,
  onEvent: (event: Received) => void,
): number {
  let at = 0;
  while (bytes.length >= at + 2) {
    const short = (bytes[at + 1] ?? 0) & 0x7f;
    const start = at + (short < 126 ? 2 : short === 126 ? 4 : 10);
    if (bytes.length < start) break;
    const length = short < 126
      ? short
      : short === 126
      ? bytes.readUInt16BE(at + 2)
      : Number(bytes.readBigUInt64BE(at + 2));
    if (bytes.length < start + length) break;
    const text = bytes.toString("utf8", start, start + length);
    if (text.startsWith("42[")) {
      const args = JSON.parse(text.slice(2));
      const [event, id] = [args[0], args.at(-1)];
      onEvent(
        args.length === 4
          ? { event, id, message: args[1], room: args[2].room }
          : { event, id, ...args[1] },
      );
    }
    at = start + length;
  }
  return at;
}

/** Returns the protocol Server-Sent Events over HTTP/1.1 with chunks, or over HTTP/1.0 without them. */
function sse(name: string, isChunked: boolean, directWrite: boolean): Protocol {
  return {
    name,
    async start() {
      const responses: ServerResponse[] = [];
      const server = createServer((_, response) => responses.push(response));
      const port = await listen(server);
      const encoder = new SseEncoder({ epoch: "epoch" });
      const directWriter = new DirectWriter(() => {});
      if (directWrite) directWriter.enable();
      return {
        async connect() {
          const count = responses.length;
          const socket = connect(port, "127.0.0.1");
          const client = new TestClient(
            socket,
            isChunked ? parseChunks : parseSse,
          );
          socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
          await until("the request arrives", () => responses.length > count);
          const connection = responses[count]?.socket as Socket;
          const subscriber = new SseSubscriber(connection, {
            encoder,
            directWriter,
            isChunked,
          });
          subscriber.start("HTTP/1.1 200 OK\n\n");
          client.subscriber = subscriber;
          return client;
        },
        async [Symbol.asyncDispose]() {
          const closed = new Promise<void>((resolve) =>
            server.close(() => resolve())
          );
          server.closeAllConnections();
          await closed;
        },
      };
    },
  };
}

/** Decodes complete events, of which each begins a line. Ignores all other lines. */
function parseSse(bytes: Buffer, onEvent: (event: Received) => void): number {
  let at = 0;
  for (;;) {
    const end = bytes.indexOf("\n\n", at);
    if (end < 0) return at;
    const text = bytes.toString("utf8", at, end);
    at = end + 2;
    const [, event = "", data = ""] =
      /(?:^|\n)event: ([^\n]*)\ndata: ([^\n]*)$/.exec(text) ?? [];
    if (event !== "") onEvent({ event, ...JSON.parse(data) });
  }
}

/** Decodes complete chunks of complete events, after a head that ends with an empty line. */
function parseChunks(
  bytes: Buffer,
  onEvent: (event: Received) => void,
): number {
  let at = bytes.indexOf("HTTP/") === 0 ? bytes.indexOf("\n\n") + 2 : 0;
  for (;;) {
    const start = bytes.indexOf("\r\n", at) + 2;
    if (start < 2) return at;
    const end = start + parseInt(bytes.toString("latin1", at, start), 16);
    if (bytes.length < end + 2) return at;
    assert.equal(bytes.toString("latin1", end, end + 2), "\r\n");
    const events = bytes.subarray(start, end);
    assert.equal(parseSse(events, onEvent), events.length);
    at = end + 2;
  }
}

/** All protocols for which the tests of `Subscriber` run. */
export const PROTOCOLS: readonly Protocol[] = [
  socketIo("Socket.IO with direct writes", true),
  socketIo("Socket.IO with streams", false),
  sse("Server-Sent Events in chunks with direct writes", true, true),
  sse("Server-Sent Events in chunks with streams", true, false),
  sse("Server-Sent Events without chunks", false, true),
];
