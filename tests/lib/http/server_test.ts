import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { createHttpServer } from "../../../lib/http/server.ts";
import { listen } from "../../support/net.ts";
import { soon, until } from "../../support/wait.ts";

/** Sends the bytes of one request. Resolves to the requests that reached the server's handlers, and to the response. */
async function send(
  head: string,
): Promise<{ reached: string[]; response: string; limits: string[] }> {
  const reached: string[] = [];
  const limits: string[] = [];
  const server = createHttpServer(
    (request, response) => {
      reached.push("request", request.url ?? "", request.headers.host ?? "");
      response.end("ok");
    },
    (request, socket) => {
      reached.push("upgrade", request.url ?? "", request.headers.host ?? "");
      socket.end("HTTP/1.1 101 Switching Protocols\r\n\r\n");
    },
    undefined,
    (limit) => limits.push(limit),
  );
  const client = connect(await listen(server), "127.0.0.1");
  let response = "";
  client.on("data", (chunk) => response += chunk);
  client.on("error", () => {});
  client.write(head.replaceAll("\n", "\r\n") + "\r\n\r\n");
  await soon(once(client, "close"), "the connection is closed");
  server.close();
  server.closeAllConnections();
  await once(server, "close");
  return { reached, response, limits };
}

const CLOSE = "Host: here\nConnection: close";
const WEBSOCKET = "Host: here\nConnection: Upgrade\nUpgrade: WebSocket";
const H2C =
  "Host: here\nConnection: Upgrade, HTTP2-Settings, close\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__";

Deno.test("createHttpServer() passes only WebSocket upgrades of Engine.IO's path to onUpgrade, and all other requests to onRequest", async () => {
  const cases: [head: string, reached: string[]][] = [
    [`GET /socket.io/?a=1 HTTP/1.1\n${WEBSOCKET}`, [
      "upgrade",
      "/socket.io/?a=1",
    ]],
    [`GET /socket.io?a=1 HTTP/1.1\n${WEBSOCKET}`, [
      "upgrade",
      "/socket.io/?a=1",
    ]],
    [`GET /socket.io/x HTTP/1.1\n${WEBSOCKET}, close`, [
      "request",
      "/socket.io/x",
    ]],
    [`GET /socket.io/?a=1 HTTP/1.1\n${H2C}`, ["request", "/socket.io/?a=1"]],
    [`GET /socket.io/socket.io.js HTTP/1.1\n${H2C}`, [
      "request",
      "/socket.io/socket.io.js",
    ]],
    [`GET /livez HTTP/1.1\n${H2C}`, ["request", "/livez"]],
    [`GET /livez HTTP/1.1\n${WEBSOCKET}, close`, ["request", "/livez"]],
    [`GET /livez HTTP/1.1\n${CLOSE}`, ["request", "/livez"]],
  ];
  for (const [head, expected] of cases) {
    const text = head.replace("Upgrade: WebSocket, close", "Upgrade: websocket")
      .replace("Connection: Upgrade\n", "Connection: Upgrade, close\n");
    const { reached } = await send(text);
    assert.deepEqual(reached, [...expected, "here"], head);
  }
});

Deno.test("createHttpServer() accepts an absolute request target and sets the host to that of the target", async () => {
  const cases: [target: string, url: string, host: string][] = [
    ["http://example.com/livez?a=1", "/livez?a=1", "example.com"],
    ["HTTP://example.com:4000/a%20b", "/a%20b", "example.com:4000"],
    ["https://example.com", "/", "example.com"],
    ["http://example.com?a=/b", "/?a=/b", "example.com"],
  ];
  for (const [target, url, host] of cases) {
    const { reached } = await send(`GET ${target} HTTP/1.1\n${CLOSE}`);
    assert.deepEqual(reached, ["request", url, host], target);
  }
  const { reached } = await send(
    `GET http://example.com/socket.io/?a=1 HTTP/1.1\n${WEBSOCKET}`,
  );
  assert.deepEqual(reached, ["upgrade", "/socket.io/?a=1", "example.com"]);
});

Deno.test("createHttpServer() responds to requests that cannot be read with an error as JSON", async () => {
  const cases: [head: string, status: number, code: string][] = [
    ["hello", 400, "malformed_request"],
    ["GET / HTTP/9.9", 400, "malformed_request"],
    [
      `GET / HTTP/1.1\n${CLOSE}\nCookie: ${"x".repeat(17_000)}`,
      431,
      "header_too_large",
    ],
  ];
  for (const [head, status, code] of cases) {
    const { reached, response, limits } = await send(head);
    assert.deepEqual(reached, []);
    assert.deepEqual(limits, status === 431 ? [code] : []);
    const [start = "", body = ""] = response.split("\r\n\r\n");
    assert.match(start, new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.match(start, /\r\nconnection: close\r\n/);
    const { error } = JSON.parse(body);
    assert.equal(error.code, code);
    assert.match(error.message, /^Cannot read the request: [^;]+; .+[^.]$/);
  }
});

Deno.test("createHttpServer() refuses a slow request once, even if the node is busy before it responds", async () => {
  const limits: string[] = [];
  const server = createHttpServer(
    () => {},
    undefined,
    undefined,
    (limit) => {
      limits.push(limit);
      // node:http looks for slow requests again before the response is sent.
      const end = performance.now() + 300;
      while (performance.now() < end);
    },
  );
  server.headersTimeout = 100;
  const client = connect(await listen(server), "127.0.0.1");
  let response = "";
  client.on("data", (chunk) => response += chunk);
  client.write("GET / HTTP/1.1\r\nx: ");
  await soon(once(client, "close"), "the connection is closed");
  assert.match(response, /^HTTP\/1\.1 408 /);
  assert.deepEqual(limits, ["request_too_slow"]);
  server.close();
  await once(server, "close");
});

Deno.test("createHttpServer() survives clients that reset the connection after CONNECT, and closes connections that clients end", async () => {
  const server = createHttpServer((_request, response) => response.end(), fail);
  const port = await listen(server);
  let open = 0;
  server.on("connection", (socket) => {
    open++;
    socket.on("close", () => open--);
  });
  for (let i = 0; i < 20; i++) {
    const client = connect(port, "127.0.0.1");
    client.on("error", () => {});
    client.write("CONNECT example.com:443 HTTP/1.1\r\n\r\n");
    if (i % 2 === 0) {
      await once(server, "connect");
      client.resetAndDestroy();
    } else {
      await once(client, "data");
      client.end();
    }
  }
  await until("all connections are closed", () => open === 0);
  server.close();
  await once(server, "close");
});

function fail(): void {
  assert.fail("The request was taken for a WebSocket upgrade");
}
