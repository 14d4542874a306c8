import assert from "node:assert/strict";
import { once } from "node:events";
import type { RequestListener, Server } from "node:http";
import { connect, type Socket } from "node:net";
import { HttpConnections } from "../../../lib/http/connections.ts";
import { createHttpServer } from "../../../lib/http/server.ts";
import { listen } from "../../support/net.ts";
import { pauseFor, soon, until } from "../../support/wait.ts";

const IDLE_MS = 200;
const FAREWELL =
  "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbye";
const WEBSOCKET = "connection: upgrade\r\nupgrade: websocket\r\n";

/** Connects to a server, and records what it receives and how the connection ends. */
class Connection {
  text = "";
  error: Error | undefined;
  hasEnded = false;
  closedAt: number | undefined;
  readonly socket: Socket;

  constructor(port: number) {
    // With `allowHalfOpen`, the connection is closed only when the server destroys it or `end()` is called.
    this.socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    this.socket.on("data", (chunk) => this.text += chunk.toString());
    this.socket.on("error", (error) => this.error = error);
    this.socket.on("end", () => this.hasEnded = true);
    this.socket.on("close", () => this.closedAt = performance.now());
  }

  ask(path: string, headers = ""): void {
    this.socket.write(`GET ${path} HTTP/1.1\r\nhost: test\r\n${headers}\r\n`);
  }

  responses(count: number): Promise<void> {
    return until(
      `${count} responses`,
      () => this.text.split("HTTP/1.1 200").length > count,
    );
  }

  ended(): Promise<void> {
    return until("the server has ended the connection", () => this.hasEnded);
  }
}

/** A server that accepts upgrades and keeps their connections open; `await using` closes the server. */
class Setup {
  /** The paths of the requests and upgrades that the server has handled. */
  readonly handled: string[] = [];
  /** The limits that were reached. */
  readonly limits: string[] = [];
  readonly connections: HttpConnections;
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  port = 0;

  private constructor(idleMs: number, respond: RequestListener) {
    this.connections = new HttpConnections({ idleMs, farewell: FAREWELL });
    this.#server = createHttpServer(
      (request, response) => {
        this.handled.push(request.url ?? "");
        respond(request, response);
      },
      (request, socket) => {
        this.handled.push(request.url ?? "");
        socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n");
      },
      this.connections,
      (limit) => this.limits.push(limit),
    );
    this.#server.on("connection", (socket: Socket) => this.#open.add(socket));
  }

  static async start(
    idleMs = 60_000,
    respond: RequestListener = (_request, response) =>
      void response.writeHead(200, {}).end("ok"),
  ): Promise<Setup> {
    const setup = new Setup(idleMs, respond);
    setup.port = await listen(setup.#server);
    return setup;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
    await soon(closed, "the server is closed");
  }
}

Deno.test("HttpConnections closes a connection that sends no request for `idleMs` after its last response", async () => {
  await using setup = await Setup.start(
    IDLE_MS,
    ({ url }, response) =>
      void setTimeout(
        () => response.end("ok"),
        url === "/slow" ? IDLE_MS * 3 : 0,
      ),
  );
  const connection = new Connection(setup.port);
  connection.ask("/slow");
  await connection.responses(1);
  await pauseFor(IDLE_MS / 2);
  // Two requests at once. One takes longer than the idle timeout.
  connection.ask("/");
  connection.ask("/slow");
  await connection.responses(3);
  const answered = performance.now();
  await connection.ended();
  const idledMs = performance.now() - answered;
  connection.socket.destroy();
  assert.ok(idledMs > IDLE_MS * 0.8, `closed after ${idledMs} ms`);
});

Deno.test("HttpConnections.release() keeps an upgraded connection open", async () => {
  await using setup = await Setup.start(IDLE_MS);
  const connection = new Connection(setup.port);
  connection.ask("/");
  await connection.responses(1);
  connection.ask("/socket.io/", WEBSOCKET);
  await until("it is upgraded", () => connection.text.includes(" 101 "));
  setup.connections.close();
  await pauseFor(IDLE_MS * 3);
  assert.equal(connection.closedAt, undefined);
  assert.ok(!connection.text.includes("bye"));
  connection.socket.destroy();
});

Deno.test("HttpConnections.drain() closes each connection after its next response, even if the request was already in flight", async () => {
  const gate = Promise.withResolvers<void>();
  await using setup = await Setup.start(60_000, async (_request, response) => {
    await gate.promise;
    response.writeHead(200, { "x-test": "1" }).end("ok");
  });
  const connection = new Connection(setup.port);
  connection.ask("/");
  await until("it is in flight", () => setup.handled.length === 1);
  void setup.connections.drain(0);
  gate.resolve();
  const later = new Connection(setup.port);
  later.ask("/");
  for (const one of [connection, later]) {
    await one.ended();
    assert.match(
      one.text,
      /^HTTP\/1\.1 200 OK\r\n[^]*Connection: close\r\n[^]*ok$/,
    );
    assert.equal(one.error, undefined);
    one.socket.destroy();
  }
});

Deno.test("HttpConnections.drain() waits for requests on connections that were used recently", async () => {
  await using setup = await Setup.start();
  const [one, other] = [new Connection(setup.port), new Connection(setup.port)];
  for (const connection of [one, other]) {
    connection.ask("/");
    await connection.responses(1);
  }
  // A connection that has not sent a request is not waited for.
  const silent = new Connection(setup.port);
  const start = performance.now();
  await soon(setup.connections.drain(100), "they are not recent any more");
  assert.ok(performance.now() - start > 50);
  let isDrained = false;
  const drained = setup.connections.drain(60_000).then(() => isDrained = true);
  one.ask("/");
  await one.ended();
  assert.equal(isDrained, false);
  other.ask("/");
  await soon(drained, "it is drained");
  for (const { socket } of [one, other, silent]) socket.destroy();
});

Deno.test("HttpConnections.close() writes a last response to idle connections and handles no request that arrives afterwards", async () => {
  await using setup = await Setup.start();
  const idle = new Connection(setup.port);
  const racing = new Connection(setup.port);
  const upgrading = new Connection(setup.port);
  for (const one of [idle, racing, upgrading]) {
    one.ask("/first");
    await one.responses(1);
    one.text = "";
  }
  setup.connections.close();
  racing.ask("/late");
  upgrading.ask("/socket.io/", WEBSOCKET);
  for (const one of [idle, racing, upgrading]) {
    await one.ended();
    assert.equal(one.text, FAREWELL);
  }
  idle.socket.end();
  await until("it is closed", () => idle.closedAt !== undefined);
  assert.equal(idle.error, undefined);
  // The server closes the others by itself.
  await until(
    "all are closed",
    () => {
      racing.socket.write("x");
      upgrading.socket.write("x");
      return racing.closedAt !== undefined && upgrading.closedAt !== undefined;
    },
  );
  assert.deepEqual(setup.handled, Array(3).fill("/first"));
});

Deno.test("HttpConnections.close() lets a new connection send its first request and closes the connection after the response", async () => {
  const gate = Promise.withResolvers<void>();
  await using setup = await Setup.start(60_000, async ({ url }, response) => {
    if (url === "/slow") await gate.promise;
    response.writeHead(200, {}).end("ok");
  });
  const slow = new Connection(setup.port);
  slow.ask("/slow");
  const fresh = new Connection(setup.port);
  const silent = new Connection(setup.port);
  await until("it is in flight", () => setup.handled.length === 1);
  await Promise.all(
    [fresh, silent].map(async ({ socket }) => {
      if (socket.connecting) await once(socket, "connect");
    }),
  );
  setup.connections.close();
  fresh.ask("/fresh");
  await fresh.ended();
  assert.match(
    fresh.text,
    /^HTTP\/1\.1 200 OK\r\n[^]*Connection: close\r\n[^]*ok$/,
  );
  await silent.ended();
  assert.equal(silent.text, FAREWELL);
  assert.equal(slow.text, "");
  gate.resolve();
  await slow.ended();
  assert.match(
    slow.text,
    /^HTTP\/1\.1 200 OK\r\n[^]*Connection: close\r\n[^]*ok$/,
  );
  for (const one of [fresh, silent, slow]) one.socket.destroy();
});

Deno.test("a connection with more than 100 requests without a response is closed, and further ones are not handled", async () => {
  await using setup = await Setup.start(60_000, ({ url }, response) => {
    if (url !== "/slow") response.end("ok");
  });
  const within = new Connection(setup.port);
  within.socket.write("GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(100));
  await within.responses(100);
  const beyond = new Connection(setup.port);
  beyond.socket.write(
    "GET /slow HTTP/1.1\r\nhost: test\r\n\r\n".repeat(500),
  );
  await until(
    "the server has closed it",
    () => beyond.hasEnded || beyond.error !== undefined,
  );
  assert.equal(setup.handled.filter((path) => path === "/slow").length, 100);
  assert.deepEqual(setup.limits, ["pipelined"]);
  within.ask("/");
  await within.responses(101);
  for (const { socket } of [within, beyond]) socket.destroy();
});

Deno.test("requests with an unknown expectation count as requests without a response, too", async () => {
  await using setup = await Setup.start(60_000, () => {});
  const beyond = new Connection(setup.port);
  beyond.ask("/slow");
  beyond.socket.write(
    "GET / HTTP/1.1\r\nhost: test\r\nexpect: nothing\r\n\r\n".repeat(500),
  );
  await until(
    "the server has closed it",
    () => beyond.hasEnded || beyond.error !== undefined,
  );
  assert.deepEqual(setup.limits, ["pipelined"]);
  const within = new Connection(setup.port);
  within.ask("/", "expect: nothing\r\n");
  await until("there is a response", () => within.text.includes("417"));
  for (const { socket } of [within, beyond]) socket.destroy();
});
