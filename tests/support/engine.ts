/** Roomcast's Engine.IO server with Socket.IO, without any other part of Roomcast. */
import type { ServerOptions } from "engine.io";
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { Server } from "socket.io";
import { type EngineParts, EngineServer } from "../../lib/engineio/server.ts";
import { DirectWriter } from "../../lib/wire/direct_write.ts";
import { listen } from "./net.ts";
import { Inbox, until } from "./wait.ts";

/** An Engine.IO server with Socket.IO on a port of its own; `await using` closes the server. */
export class TestEngineServer {
  readonly engine: EngineServer;
  readonly io = new Server({ serveClient: false });
  readonly #http = createServer((request, response) =>
    this.engine.handleRequest(request, response)
  );

  private constructor(
    options: ServerOptions,
    directWrite: boolean,
    parts: EngineParts,
  ) {
    const writer = new DirectWriter((why) => {
      throw new Error(`Cannot write directly: ${why}`);
    });
    if (directWrite) writer.enable();
    this.engine = new EngineServer(options, { directWriter: writer, ...parts });
    this.io.bind(this.engine as never);
    this.#http.on(
      "upgrade",
      (request, socket, head) =>
        this.engine.handleUpgrade(request, socket, head),
    );
  }

  /** Starts a server on a free port. */
  static async start(
    options: ServerOptions = {},
    directWrite = true,
    parts: EngineParts = {},
  ): Promise<TestEngineServer> {
    const server = new TestEngineServer(options, directWrite, parts);
    await listen(server.#http);
    return server;
  }

  /** The port on which the server listens. */
  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.engine.close();
    this.io.of("/").adapter.close();
    const closed = new Promise<void>((resolve) =>
      this.#http.close(() => resolve())
    );
    this.#http.closeAllConnections();
    await closed;
  }
}

/** The path of a client that connects by WebSocket from the start. */
export const WEBSOCKET_PATH = "/socket.io/?EIO=4&transport=websocket";
/** A header that every request for a WebSocket needs, as a line. */
export const WEBSOCKET_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/** A TCP connection that requests a WebSocket and records each read separately; `await using` closes the connection. */
export class RawConnection {
  /** The received bytes, one item for each read. */
  readonly pieces = new Inbox<string>();
  closed = false;
  readonly #socket: Socket;

  /** Connects and sends an upgrade request for `path`. */
  constructor(
    port: number,
    path = WEBSOCKET_PATH,
    headers = WEBSOCKET_KEY,
  ) {
    this.#socket = connect(port, "127.0.0.1", () =>
      this.#socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          `Sec-WebSocket-Version: 13\r\n${headers}\r\n`,
      ));
    this.#socket.on(
      "data",
      (piece: Uint8Array) => this.pieces.push(Buffer.from(piece).toString()),
    );
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => this.closed = true);
  }

  /** Sends a text of at most 125 bytes as one WebSocket frame. */
  send(text: string): void {
    this.#socket.write(
      Buffer.concat([
        Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]),
        Buffer.from(text),
      ]),
    );
  }

  /** Sends an ASCII text of 126 to 65,535 bytes as one WebSocket frame. */
  sendLong(text: string): void {
    const head = Buffer.from([0x81, 0xfe, 0, 0, 0, 0, 0, 0]);
    head.writeUInt16BE(text.length, 2);
    this.#socket.write(Buffer.concat([head, Buffer.from(text)]));
  }

  /** Sends a text of at most 125 bytes `times` times, each time as one frame, and stops reading. */
  flood(text: string, times: number): void {
    this.#socket.pause();
    const head = Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]);
    const frame = Buffer.concat([head, Buffer.from(text)]);
    this.#socket.write(
      Buffer.concat(Array.from({ length: times }, () => frame)),
    );
  }

  /** All received bytes, as one text. */
  get text(): string {
    return this.pieces.items.join("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await until("the connection is closed", () => this.closed);
  }
}
