import assert from "node:assert/strict";
import { connect } from "node:net";
import { Subscriber } from "../support/client.ts";
import { type Reply, TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { soon, until } from "../support/wait.ts";

const JSON_TYPE = { "content-type": "application/json" };
const TEXT_TYPE = { "content-type": "text/plain" };
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };

interface Case {
  name: string;
  path?: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array<ArrayBuffer>;
  status: number;
  code: string;
}

const CASES: readonly Case[] = [
  {
    name: "no body",
    headers: JSON_TYPE,
    status: 400,
    code: "malformed_body",
  },
  { name: "no body and no type", status: 400, code: "malformed_body" },
  {
    name: "invalid JSON",
    headers: JSON_TYPE,
    body: '{"message":',
    status: 400,
    code: "malformed_body",
  },
  {
    name: "JSON that is not an object",
    headers: JSON_TYPE,
    body: '["hello"]',
    status: 400,
    code: "malformed_body",
  },
  {
    name: "invalid UTF-8 as JSON",
    headers: JSON_TYPE,
    body: bytes('{"message":"', 0xff, 0xfe, '"}'),
    status: 400,
    code: "malformed_body",
  },
  {
    name: "invalid UTF-8 as text",
    headers: TEXT_TYPE,
    body: bytes("hello", 0xc3, 0x28),
    status: 400,
    code: "malformed_body",
  },
  {
    name: "invalid UTF-8 in a form",
    headers: FORM_TYPE,
    body: "message=a%FFb",
    status: 400,
    code: "malformed_body",
  },
  {
    name: "invalid UTF-8 in a multipart form",
    headers: { "content-type": "multipart/form-data; boundary=x" },
    body: bytes(
      '--x\r\ncontent-disposition: form-data; name="message"\r\n\r\na',
      0xff,
      "b\r\n--x--\r\n",
    ),
    status: 400,
    code: "malformed_body",
  },
  {
    name: "a number that overflows a double",
    headers: JSON_TYPE,
    body: '{"message":[1e400]}',
    status: 400,
    code: "malformed_body",
  },
  {
    name: "JSON without a message",
    headers: JSON_TYPE,
    body: '{"room":"chat"}',
    status: 400,
    code: "message_missing",
  },
  {
    name: "a form without a message",
    headers: FORM_TYPE,
    body: "room=chat",
    status: 400,
    code: "message_missing",
  },
  {
    name: "a room of 0 bytes",
    headers: JSON_TYPE,
    body: '{"room":"","message":1}',
    status: 400,
    code: "invalid_room",
  },
  {
    name: "an empty ?room=",
    path: "/publish?room=",
    headers: JSON_TYPE,
    body: '{"message":1}',
    status: 400,
    code: "invalid_room",
  },
  {
    name: "?rooms=",
    path: "/publish?rooms=a,b",
    headers: TEXT_TYPE,
    body: "x",
    status: 400,
    code: "unknown_field",
  },
  {
    name: "a room of 256 bytes",
    headers: JSON_TYPE,
    body: JSON.stringify({ room: "é".repeat(128), message: 1 }),
    status: 400,
    code: "invalid_room",
  },
  {
    name: "a room with control characters",
    headers: JSON_TYPE,
    body: '{"room":"a\\u0007b","message":1}',
    status: 400,
    code: "invalid_room",
  },
  {
    name: "a room that is not a string",
    headers: JSON_TYPE,
    body: '{"room":{"a":1},"message":1}',
    status: 400,
    code: "invalid_room",
  },
  {
    name: "a message of 64 KiB and one byte",
    headers: JSON_TYPE,
    body: JSON.stringify({ message: "x".repeat(65_535) }),
    status: 413,
    code: "message_too_large",
  },
  {
    name: "a body of 4 MB",
    headers: JSON_TYPE,
    body: JSON.stringify({ message: "x".repeat(4_000_000) }),
    status: 413,
    code: "body_too_large",
  },
  {
    name: "a compressed body",
    headers: { ...JSON_TYPE, "content-encoding": "gzip" },
    body: '{"message":1}',
    status: 415,
    code: "unsupported_content_encoding",
  },
  {
    name: "an unsupported content type",
    headers: { "content-type": "image/png" },
    body: "x",
    status: 415,
    code: "unsupported_content_type",
  },
  {
    name: "a charset that is not UTF-8",
    headers: { "content-type": "text/plain; charset=iso-8859-1" },
    body: "x",
    status: 415,
    code: "unsupported_content_type",
  },
  {
    name: "a broken multipart form",
    headers: { "content-type": "multipart/form-data; boundary=x" },
    body: "--x\r\nnonsense",
    status: 400,
    code: "message_missing",
  },
  {
    name: "a method that the path does not support",
    method: "PUT",
    headers: JSON_TYPE,
    body: '{"message":1}',
    status: 405,
    code: "method_not_allowed",
  },
  {
    name: "an unknown path",
    path: "/publishh",
    status: 404,
    code: "not_found",
  },
  {
    name: "a ?room= that is not UTF-8",
    path: "/publish?room=%ff",
    headers: TEXT_TYPE,
    body: "x",
    status: 400,
    code: "malformed_request",
  },
  {
    name: "a path that is not UTF-8",
    method: "GET",
    path: "/rooms/%zz/history",
    status: 400,
    code: "malformed_request",
  },
  {
    name: "a path with two slashes",
    path: "//publish",
    headers: JSON_TYPE,
    body: '{"message":1}',
    status: 404,
    code: "not_found",
  },
  {
    name: "a page of another origin",
    headers: { ...TEXT_TYPE, origin: "https://evil.example" },
    body: "x",
    status: 403,
    code: "origin_not_allowed",
  },
];

Deno.test("bad input is rejected with a JSON error and does not reach the log", async (t) => {
  await using node = await TestNode.start();
  await using client = await Subscriber.connect(node.url);
  for (
    const {
      name,
      path = "/publish",
      method = "POST",
      headers,
      body,
      status,
      code,
    } of CASES
  ) {
    await t.step(name, async () => {
      const init = { method, headers: headers ?? {}, body: body ?? null };
      refused(await raw(node, path, init), status, code);
    });
  }
  // If one of the requests had published a message, it would arrive before this one.
  await node.publish("the end");
  const [first] = await client.messages.have(1);
  assert.equal(first?.message, "the end");
});

Deno.test("a message of exactly MESSAGE_BYTES_MAX is accepted as JSON, text and both kinds of form", async () => {
  await using node = await TestNode.start({ MESSAGE_BYTES_MAX: "1000" });
  await using client = await Subscriber.connect(node.url);
  const text = "é".repeat(499);
  const multipart = new FormData();
  multipart.set("message", text);
  const replies = [
    await node.post("/publish", { message: text }),
    await node.request("/publish?room=chat", {
      method: "POST",
      headers: TEXT_TYPE,
      body: text,
    }),
    await node.request("/publish", {
      method: "POST",
      body: new URLSearchParams({ room: "chat", message: text }),
    }),
    await node.request("/publish", { method: "POST", body: multipart }),
  ];
  assert.deepEqual(replies.map(({ status }) => status), [200, 200, 200, 200]);
  const received = await client.messages.have(4);
  assert.ok(received.every(({ message }) => message === text));
  refused(
    await node.post("/publish", { message: `${text}é` }),
    413,
    "message_too_large",
  );
});

Deno.test("PUBLISH_KEYS and ALLOWED_ORIGINS admit only publishers with a secret and pages of a listed origin", async () => {
  const origin = "https://app.example.com";
  await using node = await TestNode.start({
    PUBLISH_KEYS: "web:correct-horse,batch:battery-staple",
    ALLOWED_ORIGINS: origin,
  });
  const publish = (headers: Record<string, string>): Promise<Reply> =>
    node.post("/publish", { message: 1 }, headers);
  for (
    const authorization of [
      "",
      "Bearer",
      "Bearer wrong-secret",
      "Basic correct-horse",
      "Bearer correct-hors",
    ]
  ) {
    const reply = await publish(authorization === "" ? {} : { authorization });
    refused(reply, 401, "unauthorized");
    assert.equal(
      reply.headers.get("www-authenticate"),
      'Bearer realm="roomcast"',
    );
  }
  for (const secret of ["correct-horse", "battery-staple"]) {
    assert.equal(
      (await publish({ authorization: `Bearer ${secret}` })).status,
      200,
    );
  }
  const reply = await publish({
    authorization: "Bearer correct-horse",
    origin,
  });
  assert.equal(reply.status, 200);
  assert.equal(reply.headers.get("access-control-allow-origin"), origin);
  await using friend = await Subscriber.connect(node.url, {
    extraHeaders: { origin },
  });
  for (const transports of [["polling"], ["websocket"]]) {
    await using stranger = new Subscriber(node.url, {
      transports,
      reconnection: false,
      extraHeaders: { origin: "https://app.example.com.evil.example" },
    });
    await stranger.errors.have(1);
    assert.equal(stranger.socket.connected, false);
  }
  assert.ok(friend.socket.connected);
});

Deno.test("an invalid PUBLISH payload is counted and logged without its content", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({
    REDIS_URL: redis.url,
    CHANNELS: "chat,*",
    MESSAGE_BYTES_MAX: "100",
  });
  await using client = await Subscriber.connect(node.url);
  const script = (body: string): Promise<unknown> =>
    redis.command("EVAL", `return redis.call('PUBLISH', ${body})`, "0");
  await script(`'chat', 'secret\\255\\254'`);
  await script(`'chat', ''`);
  await script(`'chat', string.rep('secret', 100)`);
  await script(`string.rep('x', 300), 'a channel that cannot be a room'`);
  await redis.command("PUBLISH", "chat", "the next one");
  const [first] = await client.messages.have(1);
  assert.equal(first?.message, "the next one");
  await until(
    "all are counted",
    async () => await node.metric("roomcast_bridge_refused_total") === 4,
  );
  await node.log.where(() =>
    node.log.items.filter(({ kind }) => kind === "bridge_refused").length === 4
  );
  assert.ok(!node.output.includes("secret"));
});

Deno.test("one error lists all invalid settings before the port is opened", async () => {
  const { code, output } = await TestNode.fail({
    HOST: "0.0.0.0",
    PORT: "99999",
    ROOMS: "a\u0001",
    TOKEN_SECRET: "a very secret secret",
  });
  assert.equal(code, 1);
  assert.match(output, /^Cannot start: these settings are invalid; /m);
  for (const name of ["HOST", "PORT", "ROOMS", "TOKEN_SECRET"]) {
    assert.match(output, new RegExp(`^  ${name} `, "m"));
  }
  assert.ok(!output.includes("a very secret secret"));
});

Deno.test("the process survives aborted upgrade requests and an h2c upgrade request", async () => {
  await using node = await TestNode.start();
  const request =
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  for (let i = 0; i < 300; i++) {
    const socket = connect(node.port, "127.0.0.1");
    const closed = new Promise<void>((resolve) =>
      socket.on("close", () => resolve())
    );
    socket.on("error", () => {});
    socket.write(request.repeat(1 + i % 3), () => socket.resetAndDestroy());
    await soon(closed, "the connection is closed");
  }
  assert.equal((await node.get("/livez")).status, 200);
  const socket = connect(node.port, "127.0.0.1");
  let answer = "";
  socket.on(
    "data",
    (chunk: Uint8Array) => answer += new TextDecoder().decode(chunk),
  );
  const head =
    "POST /publish HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n";
  const closed = new Promise<void>((resolve) =>
    socket.on("close", () => resolve())
  );
  socket.write(
    `${head}HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello`,
  );
  await until("it is answered", () => answer.includes("duplicate"));
  socket.destroy();
  await soon(closed, "the connection is closed");
});

Deno.test("a malformed request or an oversized header gets a JSON error", async () => {
  await using node = await TestNode.start();
  const get = "GET /livez HTTP/1.1\r\nHost: x\r\n";
  const cases: [string, RegExp, RegExp][] = [
    ["hello\r\n\r\n", /^HTTP\/1\.1 400 /, /"code":"malformed_request"/],
    [
      `${get}Cookie: ${"x".repeat(17_000)}\r\n\r\n`,
      /^HTTP\/1\.1 431 /,
      /"code":"header_too_large","message":"[^"]*16384 bytes/,
    ],
  ];
  for (const [request, status, body] of cases) {
    const socket = connect(node.port, "127.0.0.1");
    let answer = "";
    socket.on(
      "data",
      (chunk: Uint8Array) => answer += new TextDecoder().decode(chunk),
    );
    const closed = new Promise<void>((resolve) =>
      socket.on("close", () => resolve())
    );
    socket.write(request);
    await soon(closed, "the connection is closed");
    assert.match(answer, status);
    assert.match(answer, body);
  }
});

Deno.test("many CONNECT packets on one connection create at most one subscriber", async () => {
  await using node = await TestNode.start();
  const url = `${node.url}/socket.io/?EIO=4&transport=polling`;
  const opened = await (await fetch(url)).text();
  const { sid } = JSON.parse(opened.slice(1));
  const post = await fetch(`${url}&sid=${sid}`, {
    method: "POST",
    body: Array(5000).fill("40").join("\x1e"),
  });
  await post.text();
  await node.publish("to the subscribers");
  await until(
    "the delivery is counted",
    async () => await node.metric("roomcast_deliveries_total") <= 1,
  );
  assert.ok(await node.metric("roomcast_deliveries_total") <= 1);
});

Deno.test("a node keeps delivering if connections send invalid or incomplete requests", async () => {
  await using node = await TestNode.start();
  await using client = await Subscriber.connect(node.url);
  const lines = [
    "GET /elsewhere HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 50\r\n\r\nhalf of it",
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "\x00\x01\x02 nonsense\r\n\r\n",
  ];
  for (const line of lines) {
    const socket = connect(node.port, "127.0.0.1");
    const closed = new Promise<void>((resolve) =>
      socket.on("close", () => resolve())
    );
    socket.on("error", () => {});
    socket.resume();
    socket.write(line);
    socket.end();
    await soon(closed, "the connection is closed");
  }
  await node.publish("still here");
  const [first] = await client.messages.have(1);
  assert.equal(first?.message, "still here");
  assert.equal(node.log.items.filter(({ kind }) => kind === "error").length, 0);
});

function refused(
  { status, body, text }: Reply,
  wanted: number,
  code: string,
): void {
  assert.equal(status, wanted, text);
  assert.deepEqual(Object.keys(body), ["error"]);
  assert.equal(body.error.code, code);
  assert.match(String(body.error.message), /^Cannot [^:]+: .+/);
}

function raw(node: TestNode, path: string, init: RequestInit): Promise<Reply> {
  return node.request(new URL(node.url + path).href, init);
}

function bytes(...parts: (string | number)[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === "number" ? part : [...new TextEncoder().encode(part)]
    ),
  );
}
