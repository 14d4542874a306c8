import assert from "node:assert/strict";
import { Webhook } from "standardwebhooks";
import type {
  ConnectQuestion,
  JoinQuestion,
} from "../../../lib/access/hooks.ts";
import { ApiError } from "../../../lib/errors.ts";
import { Hooks, type HookSettings } from "../../../lib/hooks/hooks.ts";
import type { Observation } from "../../../lib/observer.ts";
import {
  HookBackend,
  json,
  type Responder,
  result,
} from "../../support/hook_backend.ts";
import { soon, until } from "../../support/wait.ts";

const NOW = Date.parse("2026-11-30T12:00:00Z");
/** The time from which what a hook answers counts as issued: just before it was asked. */
const ISSUED = NOW - 1;
const ANN = result({ user: "ann" });

/** The hooks of a server, and their backend. */
class Setup implements AsyncDisposable {
  readonly observed: Observation[] = [];
  readonly hooks: Hooks;

  private constructor(
    readonly backend: HookBackend,
    settings: Partial<HookSettings>,
  ) {
    this.hooks = new Hooks(
      {
        connectUrl: backend.url("/connect"),
        joinUrl: backend.url("/join"),
        publishUrl: undefined,
        rooms: ["*"],
        headers: [],
        timeoutMs: 5000,
        secret: undefined,
        messageBytesMax: 1000,
        ...settings,
      },
      (observation) => void this.observed.push(observation),
      () => NOW,
    );
  }

  static async start(
    respond: Responder,
    settings: Partial<HookSettings> = {},
  ): Promise<Setup> {
    return new Setup(await HookBackend.start(respond), settings);
  }

  /** Asks the connect hook. Returns what it has decided, or the error as a text. */
  connect(question: Partial<ConnectQuestion> = {}): Promise<unknown> {
    return this.#askConnect(question).catch(textOf);
  }

  /** Asks the connect hook, which has to refuse the client. Returns the error. */
  connectError(): Promise<ApiError> {
    return errorOf(this.#askConnect({}));
  }

  /** Asks the join hook. Returns what it has decided, or the error as a text. */
  join(question: Partial<JoinQuestion> = {}): Promise<unknown> {
    return this.#askJoin(question).catch(textOf);
  }

  /** Asks the join hook, which has to refuse the client. Returns the error. */
  joinError(): Promise<ApiError> {
    return errorOf(this.#askJoin({}));
  }

  /** The outcomes of the calls so far. */
  get outcomes(): readonly string[] {
    return this.observed.flatMap((observation) =>
      observation.kind === "hook_called" ? [observation.outcome] : []
    );
  }

  /** The log lines about calls that failed. */
  get failures(): readonly (Observation & { kind: "hook_failed" })[] {
    return this.observed.filter(({ kind }) => kind === "hook_failed") as [];
  }

  /** The reasons in log lines about calls that failed. */
  get reasons(): readonly string[] {
    return this.failures.map(({ why }) => why);
  }

  count(kind: Observation["kind"]): number {
    return this.observed.filter((observation) => observation.kind === kind)
      .length;
  }

  async #askConnect(question: Partial<ConnectQuestion>): Promise<unknown> {
    const { connect } = this.hooks;
    assert.ok(connect !== undefined);
    return await soon(
      connect.ask({
        client: "c1",
        transport: "websocket",
        origin: undefined,
        address: "192.0.2.1",
        rooms: [],
        data: {},
        headers: {},
        isWanted: () => true,
        ...question,
      }),
      "the connect hook",
    );
  }

  async #askJoin(question: Partial<JoinQuestion>): Promise<unknown> {
    const { join } = this.hooks;
    assert.ok(join !== undefined);
    return await soon(
      join.ask({
        client: "c1",
        user: "ann",
        room: "chat",
        headers: {},
        isWanted: () => true,
        ...question,
      }),
      "the join hook",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hooks.close();
    await this.backend[Symbol.asyncDispose]();
  }
}

function textOf(error: unknown): string {
  assert.ok(error instanceof ApiError, String(error));
  return `${error.code}: ${error.message}`;
}

async function errorOf(asked: Promise<unknown>): Promise<ApiError> {
  const error = await asked.then(() => "allowed", (error) => error);
  assert.ok(error instanceof ApiError, String(error));
  return error;
}

Deno.test("Hooks tell the connect hook all about the client, and return its verdict", async () => {
  const verdict = {
    user: "ann",
    expiresAt: NOW + 60_000,
    info: { name: "Ann" },
    rooms: ["user.ann"],
    caps: [{ rooms: ["user.ann"], allow: ["sub"] }],
  };
  await using setup = await Setup.start(result(verdict));
  const question = {
    client: "c1",
    transport: "polling",
    origin: "https://example.com",
    address: "192.0.2.1",
    rooms: ["chat"],
    data: { lang: "de" },
    token: "t",
  };
  const headers = { cookie: "session=ä1", authorization: "Bearer x" };
  assert.deepEqual(
    await setup.connect({ ...question, headers }),
    { ...verdict, issuedAt: ISSUED },
  );
  const [call] = setup.backend.calls.items;
  assert.equal(call?.path, "/connect");
  assert.deepEqual(call?.body, question);
  assert.equal(call?.headers.authorization, "Bearer x");
  assert.equal(call?.headers["content-type"], "application/json");
  assert.equal(call?.headers["webhook-signature"], undefined);
  await setup.connect();
  const { body } = setup.backend.calls.items[1] ?? {};
  assert.equal(body.origin, null);
  assert.equal("token" in body, false);
});

Deno.test("Hooks tell the join hook about the client and the room, and return its grant", async () => {
  await using setup = await Setup.start(
    result({ allow: ["sub", "pub"], info: 1, expiresAt: NOW + 1 }),
    { rooms: ["chat", "news.*"] },
  );
  assert.deepEqual(await setup.join({ data: { pin: 7 }, token: "t" }), {
    by: "hook",
    actions: ["subscribe", "publish"],
    issuedAt: ISSUED,
    expiresAt: NOW + 1,
    info: 1,
  });
  const [call] = setup.backend.calls.items;
  assert.equal(call?.path, "/join");
  assert.deepEqual(call?.body, {
    client: "c1",
    user: "ann",
    room: "chat",
    data: { pin: 7 },
    token: "t",
  });
  await setup.join({ user: undefined });
  assert.equal(setup.backend.calls.items[1]?.body.user, null);
  for (const room of ["chat", "news.a"]) {
    assert.ok(setup.hooks.join?.concerns(room));
  }
  for (const room of ["chat2", "Chat", "news"]) {
    assert.equal(setup.hooks.join?.concerns(room), false, room);
  }
});

Deno.test("Hooks sign calls with HOOK_SECRET, each with another id", async () => {
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const backend = await HookBackend.start(ANN);
  const hooks = new Hooks(
    {
      connectUrl: backend.url(),
      joinUrl: undefined,
      publishUrl: undefined,
      messageBytesMax: 1000,
      rooms: ["*"],
      headers: [],
      timeoutMs: 1000,
      secret,
    },
    () => {},
  );
  try {
    for (let i = 0; i < 2; i++) {
      await hooks.connect?.ask({
        client: "c1",
        transport: "websocket",
        origin: undefined,
        address: "",
        rooms: [],
        data: { name: "Zoë" },
        headers: { "x-tenant": "1" },
        isWanted: () => true,
      });
    }
    for (const { text, headers } of backend.calls.items) {
      new Webhook(secret).verify(text, headers as Record<string, string>);
    }
    const [first, second] = backend.calls.items;
    assert.notEqual(
      first?.headers["webhook-id"],
      second?.headers["webhook-id"],
    );
    assert.equal(backend.connections, 1, "the connection is kept alive");
  } finally {
    hooks.close();
    await backend[Symbol.asyncDispose]();
  }
});

Deno.test("only a refusal of the backend is one for the client, with a message that is short and printable", async () => {
  const message = "Your account is locked";
  const refusals: [Responder, string][] = [
    [
      json({ error: { code: "banned", message } }),
      `forbidden: Cannot connect: the application does not allow it and says "${message}"; ask the application who may do it`,
    ],
    [
      json({ error: { code: "unauthorized", message: "" } }),
      "unauthorized: Cannot connect: the application does not allow it; sign in to the application, and try again",
    ],
    [
      json({ error: { code: "x", message: "a\nb" } }),
      "forbidden: Cannot connect: the application does not allow it; ask the application who may do it",
    ],
    [
      json({ error: { code: "x", message: "x".repeat(201) } }),
      "forbidden: Cannot connect: the application does not allow it; ask the application who may do it",
    ],
    [
      json({ error: { code: "x", message } }, 401),
      `unauthorized: Cannot connect: the application does not allow it and says "${message}"; sign in to the application, and try again`,
    ],
    [
      (_, response) => void response.writeHead(403).end("<html>"),
      "forbidden: Cannot connect: the application does not allow it; ask the application who may do it",
    ],
    [
      (_, response) => void response.writeHead(401).end(),
      "unauthorized: Cannot connect: the application does not allow it; sign in to the application, and try again",
    ],
    [
      (_, response) => void response.writeHead(403).end("x".repeat(100_000)),
      "forbidden: Cannot connect: the application does not allow it; ask the application who may do it",
    ],
    [
      (_, response) => void response.writeHead(401).write("{"),
      "unauthorized: Cannot connect: the application does not allow it; sign in to the application, and try again",
    ],
  ];
  await using setup = await Setup.start(ANN);
  for (const [respond, expected] of refusals) {
    setup.backend.respond = respond;
    assert.equal(await setup.connect(), expected);
  }
  assert.deepEqual(new Set(setup.outcomes), new Set(["refused"]));
  assert.deepEqual(setup.reasons, []);
  setup.backend.respond = result({ allow: ["pub", "history"] });
  assert.match(`${await setup.join()}`, /^forbidden: Cannot join "chat":/);
  setup.backend.respond = result({ allow: [] });
  assert.match(`${await setup.join()}`, /^forbidden: /);
});

Deno.test("the code and the message of the backend are what a client is sent, and the sentence says what was refused", async () => {
  const own = (code: unknown, message = "Pay first") =>
    json({ error: { code, message } });
  const cases:
    readonly (readonly [Responder, code: string, message: RegExp])[] = [
      [own("payment_due"), "payment_due", /^Pay first$/],
      [own("unauthorized"), "unauthorized", /^Pay first$/],
      [own("too_many_rooms"), "too_many_rooms", /^Pay first$/],
      [own("log_in"), "log_in", /^Pay first$/],
      [own("payment_due", "<b>é🚀</b>"), "payment_due", /^<b>é🚀<\/b>$/],
      [
        own("payment_due", "a\u202eb"),
        "payment_due",
        /^Cannot .*not allow it; /,
      ],
      [
        own("payment_due", "a\u0000b"),
        "payment_due",
        /^Cannot .*not allow it; /,
      ],
      [own("payment_due", "\ud800"), "payment_due", /^Cannot .*not allow it; /],
      [own("payment_due", ""), "payment_due", /^Cannot .*not allow it; /],
      [own("x".repeat(64)), "x".repeat(64), /^Pay first$/],
      // Codes of another form, and those after which clients would try again, are replaced.
      [own("x".repeat(65)), "forbidden", /^Pay first$/],
      [own("Payment due"), "forbidden", /^Pay first$/],
      [own(""), "forbidden", /^Pay first$/],
      [own("constructor\n"), "forbidden", /^Pay first$/],
      [own("log_unreachable"), "forbidden", /^Pay first$/],
      [own("hook_unavailable"), "forbidden", /^Pay first$/],
      [own("too_many_connections"), "forbidden", /^Pay first$/],
      [own("internal"), "forbidden", /^Pay first$/],
      [
        json({ error: { code: "due", message: "Pay" } }, 403),
        "forbidden",
        /^Pay$/,
      ],
      [json({}, 401), "unauthorized", /^Cannot .* sign in/],
    ];
  await using setup = await Setup.start(ANN);
  for (const [respond, code, message] of cases) {
    setup.backend.respond = respond;
    for (
      const [error, what] of [
        [await setup.connectError(), "Cannot connect: "],
        [await setup.joinError(), 'Cannot join "chat": '],
      ] as const
    ) {
      assert.match(error.code, /^(unauthorized|forbidden)$/);
      assert.ok(error.message.startsWith(what), error.message);
      assert.equal(error.toJSON().code, code);
      assert.match(error.toJSON().message, message);
      const full = error.inFull();
      assert.deepEqual(full.toJSON(), { code, message: error.message });
      assert.equal(full.code, error.code);
    }
  }
});

const OUTAGES: readonly [what: string, outcome: string, respond: Responder][] =
  [
    ["500", "bad_status", json({ result: { user: "ann" } }, 500)],
    ["503", "bad_status", json({ result: { user: "ann" } }, 503)],
    ["429", "bad_status", json({ error: { code: "x", message: "y" } }, 429)],
    ["404", "bad_status", json({}, 404)],
    ["201", "bad_status", json({ result: { user: "ann" } }, 201)],
    ["redirect", "bad_status", (call, response) => {
      if (call.path === "/other") return ANN(call, response);
      response.writeHead(302, { location: "/other" }).end();
    }],
    ["no JSON", "invalid", (_, response) => void response.end("<html>")],
    [
      "no UTF-8",
      "invalid",
      (_, response) => void response.end(new Uint8Array([0x22, 0xff, 0x22])),
    ],
    ["empty", "invalid", (_, response) => void response.end()],
    ["null", "invalid", json(null)],
    ["a list", "invalid", json([{ result: { user: "ann" } }])],
    ["neither", "invalid", json({ user: "ann" })],
    [
      "both",
      "invalid",
      json({ result: { user: "ann" }, error: { code: "x", message: "y" } }),
    ],
    ["an error without a message", "invalid", json({ error: { code: "x" } })],
    ["an error that is a text", "invalid", json({ error: "no" })],
    [
      "huge",
      "invalid",
      (_, response) =>
        void response.end(`{"result":{"user":"${"x".repeat(70_000)}"}}`),
    ],
    ["endless", "invalid", (_, response) => {
      const timer = setInterval(() => response.write("x".repeat(20_000)), 1);
      response.on("close", () => clearInterval(timer));
    }],
    ["hanging", "timeout", () => {}],
    ["slow", "timeout", (_, response) => {
      const timer = setInterval(() => response.write(" "), 20);
      response.on("close", () => clearInterval(timer));
    }],
    ["broken off", "unreachable", (_, response) => {
      response.write("{", () => response.destroy());
    }],
  ];

Deno.test("every other response is an outage, which opens nothing", async () => {
  for (const [what, outcome, respond] of OUTAGES) {
    const timeoutMs = outcome === "timeout" ? 100 : 5000;
    await using setup = await Setup.start(respond, { timeoutMs });
    const expected =
      "hook_unavailable: Cannot connect: the server of the application gives no usable answer; try again later";
    assert.equal(await setup.connect(), expected, what);
    assert.match(`${await setup.join()}`, /^hook_unavailable: Cannot join/);
    assert.deepEqual(setup.outcomes, [outcome, outcome], what);
    // One line for each hook.
    assert.equal(setup.reasons.length, 2, what);
    await setup.connect();
    assert.equal(setup.reasons.length, 2, what);
  }
});

Deno.test("a result of a wrong form is an outage, and the log says what is wrong", async () => {
  const soonSeconds = Math.floor(NOW / 1000) + 60;
  const wrong: [unknown, string | RegExp][] = [
    [undefined, 'the body has not exactly one of "result" and "error"'],
    [null, '"result" is not an object'],
    ["ann", '"result" is not an object'],
    [[], '"result" is not an object'],
    [{}, '"user" is missing; use null for a client without one'],
    [{ user: "" }, /^"user" is not a text/],
    [{ user: {} }, /^"user" is not a text/],
    [{ user: true }, /^"user" is not a text/],
    [{ user: "a\u0000" }, /^"user" is not a text/],
    [{ user: "x".repeat(256) }, /^"user" is not a text/],
    [
      { user: "ann", expires_at: NOW },
      '"result" has an unknown field; did you mean "expiresAt"?',
    ],
    [
      { user: "ann", expiresAt: soonSeconds },
      '"expiresAt" is in seconds; it has to be in ms',
    ],
    [
      { user: "ann", expiresAt: "2027-01-01" },
      '"expiresAt" is not a time in ms since 1970',
    ],
    [
      { user: "ann", expiresAt: null },
      '"expiresAt" is not a time in ms since 1970',
    ],
    [
      { user: "ann", expiresAt: -1 },
      '"expiresAt" is not a time in ms since 1970',
    ],
    [
      { user: "ann", expiresAt: 1e300 },
      '"expiresAt" is not a time in ms since 1970',
    ],
    [
      { user: "ann", expiresAt: NOW },
      '"expiresAt" has already passed; check the clocks of both servers',
    ],
    [{ user: "ann", rooms: "chat" }, '"rooms" is not a list of texts'],
    [{ user: "ann", rooms: [1] }, '"rooms" is not a list of texts'],
    [
      { user: "ann", rooms: [""] },
      '"rooms" has a text that is not the name of a room',
    ],
    [{ user: "ann", rooms: null }, '"rooms" is not a list of texts'],
    [{ user: "ann", caps: {} }, '"caps" is not a list'],
    [
      { user: "ann", caps: [{ rooms: ["a"], allow: ["all"] }] },
      /^"caps\[\].allow" has "all"/,
    ],
    [
      { user: "ann", caps: [{ allow: ["sub"] }] },
      '"caps[].rooms" is not a list of texts',
    ],
    [
      { user: "ann", info: "x".repeat(9000) },
      '"result" has more than 8192 bytes',
    ],
  ];
  for (const [value, expected] of wrong) {
    await using setup = await Setup.start(result(value));
    assert.match(`${await setup.connect()}`, /^hook_unavailable: /);
    const [why = ""] = setup.reasons;
    if (typeof expected === "string") assert.equal(why, expected);
    else assert.match(why, expected);
    assert.deepEqual(setup.outcomes, ["invalid"]);
  }
  const wrongGrants = [
    {},
    { allow: "sub" },
    { allow: ["sub", "manage"] },
    { allow: ["sub"], expiresAt: soonSeconds },
    { allow: ["sub"], expiry: NOW },
    { allow: ["sub"], info: "x".repeat(3000) },
    true,
  ];
  for (const value of wrongGrants) {
    await using setup = await Setup.start(result(value));
    assert.match(`${await setup.join()}`, /^hook_unavailable: /);
    assert.deepEqual(setup.outcomes, ["invalid"]);
  }
});

Deno.test("numbers are users, and null is a client without a user", async () => {
  await using setup = await Setup.start(result({ user: 7 }));
  assert.deepEqual(await setup.connect(), { user: "7", issuedAt: ISSUED });
  setup.backend.respond = result({ user: null });
  assert.deepEqual(await setup.connect(), { user: null, issuedAt: ISSUED });
});

Deno.test("no more than 20 calls are in flight, and those of one address do not delay others", async () => {
  await using setup = await Setup.start(async (call, response) => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    await ANN(call, response);
  }, { joinUrl: undefined, timeoutMs: 2000 });
  const { backend } = setup;
  let crowd = 0;
  const many = Array.from(
    { length: 500 },
    () => setup.connect().then(() => crowd++),
  );
  await setup.connect({ address: "192.0.2.2" });
  assert.ok(crowd < 100, `${crowd} of the crowd came first`);
  await Promise.all(many);
  assert.equal(backend.inFlightMax, 20);
  assert.deepEqual(new Set(setup.outcomes), new Set(["allowed"]));
});

Deno.test("with two hooks each has 10 calls in flight, so that one that hangs does not delay the other", async () => {
  await using setup = await Setup.start(
    (call, response) => call.path === "/join" ? undefined : ANN(call, response),
  );
  const joins = Array.from(
    { length: 30 },
    (_, i) => setup.join({ client: `c${i}` }),
  );
  await until("ten joins hang", () => setup.backend.inFlight === 10);
  assert.deepEqual(await setup.connect(), { user: "ann", issuedAt: ISSUED });
  assert.deepEqual(setup.outcomes, ["allowed"], "all joins still hang");
  assert.equal(setup.backend.inFlightMax, 11);
  setup.hooks.close();
  await Promise.all(joins);
});

Deno.test("calls for clients that have left are not made", async () => {
  await using setup = await Setup.start(() => {}, {
    joinUrl: undefined,
    timeoutMs: 300,
  });
  const first = Array.from({ length: 20 }, () => setup.connect());
  let isWanted = true;
  const left = setup.connect({ isWanted: () => isWanted });
  await until("20 calls hang", () => setup.backend.inFlight === 20);
  isWanted = false;
  setup.backend.respond = ANN;
  await Promise.all(first);
  assert.match(`${await left}`, /^hook_unavailable: /);
  assert.equal(setup.backend.calls.items.length, 20);
});

Deno.test("a backend that is down is asked by one probe at a time, and calls fail at once meanwhile", async () => {
  await using setup = await Setup.start(json({}, 503), { joinUrl: undefined });
  const { backend } = setup;
  for (let i = 0; i < 5; i++) await setup.connect();
  assert.equal(setup.count("hook_down"), 1);
  const start = performance.now();
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => setup.connect()),
  );
  assert.ok(performance.now() - start < 500);
  for (const answer of answers) assert.match(`${answer}`, /^hook_unavailable/);
  assert.equal(backend.calls.items.length, 5);
  backend.respond = ANN;
  await until(
    "the backend is asked again",
    async () => typeof await setup.connect() === "object",
    5000,
  );
  assert.equal(setup.count("hook_recovered"), 1);
  assert.equal(backend.calls.items.length, 6);
});

Deno.test("a backend that refuses connections, or hangs, opens the breaker", async () => {
  const backend = await HookBackend.start(ANN);
  const { port } = backend;
  await backend[Symbol.asyncDispose]();
  await using gone = await Setup.start(ANN, {
    connectUrl: `http://127.0.0.1:${port}/?key=secret`,
  });
  await using hanging = await Setup.start(() => {}, { timeoutMs: 50 });
  for (const setup of [gone, hanging]) {
    for (let i = 0; i < 7; i++) await setup.connect();
    const [outcome = "", ...others] = setup.outcomes;
    assert.match(outcome, /^(unreachable|timeout)$/);
    assert.deepEqual(others.slice(4), ["breaker_open", "breaker_open"]);
    assert.equal(setup.count("hook_down"), 1);
  }
  assert.doesNotMatch(JSON.stringify(gone.observed), /secret/);
  assert.deepEqual(gone.failures.map(({ url }) => url), [
    `http://127.0.0.1:${port}/`,
  ]);
});

Deno.test("hook_failed names the hook's URL, and each reason once a minute, and no reason hides an outage", async () => {
  await using setup = await Setup.start(json({}, 500), { joinUrl: undefined });
  const { backend } = setup;
  await setup.connect();
  backend.respond = (_, response) => void response.end("garbage");
  for (let i = 0; i < 2; i++) await setup.connect();
  backend.respond = json({}, 500);
  await setup.connect();
  assert.deepEqual(setup.reasons, [
    "the response has the status 500",
    "the body is not JSON",
  ]);
  for (const { url } of setup.failures) assert.equal(url, backend.url());
  for (let status = 400; status < 420; status++) {
    backend.respond = json({}, status);
    await setup.connect();
  }
  await backend[Symbol.asyncDispose]();
  await setup.connect();
  const count = (outcome: string) =>
    setup.failures.filter((failure) => failure.outcome === outcome).length;
  assert.deepEqual(
    ["invalid", "bad_status", "unreachable"].map(count),
    [1, 11, 1],
  );
});

Deno.test("one client that makes the backend fail does not keep others out", async () => {
  await using setup = await Setup.start(json({}, 500), { joinUrl: undefined });
  for (let i = 0; i < 10; i++) await setup.connect();
  setup.backend.respond = (_, response) => void response.end("garbage");
  for (let i = 0; i < 10; i++) await setup.connect();
  setup.backend.respond = ANN;
  assert.deepEqual(await setup.connect(), { user: "ann", issuedAt: ISSUED });
  assert.equal(setup.count("hook_down"), 0);
});

Deno.test("close() ends the calls in flight", async () => {
  await using setup = await Setup.start(() => {}, { timeoutMs: 10_000 });
  const asked = setup.connect();
  await until("the call is in flight", () => setup.backend.inFlight === 1);
  setup.hooks.close();
  assert.match(`${await asked}`, /^hook_unavailable: /);
});

Deno.test("all IPv6 addresses of one user have their turns together", async () => {
  const gate = Promise.withResolvers<void>();
  await using setup = await Setup.start(async (call, response) => {
    await gate.promise;
    await ANN(call, response);
  });
  const { backend } = setup;
  const connect = (address: string) => setup.connect({ address });
  const hog = Array.from(
    { length: 40 },
    (_, i) => connect(`2001:db8::${(i % 20) + 1}`),
  );
  await backend.calls.have(10);
  const other = connect("192.0.2.9");
  gate.resolve();
  await other;
  const turn = backend.calls.items.findIndex(({ body }) =>
    body.address === "192.0.2.9"
  );
  // It is among the next ten calls, which may arrive in any order.
  assert.ok(turn < 20, `its turn came after ${turn} calls`);
  await Promise.all(hog);
});
