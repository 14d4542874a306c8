import assert from "node:assert/strict";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import { HookBackend, json, result } from "../../support/hook_backend.ts";
import { inSeconds, makeToken, SECRET } from "../../support/tokens.ts";
import { until } from "../../support/wait.ts";

const FAST = { reconnectionDelay: 10, reconnectionDelayMax: 50 };
const CAPS = { caps: [{ rooms: ["*"], allow: ["sub"] }] };

/** An embedded node with tokens, and its address. */
class Setup implements AsyncDisposable {
  readonly #clients: Subscriber[] = [];

  private constructor(readonly app: TestApp, readonly url: string) {}

  static async start(
    settings: Record<string, string> = { TOKEN_SECRET: SECRET },
  ): Promise<Setup> {
    const app = new TestApp(settings);
    return new Setup(app, `http://127.0.0.1:${await app.serve()}`);
  }

  /** Starts to connect a stock client with these values of `auth`, which may change later. */
  client(auth: Record<string, unknown>): Subscriber {
    const client = new Subscriber(this.url, {
      ...FAST,
      auth: (send) => send(auth),
      transports: ["websocket"],
    });
    this.#clients.push(client);
    return client;
  }

  async revoke(request: unknown): Promise<void> {
    const { status, text } = await this.app.post("/revoke", request);
    assert.equal(status, 200, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
    await this.app[Symbol.asyncDispose]();
  }
}

function refusalOf({ errors }: Subscriber): unknown {
  return errors.items.findLast(({ data }) => data !== undefined)?.data;
}

const REVOKED = {
  code: "unauthorized",
  message: "Cannot accept the token: it has been revoked; get a new one",
};

Deno.test("a client whose user is revoked is disconnected and refused with the same token, and others stay", async () => {
  await using setup = await Setup.start();
  const iat = inSeconds(-10);
  const ann = setup.client({
    token: await makeToken({ sub: "ann", iat, ...CAPS }),
  });
  const bob = setup.client({
    token: await makeToken({ sub: "bob", iat, ...CAPS }),
  });
  await Promise.all([ann.connects.have(1), bob.connects.have(1)]);
  await setup.revoke({ user: "ann" });
  await ann.errors.where(() => refusalOf(ann) !== undefined);
  assert.deepEqual(refusalOf(ann), REVOKED);
  assert.deepEqual(ann.disconnects.items, ["transport close"]);
  assert.ok(bob.socket.connected);
  await setup.app.post("/publish", { message: 1 });
  await bob.messages.have(1);
  assert.deepEqual(ann.messages.items, []);
  assert.deepEqual(
    setup.app.observations.filter(({ kind }) => kind === "client_revoked"),
    [{ kind: "client_revoked" }],
  );
});

Deno.test("a client whose token is revoked comes back with a new token, and has missed nothing", async () => {
  await using setup = await Setup.start();
  const claims = { sub: "ann", iat: inSeconds(-10), ...CAPS };
  const auth = { token: await makeToken({ ...claims, jti: "first" }) };
  const client = setup.client(auth);
  const other = setup.client({
    token: await makeToken({ ...claims, jti: "other" }),
  });
  await Promise.all([client.connects.have(1), other.connects.have(1)]);
  await setup.app.post("/publish", { message: 1 });
  await client.messages.have(1);
  auth.token = await makeToken({ ...claims, jti: "second" });
  await setup.revoke({ jti: "first" });
  await client.disconnects.have(1);
  await setup.app.post("/publish", { message: 2 });
  await client.connects.have(2);
  await client.messages.have(2);
  assert.deepEqual(client.connects.items, [false, true]);
  assert.deepEqual(client.messages.items.map(({ message }) => message), [1, 2]);
  assert.ok(other.socket.connected);
  assert.deepEqual(other.disconnects.items, []);
});

Deno.test("a client keeps its connection if it refreshed to a token that is not revoked", async () => {
  await using setup = await Setup.start();
  const iat = inSeconds(-10);
  const client = setup.client({
    token: await makeToken({ sub: "ann", iat, jti: "old", ...CAPS }),
  });
  await client.connects.have(1);
  const token = await makeToken({ sub: "ann", iat, jti: "new", ...CAPS });
  const [{ ok }] = await client.ask("refresh", { token });
  assert.equal(ok, true);
  await setup.revoke({ jti: "old" });
  await setup.revoke({ jti: "unused" });
  const third = await makeToken({ sub: "ann", iat, jti: "unused", ...CAPS });
  const [refused] = await client.ask("refresh", { token: third });
  assert.deepEqual(refused, { ok: false, error: REVOKED });
  await setup.revoke({ jti: "new" });
  await client.disconnects.have(1);
});

Deno.test("no client with a revoked token stays, however the revocation and the connect overlap", async () => {
  await using setup = await Setup.start();
  const clients: Subscriber[] = [];
  for (let round = 0; round < 20; round++) {
    const jti = `t${round}`;
    const token = await makeToken({ sub: "ann", jti, ...CAPS });
    for (let i = 0; i < 3; i++) clients.push(setup.client({ token }));
    // The revocation arrives at another moment of the handshake each time.
    const due = performance.now() + round * 1.5;
    await until("the moment has come", () => performance.now() >= due);
    await setup.revoke({ jti });
  }
  await until(
    "every client is refused",
    () => clients.every((client) => refusalOf(client) !== undefined),
  );
  assert.ok(clients.every(({ socket }) => !socket.connected));
});

Deno.test("a client leaves the room of a revoked room token, and does not get it back by joining or reconnecting", async () => {
  await using setup = await Setup.start();
  const iat = inSeconds(-10);
  const caps = (room: string) => ({
    caps: [{ rooms: [room], allow: ["sub"] }],
  });
  const roomToken = await makeToken({ jti: "r1", iat, ...caps("secret") });
  const other = await makeToken({ jti: "r2", iat, ...caps("other") });
  const client = setup.client({
    token: await makeToken({ sub: "ann", iat, ...caps("chat") }),
    rooms: ["chat", { room: "other", token: other }],
  });
  const left: unknown[] = [];
  client.socket.on("left", (facts) => left.push(facts));
  await client.connects.have(1);
  const join = async () => {
    const request = { room: "secret", token: roomToken };
    const [{ ok, error }] = await client.ask("join", request);
    return ok === true ? "ok" : error;
  };
  assert.equal(await join(), "ok");
  await setup.revoke({ jti: "r1" });
  await until("the client has left", () => left.length === 1);
  assert.deepEqual(left, [{ room: "secret", reason: "revoked" }]);
  assert.deepEqual(await join(), REVOKED);
  client.socket.io.engine.close();
  await client.connects.have(2);
  assert.deepEqual(client.connects.items, [false, true]);
  for (const room of ["secret", "other", "chat"]) {
    await setup.app.post("/publish", { room, message: room });
  }
  await client.messages.have(2);
  assert.deepEqual(
    client.messages.items.map(({ room }) => room),
    ["other", "chat"],
  );
});

Deno.test("a client that resumes its session leaves rooms whose room tokens were revoked meanwhile", async () => {
  await using setup = await Setup.start();
  const iat = inSeconds(-10);
  const caps = [{ rooms: ["secret"], allow: ["sub"] }];
  const client = setup.client({
    token: await makeToken({ sub: "ann", iat }),
    rooms: [{
      room: "secret",
      token: await makeToken({ jti: "r1", iat, caps }),
    }],
  });
  const left: unknown[] = [];
  client.socket.on("left", (facts) => left.push(facts));
  await client.connects.have(1);
  client.socket.io.reconnection(false);
  client.socket.io.engine.close();
  await client.disconnects.have(1);
  await setup.revoke({ jti: "r1" });
  client.socket.connect();
  await client.connects.have(2);
  await until("the client has left", () => left.length === 1);
  assert.deepEqual(left, [{ room: "secret", reason: "revoked" }]);
  await setup.app.post("/publish", { room: "secret", message: 1 });
  await client.ask("leave", { room: "no-such-room" });
  assert.deepEqual(client.messages.items, []);
});

Deno.test("the connect hook is asked again about a client whose user is revoked, and decides", async () => {
  const user = "ann";
  const caps = [{ rooms: ["*"], allow: ["sub"] }];
  await using backend = await HookBackend.start(result({ user, caps }));
  await using setup = await Setup.start({ CONNECT_HOOK_URL: backend.url() });
  const client = setup.client({});
  await client.connects.have(1);
  client.socket.io.engine.close();
  await client.connects.have(2);
  assert.equal(backend.calls.items.length, 1, "the verdict was kept");
  await setup.revoke({ user });
  await client.connects.have(3);
  assert.equal(backend.calls.items.length, 2);
  assert.deepEqual(client.connects.items, [false, true, true]);
  client.socket.io.engine.close();
  await client.connects.have(4);
  assert.equal(backend.calls.items.length, 2, "the new verdict is kept");
  backend.respond = json({}, 403);
  await setup.revoke({ user });
  await client.errors.where(() => refusalOf(client) !== undefined);
  assert.equal(backend.calls.items.length, 3);
  assert.ok(!client.socket.connected);
});
