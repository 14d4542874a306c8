import assert from "node:assert/strict";
import { Webhook } from "standardwebhooks";
import { ApiError } from "../../../lib/errors.ts";
import { Hooks } from "../../../lib/hooks/hooks.ts";
import type { Observation } from "../../../lib/observer.ts";
import {
  HookBackend,
  json,
  type Responder,
  result,
} from "../../support/hook_backend.ts";
import { soon } from "../../support/wait.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PASS = result({});
const QUESTION = {
  client: "c1",
  user: "ann" as string | undefined,
  room: "chat",
  event: "msgReceived",
  json: '{"text":"hello"}',
  headers: { cookie: "sid=s1" },
  isWanted: () => true,
};

/** The publish hook of a server whose messages may have 1,000 bytes, and its backend. */
class Setup implements AsyncDisposable {
  readonly observed: Observation[] = [];
  readonly hooks: Hooks;

  private constructor(readonly backend: HookBackend) {
    this.hooks = new Hooks(
      {
        connectUrl: undefined,
        joinUrl: undefined,
        publishUrl: backend.url("/publish"),
        rooms: ["chat", "news.*"],
        headers: [],
        timeoutMs: 200,
        secret: SECRET,
        messageBytesMax: 1000,
      },
      (observation) => void this.observed.push(observation),
    );
  }

  static async start(respond: Responder): Promise<Setup> {
    return new Setup(await HookBackend.start(respond));
  }

  /** Asks the hook. Returns the message to publish, or the error as clients receive it. */
  async ask(question: Partial<typeof QUESTION> = {}): Promise<unknown> {
    const { publish } = this.hooks;
    assert.ok(publish !== undefined);
    const asked = publish.ask({ ...QUESTION, ...question });
    return await soon(
      asked.catch((error) => {
        assert.ok(error instanceof ApiError, String(error));
        return error.toJSON();
      }),
      "the publish hook",
    );
  }

  /** The outcomes of the calls so far. */
  get outcomes(): string[] {
    return this.observed.flatMap((observation) =>
      observation.kind === "hook_called" ? [observation.outcome] : []
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hooks.close();
    await this.backend[Symbol.asyncDispose]();
  }
}

Deno.test("the publish hook is asked about its rooms with all that it needs, signed, and passes the message unchanged", async () => {
  await using setup = await Setup.start(PASS);
  const { publish } = setup.hooks;
  assert.deepEqual(
    ["chat", "news.a", "chat2", "news"].map((room) => publish?.concerns(room)),
    [true, true, false, false],
  );
  assert.equal(await setup.ask(), QUESTION.json);
  await setup.ask({ user: undefined, event: "moved", json: "null" });
  const [first, second] = setup.backend.calls.items;
  assert.equal(
    first?.text,
    '{"client":"c1","user":"ann","room":"chat","event":"msgReceived","message":{"text":"hello"}}',
  );
  assert.equal(first?.headers.cookie, "sid=s1");
  assert.ok(
    new Webhook(SECRET).verify(first.text, first.headers as never),
  );
  assert.deepEqual(second?.body, {
    client: "c1",
    user: null,
    room: "chat",
    event: "moved",
    message: null,
  });
  assert.deepEqual(setup.outcomes, ["allowed", "allowed"]);
});

Deno.test("the publish hook can replace the message by any other one", async () => {
  await using setup = await Setup.start(PASS);
  for (
    const message of [null, false, 0, "", "é🚀", [1], { text: "h***o" }, {}]
  ) {
    setup.backend.respond = result({ message });
    assert.equal(await setup.ask(), JSON.stringify(message));
  }
  // A response in which all characters are escaped is much larger than the message.
  const text = "a".repeat(998);
  setup.backend.respond = (_, response) =>
    void response.end(
      `{"result":{"message":"${"\\u0061".repeat(998)}"}}`,
    );
  assert.equal(await setup.ask(), JSON.stringify(text));
});

Deno.test("a refusal of the publish hook reaches the client with the backend's own code and message", async () => {
  await using setup = await Setup.start(PASS);
  const own = (code: string, message: string) =>
    json({ error: { code, message } });
  const spoken =
    'Cannot publish into "chat": the application does not allow it; ask the application who may do it';
  const cases: [Responder, { code: string; message: string }][] = [
    [own("spam", "No links."), { code: "spam", message: "No links." }],
    [own("forbidden", "No."), { code: "forbidden", message: "No." }],
    [own("unauthorized", "Who?"), { code: "unauthorized", message: "Who?" }],
    [own("invalid_message", "X"), { code: "invalid_message", message: "X" }],
    // Codes that Roomcast uses for outages would make clients send the publish again.
    [own("log_timeout", "No."), { code: "forbidden", message: "No." }],
    [own("too_many_events", "No."), { code: "forbidden", message: "No." }],
    [own("Not a code!", "No."), { code: "forbidden", message: "No." }],
    [own("__proto__", "No."), { code: "forbidden", message: "No." }],
    [own("spam", "a\nb"), { code: "spam", message: spoken }],
    [own("spam", "x".repeat(201)), { code: "spam", message: spoken }],
    [json({}, 403), { code: "forbidden", message: spoken }],
    [json({ error: { message: "No." } }, 401), {
      code: "unauthorized",
      message: "No.",
    }],
  ];
  for (const [respond, expected] of cases) {
    setup.backend.respond = respond;
    assert.deepEqual(await setup.ask(), expected);
  }
  assert.deepEqual(new Set(setup.outcomes), new Set(["refused"]));
});

Deno.test("everything else is an outage of the publish hook: hook_unavailable, and the reason is logged", async () => {
  const cases: [outcome: string, respond: Responder][] = [
    ["bad_status", json({ result: {} }, 500)],
    ["bad_status", json({ result: {} }, 404)],
    ["bad_status", json({ result: {} }, 204)],
    ["invalid", result("ok")],
    ["invalid", result({ mesage: 1 })],
    ["invalid", result({ message: "x".repeat(999) })],
    [
      "invalid",
      result({ message: JSON.parse("[".repeat(101) + "]".repeat(101)) }),
    ],
    ["invalid", json({})],
    ["invalid", (_, response) => void response.end("x".repeat(80_000))],
    ["timeout", () => {}],
    ["unreachable", (_, response) => void response.destroy()],
  ];
  for (const [outcome, respond] of cases) {
    await using setup = await Setup.start(respond);
    const error = await setup.ask() as { code: string; message: string };
    assert.equal(error.code, "hook_unavailable");
    assert.match(error.message, /^Cannot publish into "chat": .+; try again/);
    assert.deepEqual(setup.outcomes, [outcome]);
    const failed = setup.observed.find(({ kind }) => kind === "hook_failed");
    assert.ok(failed?.kind === "hook_failed" && failed.hook === "publish");
  }
});
