/** Headers of all responses, also of those that node:http or Engine.IO makes and no route. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { TestApp } from "../support/app.ts";
import { assertDocumented, type Exchange } from "../support/documented.ts";
import { soon } from "../support/wait.ts";

const HOST = "Host: 127.0.0.1\r\n";
const ENGINE = "/socket.io/?EIO=4&transport=";
const UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/** A request of each kind, up to the empty line, with the status of its response. */
const REQUESTS: readonly [status: number, head: string, body?: string][] = [
  [200, `GET / HTTP/1.1\r\n${HOST}`],
  [200, `GET /livez HTTP/1.1\r\n${HOST}`],
  [200, `HEAD /livez HTTP/1.1\r\n${HOST}`],
  [200, `GET /socket.io/socket.io.js HTTP/1.1\r\n${HOST}`],
  [204, `OPTIONS /publish HTTP/1.1\r\n${HOST}`],
  [204, `OPTIONS * HTTP/1.1\r\n${HOST}`],
  [400, `POST /publish HTTP/1.1\r\n${HOST}`],
  [400, `GET /% HTTP/1.1\r\n${HOST}`],
  [400, `GET /livez HTTP/1.1\r\nHost: [\r\n`],
  [404, `GET /nowhere HTTP/1.1\r\n${HOST}`],
  [405, `PUT /publish HTTP/1.1\r\n${HOST}`],
  [413, `POST /publish HTTP/1.1\r\n${HOST}Content-Length: 99999999\r\n`],
  [
    415,
    `POST /publish HTTP/1.1\r\n${HOST}Content-Type: a/b\r\nContent-Length: 1\r\n`,
    "x",
  ],
  [400, "nonsense\r\n"],
  [400, "CONNECT a:1 HTTP/1.1\r\n"],
  [431, `GET / HTTP/1.1\r\n${HOST}Cookie: ${"x".repeat(17_000)}\r\n`],
  [417, `POST /publish HTTP/1.1\r\n${HOST}Expect: x\r\n`],
  [200, `GET ${ENGINE}polling HTTP/1.1\r\n${HOST}`],
  [
    204,
    `OPTIONS ${ENGINE}polling HTTP/1.1\r\n${HOST}Origin: http://localhost\r\n`,
  ],
  [400, `GET ${ENGINE}polling&sid=x HTTP/1.1\r\n${HOST}`],
  [400, `POST ${ENGINE}polling HTTP/1.1\r\n${HOST}`],
  [400, `GET ${ENGINE}x HTTP/1.1\r\n${HOST}`],
  [
    200,
    `POST ${ENGINE}polling&sid={sid} HTTP/1.1\r\n${HOST}Content-Length: 1\r\n`,
    "3",
  ],
  [405, `PUT ${ENGINE}polling HTTP/1.1\r\n${HOST}`],
  [405, `PUT ${ENGINE}polling&sid={sid} HTTP/1.1\r\n${HOST}`],
  [
    413,
    `POST ${ENGINE}polling&sid={sid} HTTP/1.1\r\n${HOST}Content-Length: 200000\r\n`,
    "3".repeat(200_000),
  ],
  [426, `GET ${ENGINE}websocket HTTP/1.1\r\n${HOST}${UPGRADE}`],
  [400, `GET ${ENGINE}x HTTP/1.1\r\n${HOST}${UPGRADE}`],
];

/** Sends bytes on a connection of their own. Resolves to the response, up to 20,000 characters of it. */
async function send(port: number, bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("error", () => {});
  socket.setEncoding("latin1");
  const answered = new Promise<void>((resolve) => {
    socket.on("data", (chunk) => {
      text += chunk;
      if (text.includes("\r\n\r\n")) resolve();
    });
    socket.on("close", () => resolve());
  });
  await once(socket, "connect");
  socket.write(bytes);
  await soon(answered, `the response to ${bytes.slice(0, 80)}`);
  socket.destroy();
  return text.slice(0, 20_000);
}

/** Returns a response and the request that it is for. A request that cannot be read has neither method nor path. */
function exchangeOf(request: string, response: string): Exchange {
  const [, method = "GET", path = "/none"] =
    /^([A-Z]+) (\/\S*) HTTP/.exec(request) ?? [];
  const [head = "", text = ""] = response.split("\r\n\r\n");
  const [line = "", ...lines] = head.split("\r\n");
  const headers = new Headers(
    lines.map((line) => line.split(": ") as [string, string]),
  );
  const status = Number(line.split(" ")[1]);
  return { method, path, status, headers, text };
}

Deno.test("every response forbids sniffing, and none shows a version, a path or a stack", async () => {
  await using app = new TestApp();
  const port = await app.serve();
  const opened = await send(
    port,
    `GET ${ENGINE}polling HTTP/1.1\r\n${HOST}\r\n`,
  );
  const sid = /"sid":"([^"]+)"/.exec(opened)?.[1] ?? "";
  assert.notEqual(sid, "");
  for (const [status, head, body = ""] of REQUESTS) {
    const request = head.replace("{sid}", sid);
    const response = await send(port, `${request}\r\n${body}`);
    const what = `${request.slice(0, 80)}\n${response.slice(0, 300)}`;
    assert.match(response, new RegExp(`^HTTP/1\\.1 ${status} `), what);
    const [headers = ""] = response.split("\r\n\r\n");
    assert.match(headers, /^x-content-type-options: nosniff\r?$/im, what);
    assert.doesNotMatch(headers, /^(server|x-powered-by):/im, what);
    if (status >= 400) {
      assertDocumented("everyone", exchangeOf(request, response));
      assert.doesNotMatch(
        response,
        /\.(ts|js):\d|node_modules|Deno\/|\\n +at |\n +at /,
        what,
      );
    }
  }
});
