/** Tests EngineServer on real connections: the parts that it changes, and that the rest of Engine.IO still works. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import type { Socket } from "socket.io";
import { ApiError, ERROR_STATUS } from "../../../lib/errors.ts";
import { Gate } from "../../../lib/engineio/gate.ts";
import { cork, forgetRequest } from "../../../lib/engineio/internals.ts";
import { Subscriber } from "../../support/client.ts";
import { RawConnection, TestEngineServer } from "../../support/engine.ts";
import { PollingClient } from "../../support/polling.ts";
import { soon, until } from "../../support/wait.ts";

Deno.test("EngineServer sends the response to an upgrade and the first packet in one write", async () => {
  await using server = await TestEngineServer.start();
  await using client = new RawConnection(server.port);
  await client.pieces.have(1);
  assert.match(client.text, /^HTTP\/1\.1 101 [^]*\r\n\r\n[^]*0\{"sid":"/);
  assert.equal(client.pieces.items.length, 1);
});

Deno.test("cork() queues the packets of a new client until the connection is uncorked, and then sends CONNECT first", async () => {
  await using server = await TestEngineServer.start();
  const held = new WeakMap<Socket, () => void>();
  server.io.use((socket, next) => {
    held.set(socket, cork(socket));
    next();
  });
  server.io.on("connection", (socket) => {
    socket.emit("first", 1);
    socket.emit("second", 2);
    held.get(socket)?.();
    socket.emit("third", 3);
  });
  await using client = new RawConnection(server.port);
  await client.pieces.have(1);
  client.send("40");
  await until("everything arrives", () => client.text.includes('["third",3]'));
  assert.match(
    client.text.slice(client.text.indexOf("40{")),
    /^40\{"sid":"[^"]+"\}[^]*42\["first",1\][^]*42\["second",2\][^]*42\["third",3\]$/,
  );
});

Deno.test("EngineServer transfers binary data of any size in both directions", async () => {
  await using server = await TestEngineServer.start();
  server.io.on(
    "connection",
    (socket) =>
      socket.on("echo", (bytes: Buffer, answer: (bytes: Buffer) => void) => {
        assert.ok(bytes instanceof Buffer);
        answer(bytes);
      }),
  );
  await using client = new Subscriber(`http://127.0.0.1:${server.port}`, {
    transports: ["websocket"],
  });
  await client.connects.have(1);
  for (const length of [0, 1, 126, 70_000, 500_000]) {
    const bytes = Buffer.alloc(length, "\x00\xff\x80", "latin1");
    const back = await soon(
      client.socket.emitWithAck("echo", bytes),
      `${length} bytes come back`,
    );
    assert.deepEqual(Buffer.from(back), bytes);
  }
});

Deno.test("EngineServer no longer counts a client that has disconnected, whichever way the client disconnected", async () => {
  await using server = await TestEngineServer.start();
  for (const text of ["2", "nonsense", ""]) {
    await using client = new RawConnection(server.port);
    await client.pieces.have(1);
    assert.equal(server.engine.clientsCount, 1);
    if (text === "") await client[Symbol.asyncDispose]();
    else client.send(text);
    await until(
      "the client is disconnected",
      () => server.engine.clientsCount === 0,
    );
  }
});

Deno.test("EngineServer.close() ends a close that waits for the next poll of a client", async () => {
  await using server = await TestEngineServer.start();
  const url =
    `http://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=polling`;
  const closing = new Promise<void>((resolve) =>
    server.engine.on("connection", (connection) => {
      connection.close();
      resolve();
    })
  );
  await (await fetch(url)).text();
  await soon(closing, "the connection is closing");
  assert.equal(server.engine.clientsCount, 1);
  // A timer that is left over would make this test fail as well.
  server.engine.close();
  assert.equal(server.engine.clientsCount, 0);
});

Deno.test("EngineServer responds with the reason when it refuses an upgrade", async () => {
  const reported: string[] = [];
  await using server = await TestEngineServer.start({}, true, {
    refusalOf: ({ headers: { origin } }) =>
      origin === undefined
        ? undefined
        : new ApiError("origin_not_allowed", "Cannot connect: no"),
    onRefused: ({ code }) => void reported.push(code),
  });
  const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const version = "Sec-WebSocket-Version: 8\r\n";
  const path = "/socket.io/?EIO=4&transport=websocket";
  const refusals: [
    path: string,
    headers: string,
    status: number,
    code: number,
    own: RegExp,
  ][] = [
    [path, `${key}Origin: http://a.example\r\n`, 403, 4, /: no$/],
    [path, "Sec-WebSocket-Key: short\r\n", 400, 3, /-Key is missing or not /],
    [path, key + version, 426, 3, /-Version is not 13/],
    ["/socket.io/?EIO=4&transport=pigeon", key, 400, 0, /parameter transport/],
    [`${path}&sid=x`, key, 400, 1, /do not send sid yourself/],
    ["/socket.io/?EIO=3&transport=websocket", key, 400, 5, /use socket\.io-cl/],
    ["/socket.io/", key, 400, 0, /parameter transport/],
    ["/socket.io/?EIO=4&transport=polling", key, 400, 3, /does not fit/],
  ];
  for (const [path, headers, status, code, own] of refusals) {
    await using client = new RawConnection(server.port, path, headers);
    await until(`${path} is closed`, () => client.closed);
    const [head = "", body = ""] = client.text.split("\r\n\r\n");
    assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `), path);
    assert.match(head, /\r\nContent-Type: application\/json\r\n/i);
    const { error, ...engine } = JSON.parse(body);
    assert.equal(engine.code, code, path);
    assert.equal(typeof engine.message, "string");
    assert.ok(Object.hasOwn(ERROR_STATUS, error.code), error.code);
    assert.match(error.message, /^Cannot /);
    assert.match(error.message, own);
  }
  assert.equal(server.engine.clientsCount, 0);
  assert.deepEqual(reported, [
    "origin_not_allowed",
    "invalid_parameter",
    "invalid_parameter",
    "invalid_parameter",
  ]);
});

Deno.test("EngineServer responds to a refused poll with Engine.IO's fields and the error of Roomcast", async () => {
  await using server = await TestEngineServer.start({}, true, {
    refusalOf: ({ headers: { origin } }) =>
      origin === undefined
        ? undefined
        : new ApiError("origin_not_allowed", "Cannot connect: no"),
  });
  const url = `http://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=`;
  const ask = async (query: string, init: RequestInit = {}) => {
    const response = await fetch(url + query, init);
    const { error, ...engine } = await response.json();
    return [response.status, engine, error.code, error.message];
  };
  const unknown = { code: 1, message: "Session ID unknown" };
  const [status, engine, code, advice] = await ask("polling&sid=mine");
  assert.deepEqual([status, engine, code], [400, unknown, "invalid_parameter"]);
  assert.match(advice, /do not send sid yourself/);
  const foreign = { headers: { origin: "http://a.example" } };
  const no = "Cannot connect: no";
  assert.deepEqual(await ask("polling", foreign), [
    403,
    { code: 4, message: no },
    "origin_not_allowed",
    no,
  ]);
  const [, , , proxy] = await ask("websocket");
  assert.match(proxy, /let the proxy pass on the headers Upgrade/);
  const [, , method] = await ask("polling", { method: "POST" });
  assert.equal(method, "malformed_request");
});

Deno.test("EngineServer refuses clients beyond the limits when the delay of their refusals has ended", async () => {
  const refusals: (() => void)[] = [];
  await using server = await TestEngineServer.start({}, true, {
    gate: new Gate(undefined, { handshakesMax: 0, pollingMax: 0 }),
    delayRefusal: (_, refuse) => refusals.push(refuse),
  });
  await using websocket = new RawConnection(server.port);
  let status: number | undefined;
  const polled = fetch(
    `http://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=polling`,
  ).then(async (response) => {
    status = response.status;
    await response.body?.cancel();
  });
  await until("both refusals wait", () => refusals.length === 2);
  assert.equal(websocket.text, "");
  assert.equal(status, undefined);
  for (const refuse of refusals) refuse();
  await until("the WebSocket is refused", () => websocket.closed);
  assert.match(websocket.text, /^HTTP\/1\.1 503 /);
  await soon(polled, "the poll is refused");
  assert.equal(status, 503);
});

Deno.test("EngineServer goes on if clients are gone when the delay of their refusals has ended", async () => {
  const waiting: (readonly [IncomingMessage, refuse: () => void])[] = [];
  await using server = await TestEngineServer.start({}, true, {
    gate: new Gate(undefined, { handshakesMax: 0, pollingMax: 0 }),
    delayRefusal: (...refusal) => waiting.push(refusal),
  });
  const leaving = new AbortController();
  const polled = fetch(
    `http://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=polling`,
    { signal: leaving.signal },
  ).then(() => "a response", ({ name }) => name);
  {
    await using _ = new RawConnection(server.port);
    await until("both refusals wait", () => waiting.length === 2);
  }
  leaving.abort();
  assert.equal(await soon(polled, "the poll ends"), "AbortError");
  await until(
    "the server knows",
    () => waiting.some(([{ socket }]) => socket.destroyed),
  );
  for (const [, refuse] of waiting) refuse();
  await using next = new RawConnection(server.port);
  await until("its refusal waits", () => waiting.length === 3);
  waiting[2]?.[1]();
  await until("it is refused", () => next.closed);
  assert.match(next.text, /^HTTP\/1\.1 503 /);
});

Deno.test("EngineServer tells a client with an old protocol version which version of the client is needed", async () => {
  await using server = await TestEngineServer.start();
  for (const query of ["EIO=3&transport=polling", "transport=polling"]) {
    const response = await fetch(
      `http://127.0.0.1:${server.port}/socket.io/?${query}`,
    );
    assert.equal(response.status, 400);
    assert.match(
      response.headers.get("content-type") ?? "",
      /^application\/json/,
    );
    const message =
      "Cannot connect: the client does not speak Engine.IO protocol 4; use socket.io-client 4.6 or newer";
    assert.deepEqual(await response.json(), {
      code: 5,
      message,
      error: { code: "invalid_parameter", message },
    });
  }
});

Deno.test("EngineServer refuses JSONP, which a page of any origin could read", async () => {
  await using server = await TestEngineServer.start();
  for (const j of ["0", "", "1&j=2"]) {
    const response = await fetch(
      `http://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=polling&j=${j}`,
    );
    assert.equal(response.status, 400);
    const message =
      "Cannot connect: JSONP is not supported; connect without the query parameter j";
    assert.deepEqual(await response.json(), {
      code: 3,
      message,
      error: { code: "invalid_parameter", message },
    });
  }
  assert.equal(server.engine.clientsCount, 0);
});

Deno.test("EngineServer refuses methods that polling clients do not use", async () => {
  await using server = await TestEngineServer.start();
  const url =
    `http://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=polling`;
  const opened = await (await fetch(url)).text();
  const { sid } = JSON.parse(opened.slice(1));
  const plain = new URL("/socket.io/", url).href;
  for (const address of [`${url}&sid=${sid}`, url, plain]) {
    for (const method of ["PUT", "DELETE", "HEAD"]) {
      const response = await fetch(address, { method });
      const text = await response.text();
      assert.equal(response.status, 405, `${method} ${address}`);
      assert.equal(response.headers.get("allow"), "GET, POST, OPTIONS");
      assert.equal(response.headers.get("retry-after"), null);
      if (method === "HEAD") continue;
      assert.equal(JSON.parse(text).error.code, "method_not_allowed");
    }
  }
});

Deno.test("EngineServer answers OPTIONS with the methods of polling clients, also to a page that may not connect", async () => {
  await using server = await TestEngineServer.start();
  const url = `http://127.0.0.1:${server.port}/socket.io/`;
  for (const query of ["", "?EIO=4&transport=polling"]) {
    for (const headers of [{}, { origin: "http://elsewhere.example" }]) {
      const response = await fetch(url + query, { method: "OPTIONS", headers });
      assert.equal(await response.text(), "");
      assert.equal(response.status, 204);
      assert.equal(response.headers.get("allow"), "GET, POST, OPTIONS");
      assert.equal(response.headers.get("access-control-allow-origin"), null);
    }
  }
});

Deno.test("a stopping EngineServer responds with 503 to all clients except those already connected", async () => {
  await using server = await TestEngineServer.start();
  const client = await PollingClient.connect(
    `http://127.0.0.1:${server.port}`,
    [],
  );
  assert.deepEqual(await client.poll(), []);
  server.engine.stopping = true;
  for (const sid of ["", "&sid=of-another-node"]) {
    await using upgrade = new RawConnection(
      server.port,
      `/socket.io/?EIO=4&transport=websocket${sid}`,
    );
    await until("the upgrade is refused", () => upgrade.closed);
    assert.match(
      upgrade.text,
      /^HTTP\/1\.1 503 [^]*\r\nRetry-After: 1\r\n[^]*: this node is stopping; connect again"\}\}$/i,
    );
    for (const method of sid === "" ? ["GET"] : ["GET", "POST"]) {
      const response = await fetch(
        `http://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=polling${sid}`,
        { method },
      );
      assert.equal(response.status, 503);
      assert.equal(response.headers.get("retry-after"), "1");
      assert.deepEqual(await response.json(), {
        error: {
          code: "draining",
          message: "Cannot connect: this node is stopping; connect again",
        },
      });
    }
  }
  server.io.emit("msgReceived", "hello");
  assert.deepEqual(await client.poll(), [["msgReceived", "hello"]]);
});

Deno.test("EngineServer refuses an upgrade for a connection that already uses WebSocket", async () => {
  await using server = await TestEngineServer.start();
  await using first = new RawConnection(server.port);
  await until("it is open", () => first.text.includes('"sid":"'));
  const [, sid] = /"sid":"([^"]+)"/.exec(first.text) ?? [];
  await using second = new RawConnection(
    server.port,
    `/socket.io/?EIO=4&transport=websocket&sid=${sid}`,
  );
  await until("it is refused", () => second.closed);
  assert.match(second.text, /"message":"Bad request","error":\{/);
  assert.equal(server.engine.clientsCount, 1);
});

// For a moment after polling clients close, they still have timers, which Deno would report as leaks of the next test.
// Therefore these tests are the last ones and do not check for leaks.
const POLLING = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "a polling client can connect if its connection is corked and uncorked in the same synchronous step",
  POLLING,
  async () => {
    await using server = await TestEngineServer.start();
    server.io.use((socket, next) => {
      const release = cork(socket);
      next();
      release();
    });
    await using client = new Subscriber(`http://127.0.0.1:${server.port}`, {
      transports: ["polling"],
    });
    await client.connects.have(1);
  },
);

Deno.test(
  "EngineServer upgrades a client from polling to WebSocket",
  POLLING,
  async () => {
    await using server = await TestEngineServer.start();
    await using client = await Subscriber.connect(
      `http://127.0.0.1:${server.port}`,
    );
    const { engine } = client.socket.io;
    await until("it is upgraded", () => engine.transport.name === "websocket");
    const [socket] = server.io.of("/").sockets.values();
    socket?.emit("msgReceived", "hello", { room: "chat", at: 1 }, "1-0");
    await client.messages.have(1);
  },
);

Deno.test(
  "forgetRequest() drops the headers and credentials of a client and keeps the rest of the client's handshake",
  POLLING,
  async () => {
    await using server = await TestEngineServer.start();
    const come = new Promise<Socket>((resolve) =>
      server.io.on("connection", (socket) => {
        forgetRequest(socket);
        resolve(socket);
      })
    );
    await using _ = new Subscriber(`http://127.0.0.1:${server.port}`, {
      auth: { token: "secret" },
    });
    const { request, handshake } = await soon(come, "the client connects");
    assert.equal(request, undefined);
    assert.deepEqual(handshake.auth, {});
    assert.deepEqual(handshake.headers, {});
    assert.equal(handshake.address, "127.0.0.1");
    assert.equal(handshake.query.EIO, "4");
    const [found] = await server.io.fetchSockets();
    assert.deepEqual(found?.handshake.auth, {});
  },
);
