/** Clients publish over Socket.IO, on an embedded node with stock clients. */
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import { collectGarbage } from "../../support/collect_garbage.ts";
import { HookBackend, result } from "../../support/hook_backend.ts";
import { makeToken, SECRET } from "../../support/tokens.ts";
import { soon } from "../../support/wait.ts";

const WEBSOCKET = { transports: ["websocket"] };

/** An embedded node with these settings, and its clients. */
class Setup implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();

  private constructor(readonly app: TestApp, readonly url: string) {
    this.#stack.use(app);
  }

  static async start(settings: Record<string, string> = {}): Promise<Setup> {
    const app = new TestApp(settings);
    return new Setup(app, `http://127.0.0.1:${await app.serve()}`);
  }

  async connect(auth: Record<string, unknown> = {}): Promise<Subscriber> {
    const options = { ...WEBSOCKET, reconnectionDelay: 10, auth };
    return this.#stack.use(await Subscriber.connect(this.url, options));
  }

  /** Connects a client of a user that may publish and join everywhere. */
  async user(sub: string, ...rooms: string[]): Promise<Subscriber> {
    const caps = [{ rooms: ["*"], allow: ["sub", "pub"] }];
    return await this.connect({ rooms, token: await makeToken({ sub, caps }) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

/** Publishes. Resolves to the answer. */
async function publish(
  client: Subscriber,
  request: unknown,
  // deno-lint-ignore no-explicit-any -- tests read answers of every shape
): Promise<any> {
  const [answer] = await client.ask("publish", request);
  return answer;
}

Deno.test("a message of a client arrives with its verified user, live, in the history and in answers to join", async () => {
  await using setup = await Setup.start({ TOKEN_SECRET: SECRET });
  const ann = await setup.user("ann", "a");
  const bob = await setup.user("bob", "a");
  const events: unknown[][] = [];
  bob.socket.onAny((...args) => {
    if (args.length === 4) events.push(args);
  });
  const first = await publish(ann, { room: "a", message: { text: "hi" } });
  const second = await publish(ann, {
    room: "a",
    event: "moved",
    message: 2,
    key: "k",
  });
  assert.deepEqual(first, { ok: true, id: first.id, duplicate: false });
  const overHttp = await setup.app.post("/publish", { room: "a", message: 3 });
  await bob.messages.have(3);
  const at = (id: string): number => parseInt(id);
  const from = "ann";
  assert.deepEqual(events, [
    [
      "msgReceived",
      { text: "hi" },
      { room: "a", at: at(first.id), from },
      first.id,
    ],
    ["moved", 2, { room: "a", at: at(second.id), from }, second.id],
    [
      "msgReceived",
      3,
      { room: "a", at: at(overHttp.body.id) },
      overHttp.body.id,
    ],
  ]);
  const expected = [
    { id: first.id, message: { text: "hi" }, at: at(first.id), from },
    { id: second.id, event: "moved", message: 2, at: at(second.id), from },
    { id: overHttp.body.id, message: 3, at: at(overHttp.body.id) },
  ];
  const caps = [{ rooms: ["a"], allow: ["history"] }];
  const history = await setup.app.request("/rooms/a/history", {
    headers: { authorization: `Bearer ${await makeToken({ caps })}` },
  });
  assert.deepEqual(history.body.messages, expected);
  const [joined] = await bob.ask("join", { room: "a", last: 3 });
  assert.deepEqual(joined.messages, expected);
  // The user cannot be named by the client.
  const forged = { room: "a", message: 1, from: "bob" };
  const { error } = await publish(ann, forged);
  assert.equal(error.code, "unknown_field");
});

Deno.test("a user that reconnects gets the same id for the same key, and another user a message of its own", async () => {
  await using setup = await Setup.start({ TOKEN_SECRET: SECRET });
  const request = { room: "a", message: 1, key: "k" };
  const ann = await setup.user("ann", "a");
  const { id } = await publish(ann, request);
  ann.socket.io.engine.close();
  await ann.connects.have(2);
  assert.deepEqual(await publish(ann, request), {
    ok: true,
    id,
    duplicate: true,
  });
  // Also without the session.
  const again = await setup.user("ann", "a");
  assert.equal((await publish(again, request)).id, id);
  const { error } = await publish(again, { ...request, message: 2 });
  assert.equal(error.code, "key_reused");
  const bob = await setup.user("bob", "a");
  const other = await publish(bob, request);
  assert.deepEqual(other, { ok: true, id: other.id, duplicate: false });
  assert.notEqual(other.id, id);
  const backend = await setup.app.post("/publish", request);
  assert.equal(backend.body.duplicate, false);
  assert.deepEqual(await setup.app.messages("a"), [1, 1, 1]);
});

Deno.test("without tokens clients may publish only if the server is open", async () => {
  const request = { room: "a", message: 1, key: "k" };
  {
    await using open = await Setup.start();
    const client = await open.connect();
    const { ok, id } = await publish(client, request);
    assert.ok(ok);
    const other = await open.connect();
    assert.deepEqual(await publish(other, request), {
      ok: true,
      id,
      duplicate: true,
    });
    assert.deepEqual(await open.app.messages("a"), [1]);
  }
  await using closed = await Setup.start({
    PUBLISH_KEYS: "shop:s3cr3t-of-shop",
  });
  const client = await closed.connect();
  const { ok, error } = await publish(client, request);
  assert.equal(ok, false);
  assert.equal(error.code, "unauthorized");
  assert.match(
    error.message,
    /^Cannot publish: this server is not open, and verifies no tokens/,
  );
});

Deno.test("a client that the join hook has not allowed to publish is told what the hook has to grant", async () => {
  await using backend = await HookBackend.start(result({ allow: ["sub"] }));
  await using setup = await Setup.start({
    PUBLISH_KEYS: "shop:s3cr3t-of-shop",
    JOIN_HOOK_URL: backend.url("/join"),
  });
  const client = await setup.connect();
  for (const isJoined of [false, true]) {
    if (isJoined) await client.ask("join", { room: "a" });
    const { ok, error } = await publish(client, { room: "a", message: 1 });
    assert.deepEqual([ok, error.code], [false, "unauthorized"]);
    assert.match(
      error.message,
      /^Cannot publish into "a": the join hook has not granted it; join the room first, and let the join hook answer with "pub"/,
    );
  }
});

Deno.test("a client publishes only into rooms that its token, a room token or the join hook allow", async () => {
  await using backend = await HookBackend.start(({ body }, response) =>
    result({ allow: body.data === "pub" ? ["sub", "pub"] : ["sub"] })(
      undefined as never,
      response,
    )
  );
  await using setup = await Setup.start({
    TOKEN_SECRET: SECRET,
    TOKEN_ROOMS: "user.{sub}=sub+pub",
    JOIN_HOOK_URL: backend.url("/join"),
    HOOK_ROOMS: "hook.*",
  });
  const caps = [{ rooms: ["news"], allow: ["sub"] }, {
    rooms: ["chat"],
    allow: ["pub"],
  }];
  const ann = await setup.connect({
    rooms: [],
    token: await makeToken({ sub: "ann", caps }),
  });
  const code = async (room: string): Promise<string> => {
    const { ok, error } = await publish(ann, { room, message: 1 });
    return ok ? "ok" : error.code;
  };
  assert.equal(await code("chat"), "ok");
  assert.equal(await code("user.ann"), "ok");
  for (const room of ["news", "user.bob", "chat2", "order.7", "hook.a"]) {
    assert.equal(await code(room), "forbidden", room);
  }
  const roomCaps = [{ rooms: ["order.7"], allow: ["sub", "pub"] }];
  await ann.ask("join", {
    room: "order.7",
    token: await makeToken({ sub: "ann", caps: roomCaps }),
  });
  assert.equal(await code("order.7"), "ok");
  await ann.ask("leave", { room: "order.7" });
  assert.equal(await code("order.7"), "forbidden");
  await ann.ask("join", { room: "hook.a" });
  assert.equal(await code("hook.a"), "forbidden");
  await ann.ask("leave", { room: "hook.a" });
  await ann.ask("join", { room: "hook.a", data: "pub" });
  assert.equal(await code("hook.a"), "ok");
  // A token that no longer allows it counts at once.
  await ann.ask("refresh", { token: await makeToken({ sub: "ann" }) });
  assert.equal(await code("chat"), "forbidden");
});

Deno.test("a publish that is not valid is refused, and the connection stays open", async () => {
  await using setup = await Setup.start({ MESSAGE_BYTES_MAX: "1000" });
  const client = await setup.connect();
  const deep = (levels: number): unknown =>
    JSON.parse("[".repeat(levels) + "]".repeat(levels));
  const cases: [request: unknown, code: string][] = [
    ["hello", "invalid_parameter"],
    [{ room: "a" }, "message_missing"],
    [{ room: "a", message: "x".repeat(999) }, "message_too_large"],
    [{ room: "a", message: "x".repeat(60_000) }, "message_too_large"],
    [{ room: "a", message: deep(101) }, "invalid_message"],
    [{ room: "a", message: deep(2000) }, "invalid_message"],
    [{ room: "a", message: new Uint8Array(3) }, "invalid_message"],
    [{ room: "a", message: [{ a: new Uint8Array(3) }] }, "invalid_message"],
    [{ room: "a", message: 1, event: "joined" }, "invalid_event"],
    [{ room: "a", message: 1, key: null }, "invalid_key"],
  ];
  for (const [request, code] of cases) {
    const { ok, error } = await publish(client, request);
    assert.equal(ok, false);
    assert.equal(error.code, code);
    assert.deepEqual(Object.keys(error), ["code", "message"]);
  }
  const [none] = await soon(
    new Promise<unknown[]>((resolve) =>
      client.socket.emit("publish", (...args: unknown[]) => resolve(args))
    ),
    "it is answered",
  ) as [{ error: { code: string } }];
  assert.equal(none.error.code, "invalid_parameter");
  const valid = { room: "a", message: deep(100) };
  assert.equal((await publish(client, valid)).ok, true);
  assert.equal(client.disconnects.items.length, 0);
  const failed = setup.app.observations.filter(({ kind }) =>
    kind === "publish_failed"
  );
  assert.equal(failed.length, cases.length);
  assert.equal(
    setup.app.observations.filter(({ kind }) => kind === "error").length,
    0,
  );
});

Deno.test("a client that publishes more than PUBLISHES_PER_SECOND_MAX is told how long to wait", async () => {
  await using setup = await Setup.start({ PUBLISHES_PER_SECOND_MAX: "2" });
  const client = await setup.connect();
  const answers = await Promise.all(
    [1, 2, 3].map((message) => publish(client, { room: "a", message })),
  );
  assert.deepEqual(answers.map(({ ok }) => ok), [true, true, false]);
  const { error, retryAfter } = answers[2];
  assert.equal(error.code, "too_many_publishes");
  assert.equal(retryAfter, 1);
  const other = await setup.connect();
  assert.equal((await publish(other, { room: "a", message: 4 })).ok, true);
  assert.deepEqual(await setup.app.messages("a"), [1, 2, 4]);
});

Deno.test("publishes of a client that asks for no answers, and leaves at once, are stored in their order", async () => {
  await using setup = await Setup.start({ EVENTS_PER_SECOND_MAX: "1000" });
  const reader = await setup.connect({ rooms: ["a"] });
  const socket = io(setup.url, { ...WEBSOCKET, forceNew: true });
  const numbers = Array.from({ length: 100 }, (_, i) => i);
  for (const message of numbers) socket.emit("publish", { room: "a", message });
  socket.emit(
    "publish",
    { room: "a", message: "last" },
    () => socket.disconnect(),
  );
  await reader.messages.have(101);
  assert.deepEqual(
    reader.messages.items.map(({ message }) => message),
    [...numbers, "last"],
  );
});

Deno.test("a publish in flight keeps its message as text only, which takes less memory than the parsed message", async () => {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => release = resolve);
  await using backend = await HookBackend.start(async (call, response) => {
    call.body.message = undefined;
    await released;
    await result({})(call, response);
  });
  await using setup = await Setup.start({
    PUBLISH_HOOK_URL: backend.url(),
    HOOK_TIMEOUT_MS: "10000",
  });
  const clients: Subscriber[] = [];
  for (let i = 0; i < 5; i++) clients.push(await setup.connect());
  // 63 kB of JSON that takes about 1.4 MB once it is parsed.
  const message = Array(21_000).fill({});
  await collectGarbage();
  const before = Deno.memoryUsage().heapUsed;
  const publishes = clients.flatMap((client) =>
    Array.from({ length: 8 }, () => publish(client, { room: "a", message }))
  );
  await backend.calls.have(clients.length);
  // When these are answered, all publishes have arrived.
  await Promise.all(
    clients.map((client) => client.ask("leave", { room: "a" })),
  );
  await collectGarbage();
  const grown = Deno.memoryUsage().heapUsed - before;
  assert.ok(grown < 20e6, `${grown} bytes`);
  release();
  const results = await soon(Promise.all(publishes), "all are published");
  assert.ok(results.every(({ ok }) => ok), JSON.stringify(results));
});
