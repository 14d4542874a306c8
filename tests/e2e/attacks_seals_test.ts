/** What seals let clients and programs that reach Redis do, and what not. docs/security.md lists the attacks. */
import assert from "node:assert/strict";
import { hashSessionSecret } from "../../lib/sessions/session.ts";
import { type Resumable, sessionOf, Subscriber } from "../support/client.ts";
import { TestNode } from "../support/node.ts";
import { checkOut, hasCommit } from "../support/previous_version.ts";
import { Redis } from "../support/redis.ts";
import {
  forgeToken,
  inSeconds,
  KeyServer,
  makeSigningKey,
  type SigningKey,
} from "../support/tokens.ts";

const WEB = "0123456789abcdef0123456789abcdef";
const KEY = { authorization: `Bearer ${WEB}` };
const CAPS = [{ rooms: ["chat"], allow: ["sub"] }];
const keyOf = (pid: string): string =>
  `roomcast:{roomcast}:session:${hashSessionSecret(pid)}`;

/** Cuts the connection of a client, which does not reconnect then. */
function cut({ socket: { io } }: Subscriber): void {
  io.reconnection(false);
  io.engine.close();
}

/** An issuer with two keys, a Redis, and nodes with a publish key; `await using` stops all. */
class Setup implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly redis: Redis,
    readonly server: KeyServer,
    readonly key: SigningKey,
    readonly other: SigningKey,
  ) {
    this.#stack.use(redis);
    this.#stack.use(server);
  }

  static async start(): Promise<Setup> {
    const [key, other] = [
      await makeSigningKey("key"),
      await makeSigningKey("other"),
    ];
    const server = await KeyServer.start([key.jwk, other.jwk]);
    return new Setup(await Redis.start(), server, key, other);
  }

  /** Starts a node, with the options of {@linkcode TestNode.start}. */
  async node(
    settings: Readonly<Record<string, string>> = {},
    options: Parameters<typeof TestNode.start>[1] = {},
  ): Promise<TestNode> {
    const env = {
      REDIS_URL: this.redis.url,
      CHANNELS: "-",
      PUBLISH_KEYS: `web:${WEB},old:correct-horse`,
      TOKEN_JWKS_URL: this.server.url,
      ...settings,
    };
    return this.#stack.use(await TestNode.start(env, options));
  }

  /** Starts to connect a stock client that resumes this session. Resolves once it is connected or refused. */
  async enter(
    node: TestNode,
    token: string,
    session: Partial<Resumable> = {},
  ): Promise<Subscriber> {
    const client = this.#stack.use(
      new Subscriber(node.url, {
        auth: { token, rooms: ["chat"] },
        transports: ["websocket"],
        autoConnect: false,
      }),
    );
    Object.assign(client.socket, session);
    client.socket.connect();
    await client.settled();
    return client;
  }

  /** Connects a client and cuts its connection. Resolves to its session. */
  async leave(node: TestNode, token: string): Promise<Resumable> {
    const client = await this.enter(node, token);
    const id = await node.publish("before", "chat", KEY);
    await client.messages.where(() => client.ids.includes(id));
    cut(client);
    return sessionOf(client);
  }

  /** Resolves to the session that Redis has. */
  async stored({ _pid }: Resumable): Promise<Record<string, unknown>> {
    return JSON.parse(String(await this.redis.command("GET", keyOf(_pid))));
  }

  /** Resolves to how many tokens a node has accepted, by how it verified them. */
  async accepted(node: TestNode): Promise<Record<string, number>> {
    const { text } = await node.get("/metrics");
    const lines = text.matchAll(
      /^roomcast_tokens_verified_total\{how="(\w+)"\} (\d+)$/gm,
    );
    return Object.fromEntries(
      [...lines].map(([, how, count]) => [how, Number(count)]),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

Deno.test("a client whose node was killed recovers at another one, which does not verify its token again", async () => {
  await using setup = await Setup.start();
  const [first, second] = [await setup.node(), await setup.node()];
  const token = await setup.key.sign({ sub: "ann", caps: CAPS });
  const session = await setup.leave(first, token);
  first.signal("SIGKILL");
  const missed = await second.publish("missed", "chat", KEY);
  const ann = await setup.enter(second, token, session);
  assert.deepEqual(ann.connects.items, [true]);
  await ann.messages.where(() => ann.ids.includes(missed));
  assert.deepEqual(await setup.accepted(second), { sealed: 1 });
  // A node with other publish keys verifies it, and makes a seal of its own.
  const rotated = await setup.node({ PUBLISH_KEYS: `web:${WEB}` });
  cut(ann);
  const { seal } = await setup.stored(session);
  const again = await setup.enter(rotated, token, sessionOf(ann));
  assert.deepEqual(again.connects.items, [true]);
  assert.deepEqual(await setup.accepted(rotated), { signature: 1 });
  assert.match(String(seal), /^[\w-]{22}$/);
  assert.notEqual((await setup.stored(session)).seal, seal);
});

Deno.test("a program that writes seals into Redis lets nobody in whose token the issuer has not signed", async () => {
  await using setup = await Setup.start();
  const { key, other, redis } = setup;
  const [node, foreign] = [
    await setup.node(),
    await setup.node({ PUBLISH_KEYS: `web:${WEB}` }),
  ];
  const sign = (sub: string, { sign } = key) => sign({ sub, caps: CAPS });
  const token = await sign("ann");
  const session = await setup.leave(node, token);
  const stored = await setup.stored(session);
  const sealOf = async (node: TestNode, token: string) =>
    (await setup.stored(await setup.leave(node, token))).seal;
  const seals = [
    stored.seal,
    await sealOf(node, await sign("ann", other)),
    await sealOf(node, await sign("root")),
    await sealOf(foreign, token),
    ...[undefined, "", "A".repeat(22), null, true, 1, [], {}],
    ...[[stored.seal], { seal: stored.seal }, "x".repeat(1e5)],
  ];
  assert.equal(seals.filter((seal) => typeof seal === "string").length, 7);
  const header = { alg: "ES256", kid: "key" };
  const claims = { sub: "root", exp: inSeconds(3600), caps: CAPS };
  const [start, , signature] = token.split(".");
  const [, root] = (await sign("root")).split(".");
  const forged = [
    forgeToken(header, claims, "A".repeat(86)),
    forgeToken({ ...header, kid: "other" }, claims, "A".repeat(86)),
    forgeToken({ alg: "none" }, claims, ""),
    `${start}.${root}.${signature}`,
  ];
  const attempts = seals.flatMap((seal) =>
    ["ann", "root"].flatMap((user) =>
      forged.map((token) => ({ session: { ...stored, user, seal }, token }))
    )
  );
  await Promise.all(attempts.map(async ({ session: written, token }, i) => {
    const _pid = `written-${i}`.padEnd(24, "x");
    const text = JSON.stringify(written);
    await redis.command("SET", keyOf(_pid), text, "EX", "60");
    const client = await setup.enter(node, token, { ...session, _pid });
    assert.deepEqual(client.connects.items, [], `${written.seal}`);
    assert.equal(client.errors.items[0]?.data?.code, "unauthorized");
  }));
  // A valid token with such a session is verified.
  const refused = await setup.accepted(node);
  await redis.command(
    "SET",
    keyOf("written"),
    JSON.stringify({
      ...stored,
      seal: seals[3],
    }),
  );
  const ann = await setup.enter(node, await sign("ann"), {
    ...session,
    _pid: "written",
  });
  assert.deepEqual(ann.connects.items, [true]);
  const accepted = await setup.accepted(node);
  assert.deepEqual(accepted, { signature: (refused.signature ?? 0) + 1 });
});

Deno.test("a seal lets nobody in whose key the issuer has removed, or whose token was revoked, and nobody into another user's session", async () => {
  await using setup = await Setup.start();
  const { key, other, server } = setup;
  const [first, second] = [await setup.node(), await setup.node()];
  const claims = { caps: CAPS, iat: inSeconds(-10) };
  const ann = await key.sign({ ...claims, sub: "ann" });
  const bob = await key.sign({ ...claims, sub: "bob" });
  const session = await setup.leave(first, ann);
  // The session and the seal of another user.
  const thief = await setup.enter(second, bob, session);
  assert.deepEqual(thief.connects.items, [false]);
  assert.notEqual(sessionOf(thief)._pid, session._pid);
  assert.deepEqual(await setup.accepted(second), { signature: 1 });
  // A revoked token.
  const banned = await key.sign({ ...claims, sub: "eve", jti: "stolen" });
  const ofBanned = await setup.leave(first, banned);
  const { status } = await first.post("/revoke", { jti: "stolen" }, KEY);
  assert.equal(status, 200);
  const started = await setup.node();
  const refused = await setup.enter(started, banned, ofBanned);
  assert.match(`${refused.errors.items[0]}`, /it has been revoked/);
  assert.deepEqual(refused.connects.items, []);
  // A key that the issuer has removed, or replaced under the same name.
  for (const keys of [[other.jwk], [{ ...other.jwk, kid: "key" }]]) {
    server.keys = keys;
    const later = await setup.node();
    const client = await setup.enter(later, ann, session);
    assert.deepEqual(client.connects.items, []);
    assert.deepEqual(await setup.accepted(later), {});
  }
});

/** A commit in which sessions have no seals. */
const BEFORE_SEALS = "9a1c01310e8e5d6afe93e8e71e112bc869c15036";
const isThere = await hasCommit(BEFORE_SEALS);

Deno.test({
  name:
    "a client whose session has a seal moves to a node that knows no seals, and back",
  ignore: !isThere,
  async fn() {
    await using checkout = await checkOut(BEFORE_SEALS);
    await using setup = await Setup.start();
    const now = await setup.node();
    const before = await setup.node({}, { checkout: checkout.url });
    const token = await setup.key.sign({ sub: "ann", caps: CAPS });
    let session = await setup.leave(now, token);
    assert.ok("seal" in await setup.stored(session));
    for (const node of [before, now]) {
      const missed = await now.publish("missed", "chat", KEY);
      const client = await setup.enter(node, token, session);
      assert.deepEqual(client.connects.items, [true]);
      await client.messages.where(() => client.ids.includes(missed));
      cut(client);
      session = sessionOf(client);
      assert.equal("seal" in await setup.stored(session), node === now);
    }
  },
});
