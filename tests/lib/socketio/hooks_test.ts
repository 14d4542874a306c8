import assert from "node:assert/strict";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import {
  HookBackend,
  type HookCall,
  json,
  type Responder,
  result,
} from "../../support/hook_backend.ts";
import { RawClient } from "../../support/raw_client.ts";
import { makeToken, SECRET } from "../../support/tokens.ts";
import { soon, until } from "../../support/wait.ts";

const FAST = { reconnectionDelay: 10, reconnectionDelayMax: 50 };
const ALLOW = result({ allow: ["sub"] });

/** Returns a responder that lets a client in as this user, who may join the rooms whose names are joined by commas. */
function user(
  name: string | null,
  rooms: string,
  expiresAt?: number,
): Responder {
  const caps = [{ rooms: rooms.split(","), allow: ["sub"] }];
  return result({ user: name, caps, expiresAt });
}

/** An embedded node whose hooks ask a backend. */
class Setup implements AsyncDisposable {
  readonly #clients: Subscriber[] = [];

  private constructor(
    readonly backend: HookBackend,
    readonly app: TestApp,
    readonly url: string,
  ) {}

  /** Starts a node with these hooks. */
  static async start(
    hooks: "connect" | "join" | "both",
    respond: Responder,
    settings: Record<string, string> = {},
  ): Promise<Setup> {
    const backend = await HookBackend.start(respond);
    const app = new TestApp({
      ...hooks !== "join" && { CONNECT_HOOK_URL: backend.url("/connect") },
      ...hooks !== "connect" && { JOIN_HOOK_URL: backend.url("/join") },
      HOOK_TIMEOUT_MS: "5000",
      ...settings,
    });
    const url = `http://127.0.0.1:${await app.serve()}`;
    return new Setup(backend, app, url);
  }

  /** Starts to connect a stock client that sends this in its handshake. */
  client(
    auth: Record<string, unknown> = {},
    options: Record<string, unknown> = {},
  ): Subscriber {
    const client = new Subscriber(this.url, {
      ...FAST,
      auth,
      transports: ["websocket"],
      timeout: 10_000,
      ...options,
    });
    this.#clients.push(client);
    return client;
  }

  /** Connects a stock client. Returns the rooms that it joins, or the code and message with which it is refused. */
  async connect(
    auth: Record<string, unknown> = {},
    options: Record<string, unknown> = {},
  ): Promise<string[] | string> {
    const client = this.client(auth, options);
    const { connects, errors } = client;
    await client.settled();
    if (connects.items.length > 0) return await roomsOf(client);
    const { data } = errors.items[0] ?? {};
    return `${data?.code}: ${data?.message}`;
  }

  /** The calls of a hook so far. */
  calls(hook: "connect" | "join"): readonly HookCall[] {
    return this.backend.calls.items.filter(({ path }) => path === `/${hook}`);
  }

  /** Publishes the room's name to each of these rooms. */
  async publish(...rooms: string[]): Promise<void> {
    for (const room of rooms) {
      await this.app.post("/publish", { room, message: room });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
    await this.app[Symbol.asyncDispose]();
    await this.backend[Symbol.asyncDispose]();
  }
}

/** The rooms of a client are known once it has got the answer to a request. */
async function roomsOf(client: Subscriber): Promise<string[]> {
  await client.ask("leave", { room: "no-such-room" });
  return client.joined.items.map(({ room }) => room);
}

/** Cuts the connection of a client. The client reconnects by itself. */
function cut(client: Subscriber): void {
  client.socket.io.engine.close();
}

/** Moves the clock of this process. `using` sets it right again. */
class Clock implements Disposable {
  ahead = 0;
  readonly #real = Date.now;

  constructor() {
    Date.now = () => this.#real() + this.ahead;
  }

  [Symbol.dispose](): void {
    Date.now = this.#real;
  }
}

Deno.test("the connect hook decides who a client is and which rooms it may join", async () => {
  await using setup = await Setup.start("connect", user("ann", "a,b.*"), {
    TOKEN_ROOMS: "user.{sub}=sub",
    PUBLIC_ROOMS: "lobby",
    ROOMS: "chat,a",
  });
  const auth = { rooms: ["a", { room: "b.c", last: 1 }, "user.ann", "lobby"] };
  assert.deepEqual(
    await setup.connect(auth),
    ["a", "b.c", "user.ann", "lobby"],
  );
  // The client has not named the default room chat, so it does without it.
  assert.deepEqual(await setup.connect(), ["a"]);
  for (const room of ["c", "b", "user.bob", "*", "__proto__", "lobby2"]) {
    assert.match(
      `${await setup.connect({ rooms: ["a", room] })}`,
      /^forbidden: Cannot join ".*": the application does not allow it; grant/,
    );
  }
  const client = setup.client({ rooms: ["a"] });
  await client.connects.have(1);
  const [{ error }] = await client.ask("join", { room: "c" });
  assert.equal(error.code, "forbidden");
  assert.equal((await client.ask("join", { room: "b.x" }))[0].ok, true);
  assert.equal(setup.calls("connect").length, 9);
});

Deno.test("the connect hook is told about the client, and gets the headers of HOOK_HEADERS", async () => {
  await using setup = await Setup.start("connect", user("ann", "*"), {
    HOOK_HEADERS: "cookie,x-tenant",
    ALLOWED_ORIGINS: "https://app.example",
  });
  const extraHeaders = {
    cookie: "sid=1; b=2",
    "X-Tenant": "7",
    authorization: "Bearer secret",
    origin: "https://app.example",
  };
  await setup.connect(
    { rooms: ["a", { room: "b", last: 1 }], token: "t1", lang: "de" },
    { extraHeaders },
  );
  const [call] = setup.calls("connect");
  const { client, ...told } = call?.body ?? {};
  assert.match(client, /^[\w-]{16}$/);
  assert.deepEqual(told, {
    transport: "websocket",
    origin: "https://app.example",
    address: "127.0.0.1",
    rooms: ["a", "b"],
    data: { lang: "de" },
    token: "t1",
  });
  assert.equal(call?.headers.cookie, extraHeaders.cookie);
  assert.equal(call?.headers["x-tenant"], "7");
  assert.equal(call?.headers.authorization, undefined);
  await setup.connect({}, { transports: ["polling"] });
  const polling = setup.calls("connect")[1];
  assert.equal(polling?.body.transport, "polling");
  assert.deepEqual(
    [polling?.body.rooms, polling?.body.data, polling?.body.origin],
    [[], {}, null],
  );
  // A browser sends cookies also with a request that another site has caused.
  const foreign = { cookie: "sid=1", "sec-fetch-site": "cross-site" };
  await setup.connect({}, { extraHeaders: foreign });
  assert.equal(setup.calls("connect")[2]?.headers.cookie, undefined);
  const mapped = await setup.connect({}, {
    extraHeaders: { ...extraHeaders, origin: "https://evil.example" },
    reconnection: false,
  });
  assert.equal(mapped, "undefined: undefined");
  assert.equal(setup.calls("connect").length, 3);
});

Deno.test("a refusal by the connect hook is a connect_error, and an outage closes the connection until it is over", async () => {
  await using setup = await Setup.start(
    "connect",
    json({ error: { code: "locked", message: "Your account is locked" } }),
  );
  assert.equal(await setup.connect(), "locked: Your account is locked");
  // Metrics and log lines have Roomcast's own codes, of which there are not many.
  const { observations } = setup.app;
  assert.deepEqual(
    observations.filter(({ kind }) => /^clients?_refused$/.test(kind)),
    [
      { kind: "client_refused", code: "forbidden" },
      {
        kind: "clients_refused",
        code: "forbidden",
        count: 1,
        why:
          'Cannot connect: the application does not allow it and says "Your account is locked"; ask the application who may do it',
      },
    ],
  );
  setup.backend.respond = json({}, 401);
  assert.match(`${await setup.connect()}`, /^unauthorized: /);
  setup.backend.respond = (_, response) => void response.end("broken");
  const client = setup.client();
  const { engine } = client.socket.io;
  await soon(new Promise((resolve) => engine.on("close", resolve)), "closed");
  setup.backend.respond = user("ann", "chat");
  await client.connects.have(1);
  assert.deepEqual(
    client.errors.items.filter(({ data }) => data !== undefined),
    [],
  );
  const refused = setup.app.observations.filter((observation) =>
    observation.kind === "client_refused" &&
    observation.code === "hook_unavailable"
  );
  assert.ok(refused.length > 0);
});

Deno.test("a client that resumes its session asks no hook, and keeps its id, its rooms and its user", async () => {
  await using setup = await Setup.start(
    "both",
    (call, response) =>
      call.path === "/connect"
        ? user("ann", "a")(call, response)
        : result({ allow: ["sub"], info: 1 })(call, response),
  );
  const client = setup.client({ rooms: ["a", "b"] });
  await client.connects.have(1);
  assert.equal((await client.ask("join", { room: "c" }))[0].ok, true);
  const before = setup.backend.calls.items.length;
  // One call of the connect hook, and one of the join hook for each room that the verdict does not allow.
  assert.equal(before, 3);
  for (let count = 2; count <= 4; count++) {
    cut(client);
    await setup.publish("a", "b", "c");
    await client.connects.have(count);
    await client.messages.have(3 * (count - 1));
  }
  assert.deepEqual(client.connects.items, [false, true, true, true]);
  assert.equal(setup.backend.calls.items.length, before);
  assert.equal((await client.ask("join", { room: "d" }))[0].ok, true);
  const ids = setup.backend.calls.items.map(({ body }) => body.client);
  assert.equal(new Set(ids).size, 1);
  const [, , , join] = setup.backend.calls.items;
  assert.equal(join?.body.user, "ann");
});

Deno.test("the connect hook is asked again once its verdict has expired, and must name the same user to resume the session", async () => {
  using clock = new Clock();
  const forAMinute = (name: string): Responder =>
    user(name, "a", Date.now() + 60_000);
  await using setup = await Setup.start("connect", forAMinute("ann"));
  const client = setup.client({ rooms: ["a"] });
  await client.connects.have(1);
  clock.ahead = 59_000;
  cut(client);
  await client.connects.have(2);
  assert.equal(setup.calls("connect").length, 1);
  clock.ahead = 60_000;
  setup.backend.respond = forAMinute("ann");
  cut(client);
  await client.connects.have(3);
  const [first, second] = setup.calls("connect");
  assert.equal(second?.body.client, first?.body.client);
  clock.ahead = 120_000;
  setup.backend.respond = forAMinute("eve");
  cut(client);
  await setup.publish("a");
  await client.connects.have(4);
  assert.deepEqual(client.connects.items, [false, true, true, false]);
  clock.ahead = 180_000;
  setup.backend.respond = json({}, 403);
  cut(client);
  await client.errors.have(1);
  assert.equal(client.errors.items[0]?.data?.code, "forbidden");
});

Deno.test("a client of the connect hook is closed 25 s after its verdict has expired, without a warning, and comes back", async () => {
  using clock = new Clock();
  // The client notices if it hears nothing for 45 s of this clock.
  const verdict: Responder = (call, response) =>
    user("ann", "*", Date.now() + 10_000)(call, response);
  await using setup = await Setup.start("connect", verdict);
  const client = setup.client({ rooms: ["a"] });
  const warnings: unknown[] = [];
  client.socket.on("token_expiring", (...args) => warnings.push(args));
  await client.connects.have(1);
  const [{ error }] = await client.ask("refresh", { token: "x" });
  assert.match(
    `${error.code} ${error.message}`,
    /^forbidden Cannot refresh: .* disconnect, and connect again$/,
  );
  clock.ahead = 17_000;
  // The verdict counts 5 s longer for new requests.
  const [{ error: expired }] = await client.ask("join", { room: "b" });
  assert.match(
    `${expired.code} ${expired.message}`,
    /^unauthorized Cannot join a room: .* has expired; connect again$/,
  );
  await setup.publish("a");
  await client.messages.have(1);
  assert.ok(client.socket.connected);
  clock.ahead = 36_000;
  await client.connects.have(2);
  assert.deepEqual(client.connects.items, [false, true]);
  assert.deepEqual(warnings, []);
  assert.equal(setup.calls("connect").length, 2);
});

Deno.test("1,000 clients whose verdicts expire at once come back with at most 20 calls in flight", async () => {
  using clock = new Clock();
  const verdict: Responder = async (call, response) => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    await user("ann", "a", Date.now() + 3_600_000)(call, response);
  };
  await using setup = await Setup.start("connect", verdict);
  const port = Number(new URL(setup.url).port);
  const clients = Array.from({ length: 1000 }, () => new RawClient(["a"]));
  try {
    for (const client of clients) client.connect(port);
    await until(
      "all clients are connected",
      () => clients.every(({ joined }) => joined === 1),
    );
    clock.ahead = 3_626_000;
    await until(
      "all clients are closed",
      () => setup.app.node.sockets.count === 0,
    );
    await setup.publish("a");
    await until(
      "all clients are back and have the message",
      () => clients.every(({ received }) => received === 1),
    );
    assert.ok(clients.every(({ recovered }) => recovered));
    assert.equal(setup.backend.inFlightMax, 20);
    assert.equal(setup.calls("connect").length, 2000);
  } finally {
    for (const client of clients) client.cut();
  }
});

Deno.test("with tokens, the connect hook decides only about clients without one", async () => {
  await using setup = await Setup.start("connect", user("guest", "lobby"), {
    TOKEN_SECRET: SECRET,
  });
  const token = await makeToken({
    sub: "ann",
    caps: [{ rooms: ["a"], allow: ["sub"] }],
  });
  assert.deepEqual(await setup.connect({ token, rooms: ["a"] }), ["a"]);
  assert.match(`${await setup.connect({ token: "x" })}`, /^unauthorized: /);
  assert.equal(setup.calls("connect").length, 0);
  assert.deepEqual(await setup.connect({ rooms: ["lobby"] }), ["lobby"]);
  const [call] = setup.calls("connect");
  assert.equal("token" in call?.body, false);
});

Deno.test("a guest of the connect hook does not resume the session of a client whose token names no user", async () => {
  await using setup = await Setup.start("connect", user(null, "a"), {
    TOKEN_SECRET: SECRET,
  });
  const caps = [{ rooms: ["a"], allow: ["sub"] }];
  const client = setup.client({
    token: await makeToken({ caps }),
    rooms: ["a"],
  });
  await client.connects.have(1);
  const { _pid: pid } = client.socket as unknown as { _pid: string };
  assert.deepEqual(await setup.connect({ pid, rooms: [] }), []);
  assert.ok(client.socket.connected);
  const guest = setup.client({ rooms: ["a"] });
  await guest.connects.have(1);
  cut(guest);
  await guest.connects.have(2);
  assert.deepEqual(guest.connects.items, [false, true]);
});

Deno.test("the rooms of the connect hook's result are joined, and refused if nothing allows them", async () => {
  const caps = [{ rooms: ["user.ann"], allow: ["sub"] }];
  await using setup = await Setup.start(
    "connect",
    result({ user: "ann", rooms: ["user.ann"], caps }),
  );
  assert.deepEqual(await setup.connect({ rooms: [] }), ["user.ann"]);
  setup.backend.respond = result({ user: "ann", rooms: ["user.ann"] });
  assert.match(`${await setup.connect({ rooms: [] })}`, /^forbidden: /);
});

Deno.test("what a client sends for hooks is limited", async () => {
  await using setup = await Setup.start("both", user("ann", "a"));
  let deep: unknown = 0;
  for (let i = 0; i < 5000; i++) deep = [deep];
  const large = "x".repeat(9000);
  for (const data of [deep, large]) {
    const answer = await setup.connect({ rooms: ["a"], data });
    assert.match(
      `${answer}`,
      /^invalid_parameter: Cannot connect: auth (has|is)/,
    );
  }
  for (const token of ["x".repeat(20_000), 7, { a: 1 }]) {
    const answer = await setup.connect({ rooms: ["a"], token });
    assert.match(`${answer}`, /^unauthorized: Cannot accept the token/);
  }
  for (
    const rooms of [[""], ["a", { room: "b", las: 1 }], Array(101).fill("a")]
  ) {
    const answer = await setup.connect({ rooms });
    assert.match(`${answer}`, /^(invalid_room|unknown_field|too_many_rooms): /);
  }
  assert.equal(setup.backend.calls.items.length, 0);
  const client = setup.client({ rooms: ["a"] });
  await client.connects.have(1);
  const [{ error }] = await client.ask("join", { room: "b", data: large });
  assert.equal(error.code, "invalid_parameter");
  const [{ error: token }] = await client.ask("join", { room: "b", token: 1 });
  assert.equal(token.code, "unauthorized");
  assert.equal(setup.calls("join").length, 0);
});

Deno.test("without a connect hook, the join hook decides about the rooms of HOOK_ROOMS, and all others are open", async () => {
  await using setup = await Setup.start(
    "join",
    (call, response) =>
      call.body.room === "private.no"
        ? json({ error: { code: "no_member", message: "members only" } })(
          call,
          response,
        )
        : ALLOW(call, response),
    {
      HOOK_ROOMS: "private.*",
      PUBLIC_ROOMS: "private.lobby",
      ROOMS: "chat",
    },
  );
  assert.deepEqual(
    await setup.connect({ rooms: ["a", "private.lobby"] }),
    ["a", "private.lobby"],
  );
  assert.equal(setup.calls("join").length, 0);
  assert.deepEqual(
    await setup.connect({ rooms: ["private.a", "b"] }, {
      extraHeaders: { cookie: "sid=1" },
    }),
    ["private.a", "b"],
  );
  const [call] = setup.calls("join");
  const { client: id, ...told } = call?.body ?? {};
  assert.match(id, /^[\w-]{16}$/);
  assert.deepEqual(told, { user: null, room: "private.a" });
  assert.equal(call?.headers.cookie, "sid=1");
  assert.match(
    `${await setup.connect({ rooms: ["private.no"] })}`,
    /^no_member: Cannot join "private.no": .* says "members only"/,
  );
  const client = setup.client({ rooms: [] }, {
    extraHeaders: { cookie: "sid=2" },
  });
  await client.connects.have(1);
  const request = { room: "private.b", token: "t", data: { pin: 7 } };
  assert.equal((await client.ask("join", request))[0].ok, true);
  const asked = setup.calls("join").at(-1);
  assert.deepEqual([asked?.body.token, asked?.body.data], ["t", { pin: 7 }]);
  assert.equal(asked?.headers.cookie, "sid=2");
  const [{ error }] = await client.ask("join", { room: "private.no" });
  assert.deepEqual(error, { code: "no_member", message: "members only" });
  // Over HTTP, the rooms of the hook cannot be read without a key either.
  for (const [room, status] of [["a", 200], ["private.b", 401]] as const) {
    const path = `/rooms/${room}/history`;
    assert.equal((await setup.app.request(path)).status, status, room);
  }
});

Deno.test("default rooms that the join hook does not allow are left out for clients of the connect hook", async () => {
  await using setup = await Setup.start("both", (call, response) => {
    if (call.path === "/connect") return user("ann", "a")(call, response);
    if (call.body.room === "b") return ALLOW(call, response);
    return json({}, 403)(call, response);
  }, { ROOMS: "a,b,c" });
  assert.deepEqual(await setup.connect(), ["a", "b"]);
  assert.match(`${await setup.connect({ rooms: ["c"] })}`, /^forbidden: /);
});

Deno.test("an outage of the join hook fails the join, and closes a connection that names the room", async () => {
  await using setup = await Setup.start("join", json({}, 500));
  const client = setup.client({ rooms: [] });
  await client.connects.have(1);
  const [{ ok, error }] = await client.ask("join", { room: "a" });
  assert.deepEqual([ok, error.code], [false, "hook_unavailable"]);
  const other = setup.client({ rooms: ["a"] });
  const { engine } = other.socket.io;
  await soon(new Promise((resolve) => engine.on("close", resolve)), "closed");
  setup.backend.respond = ALLOW;
  await other.connects.have(1);
  assert.equal((await client.ask("join", { room: "a" }))[0].ok, true);
});

Deno.test("a join that waits for the hook delays neither other rooms of the client nor other clients", async () => {
  let answer = (): void => {};
  await using setup = await Setup.start("join", (call, response) => {
    if (call.body.room !== "slow") return ALLOW(call, response);
    answer = () => void ALLOW(call, response);
  });
  const [one, two] = [setup.client({ rooms: [] }), setup.client({ rooms: [] })];
  await one.connects.have(1);
  await two.connects.have(1);
  const slow = one.ask("join", { room: "slow" });
  await until("the hook is asked", () => setup.calls("join").length === 1);
  for (const client of [one, two]) {
    assert.equal((await client.ask("join", { room: "fast" }))[0].ok, true);
  }
  await setup.publish("fast", "slow");
  await one.messages.have(1);
  assert.equal(one.messages.items[0]?.room, "fast");
  answer();
  assert.equal((await slow)[0].ok, true);
  await setup.publish("slow");
  await one.messages.have(2);
});

Deno.test("a right from the join hook ends 25 s after its time, and a new join asks again", async () => {
  using clock = new Clock();
  await using setup = await Setup.start(
    "join",
    (call, response) =>
      result({ allow: ["sub"], expiresAt: Date.now() + 10_000 })(
        call,
        response,
      ),
  );
  const client = setup.client({ rooms: ["a", "b"] });
  const left: unknown[] = [];
  client.socket.on("left", (...args) => left.push(args[0]));
  await client.connects.have(1);
  assert.equal((await client.ask("join", { room: "a" }))[0].ok, true);
  assert.equal(setup.calls("join").length, 2);
  clock.ahead = 17_000;
  // The client renews its right to one of the rooms.
  assert.equal((await client.ask("join", { room: "a" }))[0].ok, true);
  assert.equal(setup.calls("join").length, 3);
  clock.ahead = 36_000;
  await until("the client has left a room", () => left.length > 0);
  assert.deepEqual(left, [{ room: "b", reason: "expired" }]);
  await setup.publish("b", "a");
  await client.messages.have(1);
  assert.equal(client.messages.items[0]?.room, "a");
  assert.equal((await client.ask("join", { room: "b" }))[0].ok, true);
  assert.equal(setup.calls("join").length, 4);
});

Deno.test("calls of hooks of clients that have left are not made, and nothing of them is kept", async () => {
  await using setup = await Setup.start("connect", () => {}, {
    HOOK_TIMEOUT_MS: "300",
  });
  const clients = Array.from(
    { length: 60 },
    () => setup.client({}, { reconnection: false }),
  );
  await until("20 calls are made", () => setup.backend.inFlight === 20);
  const { hooks } = setup.app.node;
  await until("the others wait", () => hooks?.waiting === 40);
  for (const client of clients) client.socket.io.engine.close();
  await until("nothing waits", () => hooks?.waiting === 0);
  await until("nothing runs", () => hooks?.running === 0);
  assert.equal(setup.calls("connect").length, 20);
});

Deno.test("a user that is revoked is disconnected, and the hook is asked again although the verdict has not expired", async () => {
  await using setup = await Setup.start(
    "both",
    (call, response) =>
      call.path === "/connect"
        ? user("ann", "a")(call, response)
        : ALLOW(call, response),
  );
  const client = setup.client({ rooms: ["a", "b"] });
  await client.connects.have(1);
  assert.equal(setup.backend.calls.items.length, 2);
  const { status } = await setup.app.post("/revoke", { user: "ann" });
  assert.equal(status, 200);
  await client.connects.have(2);
  assert.deepEqual(client.connects.items, [false, true]);
  // The rights to both rooms were given before, so both hooks were asked again.
  assert.equal(setup.calls("connect").length, 2);
  assert.equal(setup.calls("join").length, 2);
  setup.backend.respond = json({}, 403);
  await setup.app.post("/revoke", { user: "ann" });
  await client.errors.have(1);
  assert.equal(client.errors.items[0]?.data?.code, "forbidden");
});

Deno.test("a verdict for a user that is revoked while the hook responds does not count", async () => {
  let answer = (): void => {};
  await using setup = await Setup.start("connect", (call, response) => {
    answer = () => void user("ann", "a")(call, response);
  });
  const refused = setup.connect({ rooms: ["a"] });
  await until("the hook is asked", () => setup.calls("connect").length === 1);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await setup.app.post("/revoke", { user: "ann" });
  answer();
  assert.match(`${await refused}`, /^unauthorized: .* has been revoked/);
});

Deno.test("a client that presents the session of another user is not announced to the join hook with that client's id", async () => {
  await using setup = await Setup.start("join", ALLOW, {
    TOKEN_SECRET: SECRET,
  });
  const ann = setup.client({
    token: await makeToken({ sub: "ann" }),
    rooms: [],
  });
  await ann.connects.have(1);
  const { _pid: pid } = ann.socket as unknown as { _pid: string };
  assert.ok(pid);
  const token = await makeToken({ sub: "bob" });
  await setup.connect({ token, pid, rooms: ["a"] });
  await ann.ask("join", { room: "b" });
  const [ofBob, ofAnn] = setup.calls("join").map(({ body }) => body);
  assert.deepEqual([ofBob?.user, ofAnn?.user], ["bob", "ann"]);
  assert.notEqual(ofBob?.client, ofAnn?.client);
});

Deno.test("a join that the join hook refuses leaves no log line, whatever the hook answers", async () => {
  const answers = [
    result({ allow: [] }),
    json({}, 403),
    json({ error: { code: "payment_due", message: "Pay first" } }),
  ];
  await using setup = await Setup.start("join", ALLOW);
  const client = setup.client({ rooms: [] });
  await client.connects.have(1);
  for (const respond of answers) {
    setup.backend.respond = respond;
    const [{ ok }] = await client.ask("join", { room: "a" });
    assert.equal(ok, false);
  }
  assert.deepEqual(
    setup.app.observations.filter(({ kind }) => kind === "events_refused"),
    [],
  );
});

Deno.test("no hook is sent a publish key as a token or in a header", async () => {
  const secret = "correct-horse-battery";
  await using setup = await Setup.start("both", async (call, response) => {
    const answer = call.path === "/connect" ? user(null, "none") : ALLOW;
    await answer(call, response);
  }, {
    PUBLISH_KEYS: `shop:${secret}`,
    HOOK_HEADERS: "cookie,authorization,x-api-key",
  });
  const { calls } = setup.backend;
  for (const prefix of ["Bearer ", "bearer  ", ""]) {
    const extraHeaders = {
      authorization: `${prefix}${secret}`,
      "x-api-key": secret,
      cookie: "sid=1",
    };
    const rooms = await setup.connect({ rooms: ["chat"] }, { extraHeaders });
    assert.deepEqual(rooms, ["chat"]);
  }
  const extraHeaders = { authorization: "Bearer other" };
  await setup.connect({ rooms: ["chat"] }, { extraHeaders });
  assert.deepEqual(
    calls.items.map(({ headers: { cookie, authorization } }) =>
      cookie ?? authorization
    ),
    [...Array(6).fill("sid=1"), "Bearer other", "Bearer other"],
  );
  const client = setup.client({ rooms: [] });
  await client.connects.have(1);
  for (const token of [secret, `Bearer ${secret}`, ` ${secret}\n`]) {
    assert.match(
      String(await setup.connect({ token })),
      /^unauthorized: Cannot connect: the token is a publish key/,
    );
    const [{ error }] = await client.ask("join", { room: "a", token });
    assert.equal(error.code, "unauthorized");
  }
  assert.ok(
    calls.items.every(({ text, headers }) =>
      !`${text}${JSON.stringify(headers)}`.includes(secret)
    ),
  );
});
