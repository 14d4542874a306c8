/** The client module publishes, with an embedded node. */
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { roomcast } from "../../static/roomcast.js";
import { TestApp } from "../support/app.ts";
import { catchErrors } from "../support/catch_errors.ts";
import { HookBackend, json, result } from "../support/hook_backend.ts";
import { Proxy } from "../support/net.ts";
import { soon, until } from "../support/wait.ts";

/** An embedded node behind a proxy. */
class Setup implements AsyncDisposable {
  private constructor(
    readonly app: TestApp,
    readonly port: number,
    readonly proxy: Proxy,
  ) {}

  static async start(settings: Record<string, string> = {}): Promise<Setup> {
    const app = new TestApp({ EVENTS_PER_SECOND_MAX: "1000", ...settings });
    const port = await app.serve();
    return new Setup(app, port, await Proxy.start(port));
  }

  /** Opens a page with the client module; `using` closes it. */
  open(
    settings: Partial<Parameters<typeof roomcast>[1]> = {},
    auth: Record<string, unknown> = {},
  ): ReturnType<typeof roomcast> & Disposable {
    const cast = roomcast(io, {
      url: this.proxy.url,
      rooms: [],
      storage: { getItem: () => null, setItem: () => {} },
      options: { transports: ["websocket"], reconnectionDelay: 10, auth },
      onGap: () => {},
      ...settings,
    });
    return Object.assign(cast, { [Symbol.dispose]: () => cast.close() });
  }

  /** Breaks all connections, and lets clients connect again only after {@linkcode Setup.up}. */
  down(): void {
    this.proxy.targets = [];
    this.proxy.cut();
  }

  up(): void {
    this.proxy.targets = [this.port];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await this.app[Symbol.asyncDispose]();
  }
}

Deno.test("publish() resolves to the id, and passes on the event and the key", async () => {
  await using setup = await Setup.start();
  using page = setup.open();
  const first = await page.publish("a", { n: 1 });
  assert.deepEqual(first, { id: first.id, duplicate: false });
  const key = { key: "my key", event: "moved" };
  const second = await page.publish("a", 2, key);
  assert.deepEqual(await page.publish("a", 2, key), {
    id: second.id,
    duplicate: true,
  });
  const { body } = await setup.app.request("/rooms/a/history");
  assert.deepEqual(
    body.messages.map(({ event, message }: Record<string, unknown>) => [
      event,
      message,
    ]),
    [[undefined, { n: 1 }], ["moved", 2]],
  );
});

Deno.test("publish() waits for a connection, and keeps the order of the calls and the messages of the time of the call", async () => {
  await using setup = await Setup.start();
  using page = setup.open();
  await page.publish("a", 0);
  setup.down();
  await until("it is disconnected", () => !page.socket.connected);
  const message = { n: 1 };
  const all = [page.publish("a", message)];
  message.n = 2;
  for (let n = 2; n <= 20; n++) all.push(page.publish("a", { n }));
  setup.up();
  await soon(Promise.all(all), "all are published");
  assert.deepEqual(
    await setup.app.messages("a"),
    [0, ...Array.from({ length: 20 }, (_, i) => ({ n: i + 1 }))],
  );
});

Deno.test("publish() sends a publish again if its answer was lost, and the message is stored once", async () => {
  await using setup = await Setup.start();
  using page = setup.open();
  await page.publish("a", 0);
  setup.proxy.answer = () => {
    setup.proxy.answer = (chunk) => chunk;
    return undefined;
  };
  const answers = await soon(
    Promise.all([page.publish("a", 1), page.publish("a", 2)]),
    "both are answered",
  );
  assert.deepEqual(answers.map(({ duplicate }) => duplicate), [true, false]);
  assert.deepEqual(await setup.app.messages("a"), [0, 1, 2]);
});

Deno.test("publish() rejects what the server refuses for good, and the publishes after it go on", async () => {
  await using backend = await HookBackend.start((call, response) =>
    (call.body.message === "spam"
      ? json({ error: { code: "spam", message: "No spam." } })
      : result({}))(call, response)
  );
  await using setup = await Setup.start({ PUBLISH_HOOK_URL: backend.url() });
  using page = setup.open();
  await page.publish("b", 0);
  const answers = await soon(
    Promise.allSettled([
      page.publish("a", 1),
      page.publish("a", "spam"),
      page.publish("a", 2, { event: "joined" }),
      page.publish("a", undefined),
      page.publish("", 1),
      page.publish("a", 3),
    ]),
    "all are answered",
  );
  assert.deepEqual(
    answers.map((answer) =>
      answer.status === "fulfilled"
        ? "ok"
        : `${answer.reason.code}: ${answer.reason.message.slice(0, 15)}`
    ),
    [
      "ok",
      "spam: No spam.",
      "invalid_event: Cannot use the ",
      "message_missing: Cannot publish:",
      "invalid_room: Cannot use the ",
      "ok",
    ],
  );
  assert.deepEqual(await setup.app.messages("a"), [1, 3]);
  // Each was sent once, although others were waiting.
  assert.equal(backend.calls.items.length, 4);
});

Deno.test("publish() tries again as long as the hook has an outage or the client is too fast, and keeps the order", async () => {
  await using backend = await HookBackend.start(json({}, 500));
  await using setup = await Setup.start({
    PUBLISH_HOOK_URL: backend.url(),
    PUBLISHES_PER_SECOND_MAX: "2",
  });
  using page = setup.open();
  const all = [1, 2, 3].map((message) => page.publish("a", message));
  await backend.calls.have(1);
  backend.respond = result({});
  await soon(Promise.all(all), "all are published");
  assert.deepEqual(await setup.app.messages("a"), [1, 2, 3]);
  assert.ok(backend.calls.items.length >= 4);
});

Deno.test("publish() rejects the largest message if the server closes the connection because of it, and sends the others", async () => {
  await using setup = await Setup.start({ MESSAGE_BYTES_MAX: "1000" });
  using page = setup.open();
  const all = await soon(
    Promise.allSettled([
      page.publish("a", 1),
      page.publish("b", "x".repeat(200_000)),
      page.publish("b", 2),
      page.publish("a", "x".repeat(2000)),
    ]),
    "all are answered",
  );
  assert.deepEqual(
    all.map((answer) =>
      answer.status === "fulfilled" ? "ok" : answer.reason.code
    ),
    ["ok", "message_too_large", "ok", "message_too_large"],
  );
  assert.deepEqual(await setup.app.messages("b"), [2]);
});

Deno.test("publish() rejects further publishes as queue_full at 1,000 or 4 MiB that are not answered", async () => {
  await using setup = await Setup.start();
  setup.down();
  using page = setup.open();
  const settled: unknown[] = [];
  const publish = (message: unknown): void =>
    void page.publish("a", message).then(
      () => settled.push("ok"),
      ({ code }) => settled.push(code),
    );
  const text = "x".repeat(1 << 20);
  for (let i = 0; i < 4; i++) publish(text);
  await until("one is refused", () => settled.length === 1);
  for (let i = 0; i < 997; i++) publish(i);
  assert.deepEqual(settled, ["queue_full"]);
  publish(1);
  await until("one more is refused", () => settled.length === 2);
  assert.deepEqual(settled, ["queue_full", "queue_full"]);
  page.close();
  await until("all are rejected", () => settled.length === 1002);
  assert.deepEqual([...new Set(settled)], ["queue_full", "closed"]);
  await assert.rejects(page.publish("a", 1), { code: "closed" });
});

Deno.test("publish() rejects as unconfirmed what is not answered within retrySeconds", async () => {
  await using backend = await HookBackend.start(() => {});
  await using setup = await Setup.start({
    PUBLISH_HOOK_URL: backend.url(),
    HOOK_ROOMS: "slow",
    HOOK_TIMEOUT_MS: "10000",
  });
  using page = setup.open({ retrySeconds: 0.1 });
  const late = page.publish("slow", 1);
  await page.publish("fast", 1);
  await assert.rejects(soon(late, "it is given up"), { code: "unconfirmed" });
});

Deno.test("publish() rejects if the server refuses the connection for good", async () => {
  await using setup = await Setup.start({
    TOKEN_SECRET: "0123456789abcdef0123456789abcdef",
  });
  using page = setup.open({}, { token: "no token" });
  await assert.rejects(soon(page.publish("a", 1), "it is refused"), {
    code: "unauthorized",
  });
});

Deno.test("publish() rejects if the server refuses the connection for good and onRefused throws", async () => {
  await using setup = await Setup.start({
    TOKEN_SECRET: "0123456789abcdef0123456789abcdef",
  });
  using errors = catchErrors();
  const states: string[] = [];
  const onRefused = () => {
    throw new Error("it cannot be shown");
  };
  using page = setup.open({
    onRefused,
    onState: (state) => void states.push(state),
  }, { token: "no token" });
  await assert.rejects(soon(page.publish("a", 1), "it is refused"), {
    code: "unauthorized",
  });
  assert.deepEqual(states, ["connecting", "disconnected"]);
  await until("the error is reported", () => errors.messages.length > 0);
  assert.deepEqual(errors.messages, ["it cannot be shown"]);
});

Deno.test("publish() rejects as disconnected if a backend disconnects the client", async () => {
  await using backend = await HookBackend.start(() => {});
  await using setup = await Setup.start({
    PUBLISH_HOOK_URL: backend.url(),
    HOOK_ROOMS: "slow",
    HOOK_TIMEOUT_MS: "10000",
  });
  using page = setup.open();
  await page.publish("fast", 1);
  const answers = Promise.allSettled([
    page.publish("slow", 1),
    page.publish("slow", 2),
  ]);
  await backend.calls.have(1);
  const { status } = await setup.app.post("/disconnect", {
    client: page.socket.id,
  });
  assert.equal(status, 200);
  assert.deepEqual(
    (await soon(answers, "both are rejected")).map((answer) =>
      answer.status === "rejected" && answer.reason.code
    ),
    ["disconnected", "disconnected"],
  );
  // The client still publishes if the application connects it again.
  const later = page.publish("fast", 2);
  page.socket.connect();
  await soon(later, "it is published");
  assert.deepEqual(await setup.app.messages("fast"), [1, 2]);
});
