import assert from "node:assert/strict";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import { HookBackend, result } from "../../support/hook_backend.ts";
import {
  forgeToken,
  inSeconds,
  KeyServer,
  makeSigningKey,
  makeToken,
  SECRET,
} from "../../support/tokens.ts";
import { soon } from "../../support/wait.ts";

const FAST = { reconnectionDelay: 10, reconnectionDelayMax: 50 };

/** An embedded node with tokens, and its address. */
class Setup implements AsyncDisposable {
  readonly #clients: Subscriber[] = [];

  private constructor(readonly app: TestApp, readonly url: string) {}

  static async start(settings: Record<string, string> = {}): Promise<Setup> {
    const app = new TestApp({ TOKEN_SECRET: SECRET, ...settings });
    return new Setup(app, `http://127.0.0.1:${await app.serve()}`);
  }

  /** Starts to connect a stock client that sends this in its handshake. */
  client(
    auth: Record<string, unknown>,
    transports = ["websocket"],
  ): Subscriber {
    const options = { ...FAST, auth, transports, timeout: 10_000 };
    const client = new Subscriber(this.url, options);
    this.#clients.push(client);
    return client;
  }

  /** Connects a stock client. Returns the rooms that it joins, or the code with which it is refused. */
  async connect(
    auth: Record<string, unknown>,
    transports?: string[],
  ): Promise<string[] | string> {
    const client = this.client(auth, transports);
    const { connects, errors } = client;
    await client.settled();
    return connects.items.length > 0
      ? await this.#roomsOf(client)
      : `${errors.items[0]?.data?.code}`;
  }

  /** The rooms of a client are known once it has got the answer to a request. */
  async #roomsOf(client: Subscriber): Promise<string[]> {
    await client.ask("leave", { room: "no-such-room" });
    return client.joined.items.map(({ room }) => room);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
    await this.app[Symbol.asyncDispose]();
  }
}

function caps(...rooms: string[]): { caps: unknown[] } {
  return { caps: [{ rooms, allow: ["sub"] }] };
}

Deno.test("a client gets only rooms that its token allows, at connect and by join", async () => {
  await using setup = await Setup.start({ TOKEN_ROOMS: "user.{sub}=sub" });
  const token = await makeToken({
    sub: "ann",
    rooms: ["user.ann"],
    ...caps("a", "news.*"),
  });
  assert.deepEqual(await setup.connect({ token }), ["user.ann"]);
  assert.deepEqual(
    await setup.connect({ token, rooms: ["a", { room: "news.x", last: 1 }] }),
    ["user.ann", "a", "news.x"],
  );
  const denied = [
    "b",
    "A",
    "news",
    "newsx",
    "user.bob",
    "user.*",
    "*",
    "__proto__",
  ];
  for (const room of denied) {
    for (const rooms of [[room], ["a", { room, since: "0-0" }]]) {
      assert.equal(await setup.connect({ token, rooms }), "forbidden", room);
    }
  }
  const client = setup.client({ token, rooms: ["a"] });
  await client.connects.have(1);
  for (const room of denied) {
    for (const request of [room, { room, last: 10 }, { room, since: "0-0" }]) {
      const [{ ok, error }] = await client.ask("join", request);
      assert.equal(ok, false);
      assert.equal(error.code, "forbidden");
    }
    await setup.app.post("/publish", { room, message: "secret" });
  }
  const [{ ok }] = await client.ask("join", { room: "news.y" });
  assert.equal(ok, true);
  await setup.app.post("/publish", { room: "news.y", message: "news" });
  const received = await client.messages.have(1);
  assert.deepEqual(received.map(({ message }) => message), ["news"]);
});

Deno.test("a room token lets a stock client into its room, in join and at connect, and a false one is answered or is connect_error", async () => {
  await using setup = await Setup.start({ TOKEN_ROOMS: "team.{team}=sub" });
  const token = await makeToken({ sub: "ann" });
  const client = setup.client({ token, rooms: [] });
  await client.connects.have(1);
  const join = async (room: string, token: unknown) => {
    const [{ ok, error }] = await client.ask("join", { room, token });
    return ok === true ? "ok" : error.code;
  };
  const other = { secret: SECRET.replace("0", "1") };
  const cases = [
    ["a", await makeToken(caps("a")), "ok"],
    ["__proto__", await makeToken({ sub: "ann", ...caps("__*") }), "ok"],
    ["team.x", await makeToken({ team: "x" }), "ok"],
    ["team.y", await makeToken({ team: "*" }), "forbidden"],
    ["b", await makeToken(caps("a", "b.*")), "forbidden"],
    ["b", await makeToken({ sub: "bob", ...caps("b") }), "forbidden"],
    ["b", await makeToken(caps("b"), other), "unauthorized"],
    [
      "b",
      await makeToken({ exp: inSeconds(-6), ...caps("b") }),
      "unauthorized",
    ],
    ["b", forgeToken({ alg: "none" }, caps("b"), ""), "unauthorized"],
    ["b", "", "unauthorized"],
    ["b", null, "unauthorized"],
  ] as const;
  for (const [room, roomToken, code] of cases) {
    assert.equal(await join(room, roomToken), code, room);
    const answer = await setup.connect({
      token,
      rooms: [{ room, token: roomToken }],
    });
    assert.deepEqual(answer, code === "ok" ? [room] : code);
  }
  for (const [room] of cases) {
    await setup.app.post("/publish", { room, message: room });
  }
  const received = await client.messages.have(3);
  assert.deepEqual(
    received.map(({ message }) => message),
    ["a", "__proto__", "team.x"],
  );
});

Deno.test("a room token that cannot be verified at the moment is answered in join, and closes a connection at connect", async () => {
  const key = await makeSigningKey("k1");
  await using server = await KeyServer.start([key.jwk]);
  server.respond = (response) => response.writeHead(500).end();
  await using setup = await Setup.start({ TOKEN_JWKS_URL: server.url });
  const token = await makeToken({ sub: "ann" });
  const a = { room: "a", token: await key.sign(caps("a")) };
  const ann = setup.client({ token, rooms: [] });
  await ann.connects.have(1);
  const [{ ok, error }] = await ann.ask("join", a);
  assert.deepEqual([ok, error.code], [false, "token_keys_unavailable"]);
  const client = setup.client({ token, rooms: [a] });
  const { engine } = client.socket.io;
  await soon(new Promise((resolve) => engine.on("close", resolve)), "closed");
  server.respond = undefined;
  await client.connects.have(1);
  await client.joined.have(1);
  assert.deepEqual(
    client.errors.items.filter(({ data }) => data !== undefined),
    [],
  );
});

Deno.test("without tokens, a room token is not needed and not looked at", async () => {
  await using app = new TestApp();
  const url = `http://127.0.0.1:${await app.serve()}`;
  await using client = new Subscriber(url, {
    auth: { rooms: [{ room: "a", token: "x" }] },
    transports: ["websocket"],
  });
  await client.joined.have(1);
  const [{ ok }] = await client.ask("join", { room: "b", token: "x" });
  assert.equal(ok, true);
});

Deno.test("a server without tokens warns once that the tokens of clients are not verified, unless a hook is asked", async () => {
  const token = await makeToken({ sub: "ann" });
  const warnings = async (
    settings: Record<string, string>,
    auth: Record<string, unknown>,
    join: Record<string, unknown>,
  ): Promise<number> => {
    await using app = new TestApp(settings);
    const url = `http://127.0.0.1:${await app.serve()}`;
    for (let clients = 0; clients < 2; clients++) {
      await using client = new Subscriber(url, { auth });
      await client.connects.have(1);
      await client.ask("join", { room: "b", ...join });
    }
    return app.observations.filter(({ kind }) => kind === "token_ignored")
      .length;
  };
  assert.equal(await warnings({}, {}, {}), 0);
  assert.equal(await warnings({}, { token }, {}), 1);
  assert.equal(await warnings({}, {}, { token }), 1);
  await using backend = await HookBackend.start(
    result({ allow: ["sub"] }),
  );
  const JOIN_HOOK_URL = backend.url("/join");
  assert.equal(await warnings({ JOIN_HOOK_URL }, {}, { token }), 0);
  await using app = new TestApp();
  const authorization = `Bearer ${token}`;
  await app.request("/rooms/chat/history", { headers: { authorization } });
  assert.ok(app.observations.some(({ kind }) => kind === "token_ignored"));
});

Deno.test("a client that names no rooms, and whose token allows none of ROOMS, connects and leaves one log line", async () => {
  await using app = new TestApp({ TOKEN_SECRET: SECRET });
  const url = `http://127.0.0.1:${await app.serve()}`;
  const token = await makeToken({ caps: [{ rooms: ["b"], allow: ["sub"] }] });
  const reports = (): number =>
    app.observations.filter(({ kind }) => kind === "client_without_rooms")
      .length;
  for (const rooms of [["b"], []]) {
    await using client = new Subscriber(url, { auth: { token, rooms } });
    await client.connects.have(1);
  }
  assert.equal(reports(), 0);
  for (let clients = 0; clients < 2; clients++) {
    await using client = new Subscriber(url, { auth: { token } });
    await client.connects.have(1);
    assert.equal(reports(), 1);
  }
});

Deno.test("a claim with a * in it does not give a client other rooms", async () => {
  await using setup = await Setup.start({
    TOKEN_ROOMS: "user.{sub}=sub,org.{org}.*=sub",
  });
  for (const value of ["*", "an*", "ann.x", ""]) {
    const token = await makeToken({ sub: value || "x", org: value });
    for (
      const rooms of [["user.ann"], ["org.acme.x"], ["org.ann.x.y"], ["org."]]
    ) {
      assert.equal(await setup.connect({ token, rooms }), "forbidden");
    }
  }
});

Deno.test("a client learns that a character in its own claim makes TOKEN_ROOMS grant nothing", async () => {
  await using setup = await Setup.start({ TOKEN_ROOMS: "user.{sub}=sub" });
  const token = await makeToken({ sub: "ann@example.com" });
  const refusalOf = async (room: string) => {
    const client = setup.client({ token, rooms: [room] });
    const [error] = await client.errors.have(1);
    return error?.message ?? "";
  };
  assert.match(
    await refusalOf("user.ann"),
    /^Cannot join "user\.ann": the token does not allow it; its claim "sub" has the character "\.", with which TOKEN_ROOMS grants nothing; /,
  );
  assert.doesNotMatch(await refusalOf("chat"), /character/);
});

Deno.test("public rooms need no token, and all other rooms do", async () => {
  await using setup = await Setup.start({ PUBLIC_ROOMS: "lobby,news.*" });
  assert.deepEqual(
    await setup.connect({ rooms: ["lobby", "news.a"] }),
    ["lobby", "news.a"],
  );
  for (const rooms of [undefined, ["chat"], ["lobby", "lobby2"], ["news"]]) {
    const auth = rooms === undefined ? {} : { rooms };
    assert.equal(await setup.connect(auth), "unauthorized");
  }
  const token = await makeToken(caps("chat"));
  assert.deepEqual(
    await setup.connect({ token, rooms: ["chat", "lobby"] }),
    ["chat", "lobby"],
  );
  assert.equal(
    await setup.connect({ token: "x", rooms: ["lobby"] }),
    "unauthorized",
    "a wrong token is refused although none is needed",
  );
});

Deno.test("a client recovers with a new token of the same user, and loses a room that the token no longer allows", async () => {
  await using setup = await Setup.start();
  const auth: Record<string, unknown> = {
    token: await makeToken({ sub: "ann", ...caps("a", "b") }),
    rooms: ["a", "b"],
  };
  const client = setup.client(auth);
  await client.connects.have(1);
  const cut = async (claims: Record<string, unknown>, count: number) => {
    auth.token = await makeToken(claims);
    client.socket.io.engine.close();
    for (const room of ["a", "b"]) {
      await setup.app.post("/publish", { room, message: `${room}${count}` });
    }
    await client.connects.have(count);
    await client.ask("leave", { room: "no-such-room" });
  };
  await cut({ sub: "ann", ...caps("a", "b") }, 2);
  await cut({ sub: "ann", ...caps("a") }, 3);
  assert.deepEqual(client.connects.items, [false, true, false]);
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    ["a2", "b2", "a3"],
  );
});

Deno.test("a client that refreshes its token gets the rights of the new one at once", async () => {
  await using setup = await Setup.start();
  const client = setup.client({
    token: await makeToken({ sub: "ann", ...caps("a") }),
    rooms: ["a"],
  });
  const left: unknown[] = [];
  client.socket.on("left", (...args) => left.push(args));
  await client.connects.have(1);
  const exp = inSeconds(600);
  const token = await makeToken({ sub: "ann", exp, ...caps("b") });
  assert.deepEqual(await client.ask("refresh", { token }), [
    { ok: true, expiresAt: exp * 1000 },
  ]);
  assert.deepEqual(left, [[{ room: "a", reason: "revoked" }]]);
  const [{ ok }] = await client.ask("join", { room: "b" });
  assert.equal(ok, true);
  const [{ error }] = await client.ask("join", { room: "a" });
  assert.equal(error.code, "forbidden");
  for (
    const [request, code] of [
      [{}, "invalid_parameter"],
      [token, "invalid_parameter"],
      [null, "invalid_parameter"],
      [{ token, room: "a" }, "unknown_field"],
      [{ token: null }, "unauthorized"],
      [{ token: "x" }, "unauthorized"],
      [{ token: await makeToken({ exp: inSeconds(-60) }) }, "unauthorized"],
      [{ token: await makeToken({ sub: "bob" }) }, "forbidden"],
    ] as const
  ) {
    const [{ ok, error }] = await client.ask("refresh", request);
    assert.deepEqual([ok, error.code], [false, code], JSON.stringify(request));
  }
  await setup.app.post("/publish", { room: "b", message: 1 });
  await client.messages.have(1);
});

Deno.test("a client is told that its token expires soon, and its offset stays the same", async () => {
  await using setup = await Setup.start();
  const exp = inSeconds(30);
  const client = setup.client({
    token: await makeToken({ exp, ...caps("a") }),
    rooms: ["a"],
  });
  const told = new Promise((resolve) =>
    client.socket.on("token_expiring", (...args) => resolve(args))
  );
  await client.connects.have(1);
  await setup.app.post("/publish", { room: "a", message: 1 });
  const [{ id } = { id: "" }] = await client.messages.have(1);
  assert.deepEqual(await soon(told, "the client is told"), [
    { expiresAt: exp * 1000 },
  ]);
  const { _lastOffset } = client.socket as unknown as { _lastOffset: string };
  assert.equal(_lastOffset, id);
});

Deno.test("a session that another user presents is not resumed", async () => {
  await using setup = await Setup.start();
  const ann = setup.client({
    token: await makeToken({ sub: "ann", ...caps("*") }),
    rooms: ["secret"],
  });
  await ann.connects.have(1);
  const { _pid: pid } = ann.socket as unknown as { _pid: string };
  assert.equal(typeof pid, "string");
  const token = await makeToken({ sub: "eve", ...caps("*") });
  assert.deepEqual(await setup.connect({ token, pid, rooms: ["x"] }), ["x"]);
  assert.ok(ann.socket.connected);
});

Deno.test("a token in the query is refused with advice, also beside a token in auth, and not observed", async () => {
  await using setup = await Setup.start();
  const token = await makeToken(caps("chat"));
  for (
    const [name, auth] of [
      ["token", {}],
      ["token", { token }],
      ["access_token", {}],
      ["jwt", {}],
    ] as const
  ) {
    await using client = new Subscriber(`${setup.url}/?${name}=${token}`, {
      ...FAST,
      auth,
      transports: ["websocket"],
    });
    const [error] = await client.errors.have(1);
    assert.deepEqual(error?.data, {
      code: "unknown_field",
      message:
        `Cannot connect: the query parameter "${name}" is not known; send a token in auth.token, as in { auth: { token: "…" } }, because URLs end up in logs`,
    });
    assert.equal(client.socket.active, false);
  }
  assert.ok(!JSON.stringify(setup.app.observations).includes(token));
});

Deno.test("a secret that is no token is refused with the advice to send a token and no publish key", async () => {
  const key = "correct-horse-battery";
  await using setup = await Setup.start({ PUBLISH_KEYS: `web:${key}` });
  const client = setup.client({ token: key });
  const [error] = await client.errors.have(1);
  assert.deepEqual(error?.data, {
    code: "unauthorized",
    message:
      "Cannot accept the token: it is not a signed JSON Web Token; send a client token as it was issued, without Bearer and quotes, and no publish key",
  });
});

Deno.test("a client retries by itself while the keys cannot be fetched, and connects when they can", async () => {
  const key = await makeSigningKey("k1");
  await using server = await KeyServer.start([key.jwk]);
  server.respond = (response) => response.writeHead(500).end();
  await using setup = await Setup.start({ TOKEN_JWKS_URL: server.url });
  const client = setup.client({ token: await key.sign(caps("chat")) });
  const { engine } = client.socket.io;
  await soon(new Promise((resolve) => engine.on("close", resolve)), "closed");
  server.respond = undefined;
  await client.connects.have(1);
  assert.deepEqual(
    client.errors.items.filter(({ data }) => data !== undefined),
    [],
  );
});

Deno.test({
  name: "a client connects with a valid token, and is refused with any other",
  // A polling client leaves timers behind, so this test is the last one.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using setup = await Setup.start({ TOKEN_ISSUER: "me" });
    const claims = { iss: "me", ...caps("chat") };
    const token = await makeToken(claims);
    for (const transports of [["websocket"], ["polling"]]) {
      assert.deepEqual(await setup.connect({ token }, transports), ["chat"]);
      for (
        const wrong of [
          undefined,
          null,
          "",
          "x",
          1,
          {},
          SECRET,
          `${token}x`,
          forgeToken({ alg: "none" }, { ...claims, exp: inSeconds(60) }),
          await makeToken({ ...claims, exp: inSeconds(-30) }),
          await makeToken({ ...claims, iss: "you" }),
          await makeToken(claims, { secret: `${SECRET}x` }),
        ]
      ) {
        const auth = wrong === undefined ? {} : { token: wrong };
        assert.equal(
          await setup.connect(auth, transports),
          "unauthorized",
          JSON.stringify(wrong),
        );
      }
    }
    const seen = JSON.stringify(setup.app.observations);
    assert.ok(!seen.includes(SECRET) && !seen.includes(token));
  },
});
