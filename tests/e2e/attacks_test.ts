/** Attempts to get what is not allowed, or to wear a node down, on running nodes. docs/security.md lists them. */
import assert from "node:assert/strict";
import { sessionOf } from "../support/client.ts";
import { HookBackend, result } from "../support/hook_backend.ts";
import { TestNode } from "../support/node.ts";
import {
  EFFECT_MS,
  KEY,
  revoke,
  TokenNodes,
  untilRevoked,
} from "../support/token_nodes.ts";
import {
  inSeconds,
  KeyServer,
  makeSigningKey,
  makeToken,
} from "../support/tokens.ts";
import { soon, until } from "../support/wait.ts";

const SUB_CHAT = [{ rooms: ["chat"], allow: ["sub"] }];

Deno.test("a client cannot change the address for which it counts, whatever headers it sends", async () => {
  const LIMIT = { CLIENTS_PER_ADDRESS_MAX: "2" };
  await using direct = await TestNode.start(LIMIT);
  await using proxied = await TestNode.start({
    ...LIMIT,
    TRUSTED_PROXIES: "127.0.0.1,10.0.0.0/8",
  });
  /** Opens one connection with each of these headers. Returns how many were let in. */
  const open = async (
    node: TestNode,
    all: readonly Readonly<Record<string, string>>[],
  ): Promise<number> => {
    let count = 0;
    for (const headers of all) {
      const { status } = await node.request(
        "/socket.io/?EIO=4&transport=polling",
        { headers },
      );
      assert.ok(status === 200 || status === 429, String(status));
      if (status === 200) count++;
    }
    return count;
  };
  const names = ["x-forwarded-for", "x-real-ip", "forwarded", "x-client-ip"];
  const spoofed = names.flatMap((name) =>
    ["192.0.2.1", "192.0.2.2", "::1", "127.0.0.1"].map((address) => ({
      [name]: name === "forwarded" ? `for=${address}` : address,
    }))
  );
  assert.equal(await open(direct, spoofed), 2);

  const behind = (...entries: string[]) =>
    entries.map((entry) => ({ "x-forwarded-for": entry }));
  const groups: readonly (readonly string[])[] = [
    // What the client has sent itself comes before the address that the proxy has appended.
    [
      "192.0.2.1, 203.0.113.1",
      "127.0.0.1, 203.0.113.1",
      "10.0.0.1,203.0.113.1",
      "garbage, 203.0.113.1",
      "192.0.2.9, 203.0.113.1, 10.1.2.3",
      ", , 203.0.113.1:4711",
      "::ffff:203.0.113.1",
      "[::ffff:cb00:7101]:80",
    ],
    // One user has all addresses with the same 64 bits.
    [
      "2001:db8:1:2::1",
      "2001:db8:1:2::2",
      "2001:DB8:1:2:ffff:ffff:ffff:ffff",
      "[2001:db8:1:2:a::]:443",
      "192.0.2.1, 2001:0db8:0001:0002:0:0:0:9",
    ],
  ];
  for (const group of groups) {
    assert.equal(await open(proxied, behind(...group)), 2, `${group[0]}`);
  }
  assert.equal(await open(proxied, behind("203.0.113.2")), 1);
  assert.equal(await open(proxied, behind("2001:db8:1:3::1")), 1);
});

Deno.test("a revoked token is refused everywhere, even by a node that remembers that it has verified it", async () => {
  await using nodes = await TokenNodes.start();
  const [a, b] = [await nodes.node(), await nodes.node()];
  const caps = [{ rooms: ["chat", "deal"], allow: ["sub", "history"] }];
  const claims = { sub: "ann", iat: inSeconds(-10), caps };
  const stolen = await makeToken({ ...claims, jti: "stolen" });
  const roomToken = await makeToken({
    jti: "room",
    iat: inSeconds(-10),
    caps: [{ rooms: ["deal"], allow: ["sub"] }],
  });
  const own = await makeToken({ ...claims, jti: "own", caps: SUB_CHAT });
  const history = async (token: string, room = "chat"): Promise<number> => {
    const headers = { authorization: `Bearer ${token}` };
    return (await b.request(`/rooms/${room}/history`, { headers })).status;
  };
  const thief = nodes.client(b, { token: stolen });
  const ann = nodes.client(b, { token: own });
  await Promise.all([thief.connects.have(1), ann.connects.have(1)]);
  assert.equal(await history(stolen), 200);
  const events = (token: string) =>
    fetch(new URL("/rooms/chat/events", b.url), {
      headers: { authorization: `Bearer ${token}` },
    });
  const stream = await events(stolen);
  assert.equal(stream.status, 200);
  assert.equal(
    (await ann.ask("join", { room: "deal", token: roomToken }))[0].ok,
    true,
  );
  // A room token is good for its room alone, and for what it says.
  assert.equal(await history(roomToken, "deal"), 403);
  assert.equal(await history(roomToken, "chat"), 403);
  assert.equal(
    (await ann.ask("join", { room: "other", token: roomToken }))[0].error.code,
    "forbidden",
  );
  const remembered = await b.get("/metrics");
  assert.match(
    remembered.text,
    /roomcast_tokens_verified_total\{how="remembered"\} [1-9]/,
  );
  await revoke(a, { jti: "stolen" });
  await revoke(a, { jti: "room" });
  await untilRevoked(thief);
  await until("the room is left", async () => {
    const [{ ok }] = await ann.ask("join", { room: "deal" });
    return !ok;
  });
  assert.equal(await history(stolen), 401);
  // The server ends the open stream, and refuses to open another one with the same token.
  await soon(stream.text(), "the stream ends", EFFECT_MS);
  const refused = await events(stolen);
  assert.equal(refused.status, 401);
  await refused.body?.cancel();
  await untilRevoked(nodes.client(b, { token: stolen }));
  for (
    const [event, request] of [
      ["refresh", { token: stolen }],
      ["join", { room: "chat", token: stolen }],
      ["join", { room: "deal", token: roomToken }],
    ] as const
  ) {
    const [{ ok, error }] = await ann.ask(event, request);
    assert.equal(ok, false);
    assert.match(error.message, /it has been revoked/);
  }
  assert.ok(ann.socket.connected);
});

Deno.test("a removed key of the issuer lets nobody in who was let in with it before", async () => {
  const [old, next] = await Promise.all(
    ["old", "next"].map((kid) => makeSigningKey(kid)),
  );
  assert.ok(old !== undefined && next !== undefined);
  await using server = await KeyServer.start([old.jwk]);
  await using nodes = await TokenNodes.start({
    TOKEN_JWKS_URL: server.url,
    TOKEN_AUDIENCE: "roomcast",
  });
  const node = await nodes.node();
  const claims = { sub: "ann", aud: "roomcast", caps: SUB_CHAT };
  const token = await old.sign(claims);
  const ann = nodes.client(node, { token });
  await ann.connects.have(1);
  server.keys = [next.jwk];
  // A token with the new key makes the node fetch the keys.
  const bob = nodes.client(node, { token: await next.sign(claims) });
  await bob.connects.have(1);
  let attempts = 0;
  ann.socket.io.on("reconnect_attempt", () => attempts++);
  ann.socket.io.engine?.close();
  // The third attempt begins when the second one has failed. The client stops after an error from the server.
  await until(
    "ann is refused or let in",
    () =>
      attempts > 2 || ann.errors.items.length > 0 ||
      ann.connects.items.length > 1,
  );
  const headers = { authorization: `Bearer ${token}` };
  const { status } = await node.request("/rooms/chat/history", { headers });
  assert.ok(status === 401 || status === 503, String(status));
  assert.equal(ann.connects.items.length, 1);
  assert.ok(!ann.socket.connected);
});

Deno.test("what hooks have allowed one client does not count for another one that shows its session", async () => {
  await using backend = await HookBackend.start((call, response) => {
    const { path, body, headers } = call;
    const user = headers.cookie ?? body.user;
    return result(
      path === "/connect"
        ? { user, caps: SUB_CHAT }
        : { allow: user === "ann" ? ["sub"] : [] },
    )(call, response);
  });
  await using nodes = await TokenNodes.start({
    CONNECT_HOOK_URL: backend.url("/connect"),
    JOIN_HOOK_URL: backend.url("/join"),
    HOOK_SECRET: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  });
  const node = await nodes.node();
  const hooked = nodes.client(node, { rooms: ["chat"] }, {
    extraHeaders: { cookie: "ann" },
    transports: ["polling"],
  });
  const tokenOf = (sub: string) => makeToken({ sub, caps: SUB_CHAT });
  const owner = nodes.client(node, {
    token: await tokenOf("ann"),
    rooms: ["chat"],
  });
  await Promise.all([hooked.connects.have(1), owner.connects.have(1)]);
  for (const client of [hooked, owner]) {
    const [{ ok }] = await client.ask("join", { room: "deal" });
    assert.equal(ok, true);
  }
  const bob = await tokenOf("bob");
  for (const victim of [hooked, owner]) {
    const thief = nodes.client(node, { token: bob, rooms: ["chat"] }, {
      autoConnect: false,
    });
    Object.assign(thief.socket, sessionOf(victim));
    thief.socket.connect();
    await thief.connects.have(1);
    assert.deepEqual(thief.connects.items, [false]);
    const [{ ok, error }] = await thief.ask("join", { room: "deal" });
    assert.equal(ok, false);
    assert.equal(error.code, "forbidden");
    assert.ok(thief.joined.items.every(({ room }) => room === "chat"));
    assert.ok(victim.socket.connected);
    thief.socket.disconnect();
  }
});

Deno.test("a node with as many revocations as it may have refuses another one, and forgets none", async () => {
  await using nodes = await TokenNodes.start();
  const { redis } = nodes;
  await redis.command(
    "EVAL",
    "for i = 1, 100000 do redis.call('ZADD', KEYS[1], ARGV[1], 'user:user-' .. i) end return 1",
    "1",
    "roomcast:{roomcast}:revocations",
    String(Date.now()),
  );
  const node = await nodes.node();
  const { status, body } = await node.post("/revoke", { user: "ann" }, KEY);
  assert.equal(status, 409);
  assert.equal(body.error.code, "too_many_revocations");
  // One that is in the list can still be renewed.
  await revoke(node, { user: "user-1" });
  for (const user of ["user-1", "user-50000", "user-100000"]) {
    const iat = inSeconds(-10);
    await untilRevoked(
      nodes.client(node, {
        token: await makeToken({ sub: user, iat, caps: SUB_CHAT }),
      }),
    );
  }
});

Deno.test("a clock that is set forward ends tokens, one that is set back makes none valid for longer, and the node stays up", async () => {
  const script = new URL("../support/clock_node.ts", import.meta.url).pathname;
  await using nodes = await TokenNodes.start();
  const [stepped, steady] = [await nodes.node({ script }), await nodes.node()];
  const claims = { sub: "ann", iat: inSeconds(-1), caps: SUB_CHAT };
  const token = await makeToken(claims);
  const ann = nodes.client(stepped, { token });
  const bob = nodes.client(steady, { token });
  await Promise.all([ann.connects.have(1), bob.connects.have(1)]);

  await setClock(stepped, "SIGUSR1");
  await ann.disconnects.have(1);
  await until("it is refused", () => ann.errors.items.length > 0);
  assert.match(`${ann.errors.items[0]?.message}`, /it has expired/);
  await stepped.publish("ahead", "chat", KEY);
  await bob.messages.have(1);

  for (let i = 0; i < 2; i++) {
    await setClock(stepped, "SIGUSR2");
    await stepped.publish("back", "chat", KEY);
  }
  // Six hours behind, the token seems to have been issued in the future.
  const early = nodes.client(stepped, { token });
  await until("it is refused", () => early.errors.items.length > 0);
  assert.match(`${early.errors.items[0]?.message}`, /issued in the future/);
  await setClock(stepped, "SIGUSR1");
  const late = nodes.client(stepped, { token });
  await late.connects.have(1);
  await steady.publish("end", "chat", KEY);
  await late.messages.have(1);
  await bob.messages.have(4);
  assert.deepEqual(
    bob.messages.items.map(({ message }) => message),
    ["ahead", "back", "back", "end"],
  );
  assert.deepEqual(bob.gaps.items, []);
  assert.deepEqual(bob.disconnects.items, []);
  assert.equal((await stepped.get("/readyz")).status, 200);
});

/** Sets the clock of a `clock_node.ts`, and waits until the node has done it. */
async function setClock(
  node: TestNode,
  signal: "SIGUSR1" | "SIGUSR2",
): Promise<void> {
  const steps = () =>
    node.log.items.filter(({ kind }) => kind === "clock_set").length;
  const before = steps();
  node.signal(signal);
  await until("the clock is set", () => steps() > before);
}
