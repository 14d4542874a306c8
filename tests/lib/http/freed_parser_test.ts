/** Tests that a connection on which an invalid request has arrived cannot reach other connections. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createHttpServer } from "../../../lib/http/server.ts";
import { listen } from "../../support/net.ts";
import { Inbox, soon, until } from "../../support/wait.ts";

/** A client that keeps its connection open whatever happens, and what it has received. */
class Client {
  received = "";
  readonly socket: Socket;

  private constructor(port: number) {
    this.socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    this.socket.on("error", () => {});
    this.socket.on("data", (chunk) => this.received += chunk);
  }

  static async connect(port: number): Promise<Client> {
    const client = new Client(port);
    await once(client.socket, "connect");
    return client;
  }

  async receives(text: string): Promise<void> {
    await until(`${text} arrives`, () => this.received.includes(text));
  }
}

/** Starts a server that answers with the path of each request. */
async function start(
  stack: AsyncDisposableStack,
): Promise<{ port: number; requests: Inbox<string>; errors: () => number }> {
  const requests = new Inbox<string>();
  let errors = 0;
  const server = createHttpServer((request, response) => {
    requests.push(request.url ?? "");
    response.end(`answer to ${request.url}`);
  }, () => {});
  server.on("clientError", () => errors++);
  const port = await listen(server);
  stack.defer(async () => {
    server.close();
    server.closeAllConnections();
    await soon(once(server, "close"), "the server is closed");
  });
  return { port, requests, errors: () => errors };
}

for (
  const [name, invalid] of [
    ["an invalid request", "hello\r\n\r\n"],
    [
      "too large headers",
      `GET / HTTP/1.1\r\nCookie: ${"x".repeat(17_000)}\r\n\r\n`,
    ],
  ] as const
) {
  Deno.test(`what a client sends after ${name} is not taken for a request of another client`, async () => {
    await using stack = new AsyncDisposableStack();
    const { port, requests, errors } = await start(stack);
    const bad = await Client.connect(port);
    stack.defer(() => void bad.socket.destroy());
    bad.socket.write(invalid);
    await bad.receives("HTTP/1.1 4");
    // node:http gives the parser of the first connection to the next one.
    const good = await Client.connect(port);
    stack.defer(() => void good.socket.destroy());
    bad.socket.write("GET /of-the-bad-client HTTP/1.1\r\nHost: a\r\n\r\n");
    bad.socket.write("more");
    bad.socket.end();
    await until("the connection is closed", () => bad.socket.readableEnded);
    good.socket.write("GET /of-the-good-client HTTP/1.1\r\nHost: a\r\n\r\n");
    await good.receives("answer to /of-the-good-client");
    assert.deepEqual(requests.items, ["/of-the-good-client"]);
    assert.equal(good.received.split("HTTP/1.1 ").length - 1, 1);
    assert.equal(errors(), 1);
  });
}

Deno.test("a connection on which an invalid request has arrived is closed soon, although its client goes on", async () => {
  await using stack = new AsyncDisposableStack();
  const { port, requests } = await start(stack);
  const bad = await Client.connect(port);
  bad.socket.write("hello\r\n\r\n");
  await bad.receives("HTTP/1.1 400 ");
  const closed = new Promise((resolve) => bad.socket.once("close", resolve));
  const sending = setInterval(
    () => bad.socket.write("GET / HTTP/1.1\r\n\r\n", () => {}),
    20,
  );
  stack.defer(() => clearInterval(sending));
  await soon(closed, "the connection is closed", 3000);
  assert.deepEqual(requests.items, []);
});
