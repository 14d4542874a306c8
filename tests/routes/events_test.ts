/** `GET /rooms/{room}/events` and `GET /events` of an embedded node. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import { TestApp } from "../support/app.ts";
import { assertDocumented, fetchDocumented } from "../support/documented.ts";
import {
  EventStream,
  type EventStreamOptions,
} from "../support/event_stream.ts";
import { HookBackend, json, result } from "../support/hook_backend.ts";
import { inSeconds, makeToken, SECRET } from "../support/tokens.ts";
import { until } from "../support/wait.ts";

/** An app that is served on a port, with the means to open streams. */
class Streams implements AsyncDisposable {
  readonly app: TestApp;
  readonly #stack = new AsyncDisposableStack();
  url = "";

  private constructor(app: TestApp) {
    this.app = app;
  }

  static async serve(
    settings: Record<string, string> = {},
    parts: ConstructorParameters<typeof TestApp>[1] = {},
  ): Promise<Streams> {
    const app = new TestApp(settings, parts);
    const streams = new Streams(app);
    streams.url = `http://127.0.0.1:${await app.serve()}`;
    return streams;
  }

  /** Opens a stream that has to begin. */
  async start(
    path: string,
    options?: EventStreamOptions,
  ): Promise<EventStream> {
    const stream = await EventStream.start(this.url + path, options);
    const { status, headers } = stream.response;
    const exchange = { method: "GET", path, status, headers, text: "" };
    assertDocumented("everyone", exchange);
    return this.#stack.use(stream);
  }

  /** Sends a request that has to be refused, and resolves to its status and the code of the error. */
  async refusal(
    path: string,
    headers: Record<string, string> = {},
  ): Promise<[status: number, code: string, message: string]> {
    const { status, text } = await fetchDocumented(this.url + path, {
      headers,
    });
    const { error } = JSON.parse(text);
    return [status, error.code, error.message];
  }

  async publish(message: unknown, room = "chat"): Promise<string> {
    const { body } = await this.app.post("/publish", { message, room });
    return body.id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    await this.app[Symbol.asyncDispose]();
  }
}

Deno.test("a stream has the headers of an event stream, and each message with its position, event and data", async () => {
  await using streams = await Streams.serve();
  const stream = await streams.start("/rooms/chat/events");
  const { status, headers } = stream.response;
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "text/event-stream");
  assert.equal(headers.get("cache-control"), "no-store, no-transform");
  assert.equal(headers.get("x-accel-buffering"), "no");
  assert.equal(headers.get("x-content-type-options"), "nosniff");
  assert.equal(headers.get("vary"), "Origin");
  const id = await streams.publish({ text: "hello" });
  await streams.publish("elsewhere", "other");
  await streams.app.post("/publish", { message: 2, event: "order.paid" });
  const [first, second] = await stream.events.have(2);
  const { epoch } = streams.app.node.log.head;
  assert.deepEqual(first, {
    event: "msgReceived",
    lastEventId: `${epoch}.${id}`,
    data: { message: { text: "hello" }, room: "chat", id, at: parseInt(id) },
  });
  assert.equal(second?.event, "order.paid");
});

Deno.test("a stream goes on after Last-Event-ID, after since, with the last messages, or from now", async () => {
  await using streams = await Streams.serve();
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) ids.push(await streams.publish(i));
  const { epoch } = streams.app.node.log.head;
  const cases: [
    query: string,
    lastEventId: string | undefined,
    from: number,
  ][] = [
    ["", undefined, 5],
    ["", "", 5],
    ["?last=0", undefined, 5],
    ["?last=2", undefined, 3],
    ["?last=1000", undefined, 0],
    [`?since=${ids[1]}`, undefined, 2],
    [`?since=${epoch}.${ids[1]}`, undefined, 2],
    [`?since=${ids[1]}&last=1`, undefined, 2],
    ["", `${epoch}.${ids[2]}`, 3],
    ["", ids[2], 3],
    [`?since=${ids[0]}&last=5`, `${epoch}.${ids[3]}`, 4],
  ];
  const open = await Promise.all(
    cases.map(([query, lastEventId]) =>
      streams.start(
        `/rooms/chat/events${query}`,
        lastEventId === undefined ? {} : { lastEventId },
      )
    ),
  );
  await streams.publish("new");
  for (const [i, [query, lastEventId, from]] of cases.entries()) {
    const stream = open[i] as EventStream;
    const expected = [...[0, 1, 2, 3, 4].slice(from), "new"];
    await stream.events.have(expected.length);
    assert.deepEqual(stream.messages, expected, `${query} ${lastEventId}`);
  }
});

Deno.test("a client that has received no message resumes where its stream began", async () => {
  await using streams = await Streams.serve();
  await streams.publish("before");
  const stream = await streams.start("/rooms/chat/events");
  const { lastEventId } = stream.parser;
  await stream[Symbol.asyncDispose]();
  await streams.publish("while away");
  const next = await streams.start("/rooms/chat/events", { lastEventId });
  await next.events.have(1);
  assert.deepEqual(next.messages, ["while away"]);
});

Deno.test("an EventSource is sent its first position as an event, because some browsers keep no id without data", async () => {
  await using streams = await Streams.serve();
  const stream = await streams.start("/rooms/chat/events", {
    headers: { accept: "text/event-stream" },
  });
  const [first] = await stream.events.have(1);
  const { lastEventId } = stream.parser;
  assert.deepEqual(first, {
    event: "position",
    lastEventId,
    data: { position: lastEventId },
  });
  await stream[Symbol.asyncDispose]();
  await streams.publish("while away");
  const next = await streams.start("/rooms/chat/events", { lastEventId });
  await next.events.have(1);
  assert.deepEqual(next.messages, ["while away"]);
});

Deno.test("GET /events has the messages of several rooms in one order, and resumes all rooms at one position", async () => {
  await using streams = await Streams.serve({ ROOMS: "first,second" });
  const path = "/events?rooms=a,b,é%20c";
  const stream = await streams.start(path);
  const byDefault = await streams.start("/events");
  for (const room of ["a", "b", "é c", "other", "b", "second"]) {
    await streams.publish(`in ${room}`, room);
  }
  await stream.events.have(4);
  assert.deepEqual(stream.messages, ["in a", "in b", "in é c", "in b"]);
  await byDefault.events.have(1);
  assert.deepEqual(byDefault.messages, ["in second"]);
  const [, second] = stream.events.items;
  const resumed = await streams.start(path, {
    lastEventId: second?.lastEventId ?? "",
  });
  await resumed.events.have(2);
  assert.deepEqual(resumed.messages, ["in é c", "in b"]);
  const latest = await streams.start("/events?rooms=a,b&last=1");
  await latest.events.have(2);
  assert.deepEqual(latest.messages, ["in a", "in b"]);
});

Deno.test("a stream is told of a gap before the messages, and goes on after it", async () => {
  await using streams = await Streams.serve({ HISTORY_SIZE: "2" });
  const since = "aaaaaaaaaaaaaaaa.1700-1";
  await streams.publish("unseen");
  const stream = await streams.start("/events?rooms=chat,other", {
    lastEventId: since,
  });
  await stream.events.have(2);
  assert.deepEqual(
    stream.events.items.map((
      { event, data },
    ) => [event, data.room, data.reason, data.since]),
    [
      ["gap", "chat", "epoch", "1700-1"],
      ["gap", "other", "epoch", "1700-1"],
    ],
  );
  // The position is the new one, so that the gap is told once.
  const { lastEventId } = stream.parser;
  assert.notEqual(lastEventId, since);
  await streams.publish("seen");
  await stream.events.have(3);
  const next = await streams.start("/events?rooms=chat,other", { lastEventId });
  await next.events.have(1);
  assert.deepEqual(next.messages, ["seen"]);
  assert.equal(
    streams.app.observations.filter(({ kind }) => kind === "recovered").length,
    1,
  );
});

Deno.test("a request with a wrong room, position, number or parameter is 400", async () => {
  await using streams = await Streams.serve({ ROOMS_PER_CLIENT_MAX: "2" });
  const cases: [
    path: string,
    code: string,
    message: RegExp,
    lastEventId?: string,
  ][] = [
    ["/events?rooms=", "invalid_room", /0 bytes/],
    ["/events?rooms=a,,b", "invalid_room", /0 bytes/],
    ["/events?rooms=a,b,c", "too_many_rooms", /at most 2 rooms/],
    ["/rooms/a%0ab/events", "invalid_room", /control characters/],
    ["/rooms/a/events?since=yesterday", "invalid_position", /"since"/],
    ["/rooms/a/events?since=", "invalid_position", /"since"/],
    ["/rooms/a/events", "invalid_position", /Last-Event-ID/, "$"],
    ["/rooms/a/events?last=-1", "invalid_parameter", /"last"/],
    ["/rooms/a/events?last=1001", "invalid_parameter", /"last"/],
    ["/rooms/a/events?last=", "invalid_parameter", /"last"/],
    ["/rooms/a/events?rooms=b", "unknown_field", /GET \/events\?rooms=/],
    ["/rooms/a/events?sinse=1", "unknown_field", /did you mean "since"/],
    ["/events?room=a", "unknown_field", /did you mean "rooms"/],
    ["/events?rooms=a&token=x", "unknown_field", /Authorization.*TOKEN_COOKIE/],
    ["/rooms/a/events?access_token=x", "unknown_field", /Authorization/],
    ["/events?rooms=a&rooms=b", "invalid_parameter", /twice/],
  ];
  for (const [path, code, message, lastEventId] of cases) {
    const [status, actual, text] = await streams.refusal(path, {
      // The header that an EventSource sends changes nothing for errors that do not pass.
      accept: "text/event-stream",
      ...lastEventId !== undefined && { "last-event-id": lastEventId },
    });
    assert.deepEqual([status, actual], [400, code], path);
    assert.match(text, message, path);
  }
});

/** Sends a request and resolves to all bytes until `isDone` returns true. */
async function exchange(
  url: string,
  request: string,
  isDone: (received: string) => boolean,
): Promise<string> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  let received = "";
  let isClosed = false;
  socket.on("data", (chunk: Buffer) => received += chunk.toString());
  socket.on("close", () => isClosed = true);
  socket.write(request);
  try {
    await until("all arrives", () => isClosed || isDone(received));
  } finally {
    socket.destroy();
  }
  return received;
}

Deno.test("a stream is sent in chunks to HTTP/1.1, and without them to HTTP/1.0", async () => {
  await using streams = await Streams.serve();
  await streams.publish("hello");
  const get = (version: string) =>
    exchange(
      streams.url,
      `GET /rooms/chat/events?last=1 HTTP/${version}\r\nhost: 127.0.0.1\r\n\r\n`,
      (received) => received.includes("retry: "),
    );
  for (const version of ["1.1", "1.0"]) {
    const received = await get(version);
    const isChunked = version === "1.1";
    const [head = "", body = ""] = received.split(/\r\n\r\n(.*)/s);
    assert.match(head, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(head, /\r\nconnection: close(\r\n|$)/);
    assert.match(head, /\r\ndate: .+ GMT\r\n/);
    assert.equal(/\r\ntransfer-encoding: chunked/.test(head), isChunked);
    assert.match(body, isChunked ? /^[\da-f]+\r\nid: / : /^id: /);
  }
});

Deno.test("HEAD responds with the headers of a stream and opens none, and checks the same rights", async () => {
  await using streams = await Streams.serve({
    TOKEN_SECRET: SECRET,
    PUBLIC_ROOMS: "open",
  });
  const head = async (path: string) => {
    const { status, headers } = await fetchDocumented(streams.url + path, {
      method: "HEAD",
    });
    return [status, headers.get("content-type")];
  };
  assert.deepEqual(await head("/rooms/open/events"), [
    200,
    "text/event-stream",
  ]);
  assert.deepEqual((await head("/rooms/chat/events"))[0], 401);
  assert.equal(streams.app.node.streams.count, 0);
  for (const path of ["/events", "/rooms/chat/events/"]) {
    const options = await streams.app.request(path, { method: "OPTIONS" });
    assert.equal(options.headers.get("allow"), "GET, HEAD, OPTIONS");
    const post = await streams.app.request(path, { method: "POST" });
    assert.equal(post.status, 405);
  }
});

Deno.test("a stream needs the right to its rooms, by a token in a header or in a cookie, or by a publish key", async () => {
  await using streams = await Streams.serve({
    PUBLISH_KEYS: "all:correct-horse,some:battery-staple",
    PUBLISH_KEY_ROOMS: "some=news",
    TOKEN_SECRET: SECRET,
    TOKEN_COOKIE: "token",
    PUBLIC_ROOMS: "open",
    ALLOWED_ORIGINS: "https://good.example",
  });
  const caps = [{ rooms: ["chat"], allow: ["sub"] }, {
    rooms: ["past"],
    allow: ["history"],
  }];
  const token = await makeToken({ sub: "ann", caps });
  const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });
  const cookie = { cookie: `token=${token}`, origin: "https://good.example" };
  const cases: [
    headers: Record<string, string>,
    allowed: string[],
    refused: [string, number][],
  ][] = [
    [{}, ["open"], [["chat", 401]]],
    [bearer(token), ["chat", "open"], [["news", 403], ["past", 403]]],
    [cookie, ["chat"], [["news", 403]]],
    [bearer("correct-horse"), ["chat", "news"], []],
    [bearer("battery-staple"), ["news"], [["chat", 403]]],
    [bearer("wrong"), [], [["open", 401]]],
    [bearer(await makeToken({ caps, exp: inSeconds(-60) })), [], [[
      "open",
      401,
    ]]],
    [{ origin: "https://evil.example" }, [], [["open", 403]]],
    [{ cookie: `token=${token}` }, [], [["chat", 401]]],
  ];
  for (const [headers, allowed, refused] of cases) {
    for (const room of allowed) {
      const stream = await streams.start(`/rooms/${room}/events`, { headers });
      assert.equal(
        stream.response.headers.get("access-control-allow-origin"),
        headers.origin ?? null,
      );
      await stream[Symbol.asyncDispose]();
    }
    for (const [room, status] of refused) {
      const [actual] = await streams.refusal(`/rooms/${room}/events`, headers);
      assert.equal(actual, status, `${JSON.stringify(headers)} ${room}`);
      const [both] = await streams.refusal(
        `/events?rooms=open,${room}`,
        headers,
      );
      assert.equal(both, status);
    }
  }
});

Deno.test("without tokens everyone may open a stream, also if publishing needs a key", async () => {
  await using streams = await Streams.serve({
    PUBLISH_KEYS: "web:correct-horse",
  });
  await streams.start("/rooms/chat/events");
});

Deno.test("at a port for clients, a publish key is no credential for a stream", async () => {
  await using streams = await Streams.serve(
    { PUBLISH_KEYS: "web:correct-horse", TOKEN_SECRET: SECRET },
    { audience: "clients" },
  );
  const [status, , message] = await streams.refusal("/rooms/chat/events", {
    authorization: "Bearer correct-horse",
  });
  assert.equal(status, 401);
  assert.match(message, /send a client token .* no publish key$/);
});

Deno.test("at a port for backends, a token in a cookie is no credential for a stream", async () => {
  const settings = { TOKEN_SECRET: SECRET, TOKEN_COOKIE: "token" };
  const caps = [{ rooms: ["chat"], allow: ["sub"] }];
  const token = await makeToken({ sub: "ann", caps });
  const headers = {
    cookie: `token=${token}`,
    "sec-fetch-site": "same-origin",
  };
  for (const audience of ["backends", "everyone"] as const) {
    await using streams = await Streams.serve(settings, { audience });
    const { status } = await fetchDocumented(
      `${streams.url}/rooms/chat/events`,
      { method: "HEAD", headers },
      () => audience,
    );
    assert.equal(status, audience === "backends" ? 401 : 200);
  }
});

Deno.test("GET /events without rooms has the default rooms and those of the token that the token allows", async () => {
  await using streams = await Streams.serve({
    ROOMS: "chat,secret",
    TOKEN_SECRET: SECRET,
  });
  const authorization = `Bearer ${await makeToken({
    rooms: ["user.ann"],
    caps: [{ rooms: ["chat", "user.ann"], allow: ["sub"] }],
  })}`;
  const all = await streams.start("/events", { headers: { authorization } });
  const named = await streams.start("/events?rooms=chat", {
    headers: { authorization },
  });
  for (const room of ["secret", "user.ann", "chat"]) {
    await streams.publish(room, room);
  }
  await all.events.have(2);
  assert.deepEqual(all.messages, ["user.ann", "chat"]);
  await named.events.have(1);
  assert.deepEqual(named.messages, ["chat"]);
  const none = await makeToken({ caps: [] });
  const [status] = await streams.refusal("/events", {
    authorization: `Bearer ${none}`,
  });
  assert.equal(status, 403);
});

Deno.test("a stream that comes back is told which of its rooms it may no longer be in, and gets the others", async () => {
  await using streams = await Streams.serve({
    TOKEN_SECRET: SECRET,
    PUBLIC_ROOMS: "open",
  });
  const lastEventId = `${streams.app.node.log.head.epoch}.1-0`;
  const stream = await streams.start("/events?rooms=open,secret", {
    lastEventId,
  });
  await streams.publish("seen", "open");
  await streams.publish("unseen", "secret");
  await until("the message arrives", () => stream.messages.length === 1);
  assert.deepEqual(
    stream.events.items.filter(({ event }) => event === "left")
      .map(({ data }) => data),
    [{ room: "secret", reason: "revoked" }],
  );
  const [status] = await streams.refusal("/rooms/secret/events", {
    "last-event-id": lastEventId,
  });
  assert.equal(status, 401);
});

Deno.test("a revoked client's stream ends", async () => {
  await using streams = await Streams.serve({ TOKEN_SECRET: SECRET });
  const caps = [{ rooms: ["chat"], allow: ["sub"] }];
  const authorization = `Bearer ${await makeToken({
    sub: "ann",
    caps,
    iat: inSeconds(-60),
  })}`;
  const stream = await streams.start("/rooms/chat/events", {
    headers: { authorization },
  });
  await streams.app.post("/revoke", { user: "ann" });
  await stream.ended();
  assert.equal(stream.error, undefined);
  const [status] = await streams.refusal("/rooms/chat/events", {
    authorization,
  });
  assert.equal(status, 401);
});

Deno.test("a backend sees streams, takes them out of rooms, and disconnects them, but does not put them into rooms", async () => {
  await using streams = await Streams.serve({ TOKEN_SECRET: SECRET });
  const caps = [{ rooms: ["a", "b", "c"], allow: ["sub"] }];
  const token = await makeToken({ sub: "ann", caps });
  const headers = { authorization: `Bearer ${token}` };
  const both = await streams.start("/events?rooms=a,b", { headers });
  const single = await streams.start("/rooms/b/events", { headers });
  const { body } = await streams.app.request("/rooms/b");
  assert.deepEqual([body.clients, body.users], [2, 1]);
  const post = async (path: string): Promise<void> => {
    const { status, text } = await streams.app.post(path, { user: "ann" });
    assert.ok(status < 300, text);
  };
  await post("/rooms/c/join");
  await streams.publish("unseen", "c");
  await post("/rooms/b/leave");
  // Its only room is gone.
  await single.ended();
  for (const { events } of [both, single]) {
    const [{ event, data } = {}] = await events.have(1);
    assert.deepEqual([event, data], ["left", { room: "b", reason: "removed" }]);
  }
  await streams.publish("unseen", "b");
  await streams.publish("seen", "a");
  await both.events.have(2);
  assert.deepEqual(both.messages, ["seen"]);
  await post("/disconnect");
  await both.ended();
});

Deno.test("streams count for the limits of connections, together with sockets, until they are closed", async () => {
  await using streams = await Streams.serve({ CLIENTS_MAX: "1" });
  const stream = await streams.start("/rooms/chat/events");
  const [status, code] = await streams.refusal("/rooms/chat/events");
  assert.deepEqual([status, code], [503, "too_many_clients"]);
  assert.equal(streams.app.limited("too_many_clients"), 1);
  await stream[Symbol.asyncDispose]();
  await until(
    "the stream is not counted any more",
    () => streams.app.node.streams.count === 0,
  );
  await streams.start("/rooms/chat/events");
});

Deno.test("a stream that is refused, or whose client goes while a hook is asked, does not count for the limits", async () => {
  const allow = result({
    user: "ann",
    caps: [{ rooms: ["chat"], allow: ["sub"] }],
  });
  await using backend = await HookBackend.start(allow);
  await using streams = await Streams.serve({
    CONNECT_HOOK_URL: backend.url(),
    CLIENTS_MAX: "1",
  });
  for (const path of ["/rooms/news/events", "/events?rooms=chat,news"]) {
    assert.equal((await streams.refusal(path))[0], 403);
  }
  const gone = connect(Number(new URL(streams.url).port), "127.0.0.1");
  const closed = Promise.withResolvers<void>();
  backend.respond = async (call, response) => {
    await closed.promise;
    await allow(call, response);
  };
  gone.write("GET /rooms/chat/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
  await backend.calls.have(3);
  gone.destroy();
  closed.resolve();
  await until("the next one is let in", async () => {
    const next = await EventStream.open(`${streams.url}/rooms/chat/events`);
    await next[Symbol.asyncDispose]();
    return next.response.status === 200;
  });
});

Deno.test("a stream that is being opened when the node begins to stop is refused", async () => {
  const stopping = Promise.withResolvers<void>();
  await using backend = await HookBackend.start(async (call, response) => {
    await stopping.promise;
    const caps = [{ rooms: ["chat"], allow: ["sub"] }];
    await result({ user: "ann", caps })(call, response);
  });
  await using streams = await Streams.serve({
    CONNECT_HOOK_URL: backend.url(),
  });
  const refused = streams.refusal("/rooms/chat/events");
  await backend.calls.have(1);
  await streams.app.node.streams.drain(0);
  stopping.resolve();
  assert.deepEqual((await refused).slice(0, 2), [503, "draining"]);
  assert.equal(streams.app.node.streams.count, 0);
});

Deno.test("an EventSource that cannot be served for now gets a stream that ends, so that it comes back", async () => {
  await using streams = await Streams.serve({ CLIENTS_MAX: "1" });
  await streams.start("/rooms/chat/events");
  const refused = await streams.start("/rooms/chat/events", {
    headers: { accept: "text/event-stream" },
  });
  await refused.ended();
  assert.equal(refused.response.status, 200);
  assert.equal(
    refused.response.headers.get("content-type"),
    "text/event-stream",
  );
  const { retryMs = 0, comments, lastEventId } = refused.parser;
  assert.ok(retryMs >= 5000 && retryMs <= 10_000, `${retryMs} ms`);
  assert.deepEqual([comments, lastEventId], [1, ""]);
  assert.deepEqual(refused.events.items, []);
  assert.deepEqual(
    streams.app.observations.filter(({ kind }) => kind === "client_refused"),
    [{ kind: "client_refused", code: "too_many_clients" }],
  );
});

Deno.test("a draining node ends its streams as complete responses, and opens no new ones", async () => {
  await using streams = await Streams.serve();
  const open = await Promise.all(
    Array.from({ length: 5 }, () => streams.start("/rooms/chat/events")),
  );
  await streams.app.node.streams.drain(10_000);
  for (const stream of open) {
    await stream.ended();
    assert.equal(stream.error, undefined);
  }
  const [status, code] = await streams.refusal("/rooms/chat/events");
  assert.deepEqual([status, code], [503, "draining"]);
});

Deno.test("a stream behind another response of the same connection is refused", async () => {
  await using streams = await Streams.serve();
  const get = (path: string) =>
    `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`;
  const received = await exchange(
    streams.url,
    get("/livez") + get("/rooms/chat/events"),
    (received) => received.includes("malformed_request"),
  );
  assert.match(received, /^HTTP\/1\.1 200 OK/);
  assert.match(received, /HTTP\/1\.1 400 Bad Request/);
  assert.equal(streams.app.node.streams.count, 0);
});

Deno.test("a client that sends more bytes after its request, or half closes its connection, harms nobody", async () => {
  await using streams = await Streams.serve();
  const { port } = new URL(streams.url);
  const socket = connect(Number(port), "127.0.0.1");
  socket.on("error", () => {});
  let received = "";
  socket.on("data", (chunk: Buffer) => received += chunk.toString());
  socket.write("GET /rooms/chat/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
  await until("the stream begins", () => received.includes("retry: "));
  socket.write("GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".repeat(50));
  await streams.publish("hello");
  await until("the message arrives", () => received.includes('"hello"'));
  assert.ok(!received.includes('"ok"'));
  socket.end();
  await until(
    "the stream is closed",
    () => streams.app.node.streams.count === 0,
  );
  socket.destroy();
});

Deno.test("a client that sends requests behind its stream without end is disconnected", async () => {
  await using streams = await Streams.serve();
  const { port } = new URL(streams.url);
  const socket = connect(Number(port), "127.0.0.1");
  socket.on("error", () => {});
  socket.resume();
  socket.write("GET /rooms/chat/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
  await until("it is open", () => streams.app.node.streams.count === 1);
  socket.write("GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".repeat(2000));
  await until("it is closed", () => streams.app.node.streams.count === 0);
  socket.destroy();
});

Deno.test("the connect hook decides about a stream, and is told nothing about a publish key", async () => {
  await using backend = await HookBackend.start(
    result({ user: "ann", caps: [{ rooms: ["chat"], allow: ["sub"] }] }),
  );
  await using streams = await Streams.serve({
    CONNECT_HOOK_URL: backend.url(),
    PUBLISH_KEYS: "web:correct-horse",
    HOOK_HEADERS: "x-tenant",
  });
  await streams.start("/events?rooms=chat", {
    headers: { authorization: "Bearer own-token", "x-tenant": "acme" },
  });
  const [call] = backend.calls.items;
  assert.equal(call?.headers["x-tenant"], "acme");
  const { client, ...question } = call?.body;
  assert.match(client, /^[\w-]{16}$/);
  assert.deepEqual(question, {
    transport: "sse",
    origin: null,
    address: "127.0.0.1",
    rooms: ["chat"],
    data: {},
    token: "own-token",
  });
  const [status] = await streams.refusal("/rooms/news/events");
  assert.equal(status, 403);
  assert.equal(backend.calls.items.length, 2);
  const head = await fetchDocumented(`${streams.url}/rooms/news/events`, {
    method: "HEAD",
  });
  assert.equal(head.status, 403);
  assert.equal(backend.calls.items.length, 3);
  await streams.start("/rooms/news/events", {
    headers: { authorization: "Bearer correct-horse" },
  });
  assert.equal(backend.calls.items.length, 3);
  // The codes of responses are those that the document of the HTTP API lists.
  backend.respond = json({ error: { code: "locked", message: "Not today" } });
  const [refused, code, message] = await streams.refusal("/rooms/chat/events");
  assert.deepEqual([refused, code], [403, "forbidden"]);
  assert.match(`${message}`, /^Cannot connect: .* says "Not today"; /);
});

Deno.test("the join hook is not asked about a publish key, which it would be sent", async () => {
  await using backend = await HookBackend.start(result({ allow: ["sub"] }));
  await using streams = await Streams.serve({
    JOIN_HOOK_URL: backend.url("/join"),
    PUBLISH_KEYS: "news:battery-staple",
    PUBLISH_KEY_ROOMS: "news=news.*",
  });
  const headers = { authorization: "Bearer battery-staple" };
  const [status, code] = await streams.refusal("/rooms/chat/events", headers);
  assert.deepEqual([status, code], [403, "forbidden"]);
  await streams.start("/rooms/news.a/events", { headers });
  assert.deepEqual(backend.calls.items, []);
  await streams.start("/rooms/chat/events");
  assert.equal(backend.calls.items.length, 1);
});
