/** Which pages may use the server, over every transport: one table of origins for all of them. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { TestApp } from "../support/app.ts";
import { fetchDocumented } from "../support/documented.ts";
import { Subscriber } from "../support/client.ts";
import {
  RawConnection,
  WEBSOCKET_KEY,
  WEBSOCKET_PATH,
} from "../support/engine.ts";
import { makeToken, SECRET } from "../support/tokens.ts";
import { soon } from "../support/wait.ts";

const LISTED = "https://good.example";
/** The origin of an app in a web view, which is listed, too. */
const LISTED_APP = "capacitor://localhost";
/** Every kind of origin, by the port of the server, and whether its pages may use the server. */
const ORIGINS: readonly (readonly [
  name: string,
  origin: (port: number) => string | undefined,
  isAllowed: boolean,
])[] = [
  ["the server's own", (port) => `http://127.0.0.1:${port}`, true],
  ["a listed one", () => LISTED, true],
  ["a listed app", () => LISTED_APP, true],
  ["another app", () => "ionic://localhost", false],
  ["another host of the app", () => `${LISTED_APP}.evil.tld`, false],
  ["a local file", () => "file://", false],
  ["none", () => undefined, true],
  ["null", () => "null", false],
  ["upper case", () => "https://GOOD.example", false],
  ["another port", () => `${LISTED}:444`, false],
  ["the server's host, another port", () => "http://127.0.0.1:1", false],
  ["the default port", () => `${LISTED}:443`, false],
  ["another scheme", () => "http://good.example", false],
  ["a longer name", () => `${LISTED}.evil.tld`, false],
  ["a trailing dot", () => `${LISTED}.`, false],
  ["a user", () => "https://good.example@evil.tld", false],
  ["two", () => `${LISTED},https://evil.tld`, false],
];

/** Sends the text of a request, and resolves to the beginning of the response. */
function ask(port: number, request: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(request);
  const first = new Promise<string>((resolve) =>
    socket.once(
      "data",
      (chunk: Uint8Array) => resolve(new TextDecoder().decode(chunk)),
    )
  );
  return soon(first, "the response").finally(() => socket.destroy());
}

/** Settings of a server that other machines can reach, so that no origin is allowed because it is local. */
const SETTINGS = {
  HOST: "0.0.0.0",
  OPEN: "true",
  ALLOWED_ORIGINS: `${LISTED},${LISTED_APP}`,
};

/** The status of a response, and what its headers say about origins. */
interface Reply {
  readonly status: number;
  readonly readableBy: string | null;
  readonly vary: string | null;
}

async function send(
  url: string,
  origin: string | undefined,
  { method = "GET", headers = {}, body }: {
    method?: string;
    headers?: Record<string, string>;
    body?: string;
  } = {},
): Promise<Reply> {
  const response = await fetchDocumented(url, {
    method,
    headers: { ...headers, ...origin === undefined ? {} : { origin } },
    ...body === undefined ? {} : { body },
  });
  return {
    status: response.status,
    readableBy: response.headers.get("access-control-allow-origin"),
    vary: response.headers.get("vary"),
  };
}

/** Opens a WebSocket without a client and resolves to the beginning of the response. */
async function openWebSocket(
  port: number,
  origin: string | undefined,
): Promise<string> {
  const line = origin === undefined ? "" : `Origin: ${origin}\r\n`;
  await using client = new RawConnection(
    port,
    WEBSOCKET_PATH,
    `${WEBSOCKET_KEY}${line}`,
  );
  await client.pieces.have(1);
  return client.text;
}

/** Resolves to whether a stock client with this origin can connect. */
async function canConnect(
  url: string,
  transport: string,
  origin: string | undefined,
  token: string | undefined,
): Promise<boolean> {
  await using client = new Subscriber(url, {
    transports: [transport],
    reconnection: false,
    extraHeaders: origin === undefined ? {} : { origin },
    auth: token === undefined ? {} : { token },
  });
  await client.settled();
  return client.connects.items.length === 1;
}

for (const hasToken of [false, true]) {
  Deno.test(`only pages of the server's own and of listed origins can use the server ${hasToken ? "with" : "without"} a token, over every transport`, async (t) => {
    const token = hasToken
      ? await makeToken({
        sub: "ann",
        caps: [{ rooms: ["*"], allow: ["sub", "history"] }],
      })
      : undefined;
    await using app = new TestApp(
      hasToken ? { ...SETTINGS, TOKEN_SECRET: SECRET } : SETTINGS,
    );
    const port = await app.serve();
    const url = `http://127.0.0.1:${port}`;
    const headers: Record<string, string> = token === undefined
      ? {}
      : { authorization: `Bearer ${token}` };
    for (const [name, originOf, isAllowed] of ORIGINS) {
      const origin = originOf(port);
      const readableBy = isAllowed ? origin ?? null : null;
      await t.step(`${name}: ${origin}`, async () => {
        for (const transport of ["polling", "websocket"]) {
          assert.equal(
            await canConnect(url, transport, origin, token),
            isAllowed,
            transport,
          );
        }
        assert.match(
          await openWebSocket(port, origin),
          isAllowed
            ? /^HTTP\/1\.1 101 /
            : /^HTTP\/1\.1 403 [^]*\r\nVary: Origin\r\n[^]*ALLOWED_ORIGINS/i,
        );
        const poll = `${url}/socket.io/?EIO=4&transport=polling`;
        assert.deepEqual(await send(poll, origin), {
          status: isAllowed ? 200 : 403,
          readableBy,
          vary: "Origin",
        });
        // Anyone may send a GET, but only an allowed page can read the response.
        const history = `${url}/rooms/chat/history`;
        assert.deepEqual(await send(history, origin, { headers }), {
          status: 200,
          readableBy,
          vary: "Origin",
        });
        const publish = {
          method: "POST",
          headers: { "content-type": "text/plain" },
          body: "hello",
        };
        assert.deepEqual(await send(`${url}/publish`, origin, publish), {
          status: isAllowed ? 200 : 403,
          readableBy,
          vary: "Origin",
        });
        const preflight = await send(`${url}/publish`, origin, {
          method: "OPTIONS",
          headers: { "access-control-request-method": "POST" },
        });
        assert.equal(preflight.status, isAllowed ? 204 : 403);
        assert.equal(preflight.readableBy, readableBy);
        assert.equal(preflight.vary, "Origin");
      });
    }
  });
}

Deno.test("every response names Origin in Vary, and pages may read Retry-After", async () => {
  await using app = new TestApp(SETTINGS);
  const port = await app.serve();
  const url = `http://127.0.0.1:${port}`;
  const engine = "/socket.io/?EIO=4&transport=";
  for (
    const [method, path, status] of [
      ["GET", "/", 200],
      ["GET", "/static/page.js", 200],
      ["GET", "/socket.io/socket.io.js", 200],
      ["GET", "/page.json", 200],
      ["GET", "/none", 404],
      ["PUT", "/publish", 405],
      ["GET", "/rooms/%zz/history", 400],
      ["GET", `${engine}polling`, 200],
      ["GET", `${engine}polling&sid=none`, 400],
      ["GET", `${engine}none`, 400],
      ["POST", `${engine}polling`, 400],
      ["GET", "/socket.io/?EIO=3&transport=polling", 400],
    ] as const
  ) {
    for (const origin of [undefined, LISTED]) {
      const { headers, ...reply } = await fetchDocumented(`${url}${path}`, {
        method,
        headers: origin === undefined ? {} : { origin },
      });
      assert.equal(reply.status, status, path);
      assert.match(headers.get("vary") ?? "", /^Origin\b/, path);
      assert.equal(
        headers.get("access-control-expose-headers"),
        origin === undefined ? null : "Retry-After",
        path,
      );
    }
  }
  for (const request of ["nonsense\r\n\r\n", "OPTIONS * HTTP/1.1\r\n\r\n"]) {
    assert.match(await ask(port, request), /\r\nvary: Origin\r\n/i);
  }
});

Deno.test("with ALLOWED_ORIGINS=* every page can read responses, and no origin is reflected", async () => {
  await using app = new TestApp({ ...SETTINGS, ALLOWED_ORIGINS: "*" });
  const url = `http://127.0.0.1:${await app.serve()}`;
  for (
    const path of ["/livez", "/none", "/socket.io/?EIO=4&transport=polling"]
  ) {
    const { readableBy } = await send(`${url}${path}`, "https://any.example");
    assert.equal(readableBy, "*", path);
  }
});

Deno.test("on a loopback HOST, a page whose name was rebound to 127.0.0.1 can neither read, publish nor connect", async () => {
  await using app = new TestApp();
  const port = await app.serve();
  const browser = `Host: evil.tld:${port}\r\nAccept-Language: en\r\n`;
  const posting =
    `${browser}Origin: http://evil.tld:${port}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi`;
  const poll = "/socket.io/?EIO=4&transport=polling";
  for (
    const request of [
      `GET /rooms/chat/history HTTP/1.1\r\n${browser}\r\n`,
      `GET / HTTP/1.1\r\n${browser}\r\n`,
      `GET ${poll} HTTP/1.1\r\n${browser}\r\n`,
      `POST /publish HTTP/1.1\r\n${posting}`,
    ]
  ) {
    assert.match(
      await ask(port, request),
      /^HTTP\/1\.1 403 [^]*HOST is a loopback address/,
      request,
    );
  }
  // A connection that was opened in another way cannot be used either.
  const opened = await ask(
    port,
    `GET ${poll} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`,
  );
  const [, sid = ""] = /"sid":"([^"]+)"/.exec(opened) ?? [];
  assert.match(
    await ask(port, `POST ${poll}&sid=${sid} HTTP/1.1\r\n${posting}`),
    /^HTTP\/1\.1 403 /,
  );
});
