/** Tests how the served routes respond to requests that are sent as bytes. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { ErrorCode } from "../../lib/errors.ts";
import { TestApp } from "../support/app.ts";
import { soon, until } from "../support/wait.ts";

/** A client's TCP connection that collects the bytes that it receives. */
class Connection {
  received = "";
  error: Error | undefined;
  readonly socket: Socket;
  readonly #closed: Promise<unknown>;

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("data", (chunk) => this.received += chunk);
    this.socket.on("error", (error) => this.error = error);
    this.#closed = new Promise((resolve) => this.socket.on("close", resolve));
  }

  /** Resolves to all received bytes as text, when the server has closed the connection. */
  async end(): Promise<string> {
    await soon(this.#closed, "the connection is closed");
    assert.equal(this.error, undefined);
    return this.received;
  }
}

/**
 * Sends a request, whose lines end with `\n`, on a connection that the server has to close. Resolves to the response.
 */
function send(port: number, request: string): Promise<string> {
  const connection = new Connection(port);
  const [head = "", ...body] = request.split("\n\n");
  connection.socket.write(
    `${head.replaceAll("\n", "\r\n")}\r\n\r\n${body.join("\n\n")}`,
  );
  return connection.end();
}

function assertError(response: string, status: number, code: ErrorCode): void {
  const [head = "", body = ""] = response.split("\r\n\r\n");
  assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `), response);
  assert.match(head, /\r\ncontent-type: application\/json(\r|$)/i);
  const { error, ...others } = JSON.parse(body);
  assert.deepEqual(others, {});
  assert.deepEqual(Object.keys(error), ["code", "message"]);
  assert.equal(error.code, code);
  assert.match(error.message, /^Cannot [^:]+: [^;]+; .+[^.]$/);
}

const CLOSE = "Host: here\nConnection: close";
const PUBLISH = `POST /publish HTTP/1.1\n${CLOSE}\nContent-Type: text/plain`;

Deno.test("createListener() serves HTTP/1.0 requests and requests without a Host header", async () => {
  await using app = new TestApp();
  const port = await app.serve();
  for (
    const [request, response] of [
      ["GET /livez HTTP/1.0", /^HTTP\/1\.1 200 [^]*\r\n\r\n\{"live":true\}$/],
      ["GET /livez HTTP/1.1\nConnection: close", /^HTTP\/1\.1 200 [^]*true\}$/],
      ["GET /livez HTTP/1.1\nConnection: close\nHost:", /^HTTP\/1\.1 200 /],
      ["HEAD /livez HTTP/1.0", /^HTTP\/1\.1 200 [^]*\r\n\r\n$/],
      ["OPTIONS / HTTP/1.0", /^HTTP\/1\.1 204 [^]*\r\n\r\n$/],
      [
        "POST /publish HTTP/1.0\nContent-Type: text/plain\nContent-Length: 5\n\nhello",
        /^HTTP\/1\.1 200 [^]*"duplicate":false\}$/,
      ],
    ] as const
  ) assert.match(await send(port, request), response, request);
});

Deno.test("createListener() responds to OPTIONS * with the methods of all paths", async () => {
  await using app = new TestApp();
  const port = await app.serve();
  const response = await send(port, `OPTIONS * HTTP/1.1\n${CLOSE}`);
  assert.match(response, /^HTTP\/1\.1 204 [^]*\r\n\r\n$/);
  const [, allow = ""] = /\r\nallow: (.*)\r\n/i.exec(response) ?? [];
  assert.deepEqual(allow.split(", ").sort(), [
    "DELETE",
    "GET",
    "HEAD",
    "OPTIONS",
    "POST",
  ]);
});

Deno.test("createListener() responds with a JSON error to a request that no route can read", async (t) => {
  await using app = new TestApp();
  const port = await app.serve();
  const cases: [request: string, status: number, code: ErrorCode][] = [
    [
      "GET /livez HTTP/1.1\nConnection: close\nHost: a b",
      400,
      "malformed_request",
    ],
    [
      "GET /livez HTTP/1.1\nConnection: close\nHost: a/b",
      400,
      "malformed_request",
    ],
    [
      "GET /livez HTTP/1.1\nConnection: close\nHost: [::1",
      400,
      "malformed_request",
    ],
    [`GET * HTTP/1.1\n${CLOSE}`, 400, "malformed_request"],
    [`GET /a\\b HTTP/1.1\n${CLOSE}`, 400, "malformed_request"],
    [`CONNECT example.com:443 HTTP/1.1\n${CLOSE}`, 400, "malformed_request"],
    [
      `${PUBLISH}\nExpect: nonsense\nContent-Length: 5\n\nhello`,
      417,
      "expectation_failed",
    ],
    [`TRACE /livez HTTP/1.1\n${CLOSE}`, 405, "method_not_allowed"],
    [
      `GET /socket.io/x HTTP/1.1\nHost: here\nConnection: Upgrade, close\nUpgrade: websocket`,
      404,
      "not_found",
    ],
  ];
  for (const [request, status, code] of cases) {
    await t.step(request.replaceAll("\n", " | "), async () => {
      assertError(await send(port, request), status, code);
    });
  }
  assert.deepEqual(await app.messages("chat"), []);
  assert.ok(!app.observations.some(({ kind }) => kind === "error"));
});

Deno.test("createListener() refuses a Host header that would change the path", async (t) => {
  await using app = new TestApp();
  const port = await app.serve();
  // `new URL()` changes the host `1` to `0.0.0.1` and `\u00bc` to `xn--14-c6t`. Each result is as long as the whole header,
  // and `@hono/node-server` compares only the lengths.
  for (const host of ["1/docs?", "1/docs#", "\u00bc/metrics?"]) {
    await t.step(JSON.stringify(host), async () => {
      const connection = new Connection(port);
      connection.socket.write(
        `GET /public HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
        "latin1",
      );
      assertError(await connection.end(), 400, "malformed_request");
    });
  }
  for (const host of ["a.example:80", "[::1]:4000", "x_y", "192.0.2.1", ""]) {
    const response = await send(
      port,
      `GET /livez HTTP/1.1\nHost: ${host}\nConnection: close\n\n`,
    );
    assert.match(response, /^HTTP\/1\.1 200 /, host);
  }
});

Deno.test("createListener() responds with 100 to Expect: 100-continue before the body is sent", async () => {
  await using app = new TestApp();
  const connection = new Connection(await app.serve());
  const head = `${PUBLISH}\nExpect: 100-continue\nContent-Length: 5\n\n`;
  connection.socket.write(head.replaceAll("\n", "\r\n"));
  await until(
    "the server wants the body",
    () => connection.received === "HTTP/1.1 100 Continue\r\n\r\n",
  );
  connection.socket.write("hello");
  assert.match(await connection.end(), /\r\n\r\nHTTP\/1\.1 200 [^]*"id"/);
});

Deno.test("a publish with two Idempotency-Key headers is rejected, and a comma in a single header is part of the key", async () => {
  await using app = new TestApp();
  const port = await app.serve();
  const publish = (...keys: string[]): Promise<string> =>
    send(
      port,
      [PUBLISH, ...keys.map((key) => `Idempotency-Key: ${key}`)].join("\n") +
        "\nContent-Length: 5\n\nhello",
    );
  for (const keys of [["a", "b"], ["a", "a"], ["a", ""], ["", ""]]) {
    assertError(await publish(...keys), 400, "invalid_key");
  }
  assert.match(await publish("a, b"), /"duplicate":false/);
  assert.match(await publish("a, b"), /"duplicate":true/);
});

Deno.test("a client that is still sending a body when its request is refused receives the error response", async (t) => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  const port = await app.serve();
  const key = "Authorization: Bearer correct-horse";
  const chunk = new Uint8Array(256 * 1024).fill(0x61);
  const cases: [
    name: string,
    head: string,
    chunked: boolean,
    status: number,
    code: ErrorCode,
  ][] = [
    [
      "Content-Length",
      `${PUBLISH}\n${key}\nContent-Length: ${chunk.length * 40}`,
      false,
      413,
      "body_too_large",
    ],
    [
      "chunked",
      `${PUBLISH}\n${key}\nTransfer-Encoding: chunked`,
      true,
      413,
      "body_too_large",
    ],
    [
      "keep-alive",
      `${PUBLISH.replace("close", "keep-alive")}\n${key}\nContent-Length: ${
        chunk.length * 40
      }`,
      false,
      413,
      "body_too_large",
    ],
    [
      "without a key",
      `${PUBLISH}\nContent-Length: ${chunk.length * 40}`,
      false,
      401,
      "unauthorized",
    ],
  ];
  for (const [name, head, chunked, status, code] of cases) {
    await t.step(name, async () => {
      const connection = new Connection(port);
      const { socket } = connection;
      // Like many clients, it reads only after it has sent everything.
      socket.pause();
      socket.write(`${head.replaceAll("\n", "\r\n")}\r\n\r\n`);
      for (let i = 0; i < 40; i++) {
        if (chunked) socket.write(`${chunk.length.toString(16)}\r\n`);
        if (!socket.write(chunk)) {
          await soon(once(socket, "drain"), "a chunk is sent");
        }
        if (chunked) socket.write("\r\n");
      }
      if (chunked) socket.write("0\r\n\r\n");
      socket.resume();
      const response = await connection.end();
      assertError(response, status, code);
      assert.match(response, /\r\nconnection: close\r\n/i);
    });
  }
});
