/** Revokes users and tokens, and lets tokens expire, with clients on several nodes of the same Redis. */
import assert from "node:assert/strict";
import type { TestNode } from "../support/node.ts";
import {
  EFFECT_MS,
  KEY,
  revoke,
  TokenNodes,
  untilRevoked,
} from "../support/token_nodes.ts";
import { inSeconds, makeToken } from "../support/tokens.ts";
import { until } from "../support/wait.ts";

function token(sub: string, jti: string): Promise<string> {
  const allow = ["sub", "history"];
  const caps = [{ rooms: ["*"], allow }];
  return makeToken({ sub, jti, iat: inSeconds(-10), caps });
}

/** Checks that a token is accepted neither at connect nor for the history over HTTP. */
async function assertRefused(
  setup: TokenNodes,
  node: TestNode,
  token: string,
): Promise<void> {
  const headers = { authorization: `Bearer ${token}` };
  const { status } = await node.request("/rooms/chat/history", { headers });
  assert.equal(status, 401);
  await untilRevoked(setup.client(node, { token }));
}

Deno.test("a revocation reaches the clients of another node, holds on all nodes, and after all were restarted", async () => {
  await using setup = await TokenNodes.start();
  const [a, b] = await Promise.all([setup.node(), setup.node()]);
  const tokens = {
    ann: await token("ann", "a1"),
    bob: await token("bob", "b1"),
    bob2: await token("bob", "b2"),
  };
  const ann = await setup.connect(b, tokens.ann);
  const bob = await setup.connect(b, tokens.bob);
  const bob2 = await setup.connect(b, tokens.bob2);
  await revoke(a, { user: "ann" });
  const first = await untilRevoked(ann);
  await revoke(a, { jti: "b1" });
  const second = await untilRevoked(bob);
  // The command between the nodes arrives at once.
  assert.ok(Math.max(first, second) < 2000, `${first} ms, ${second} ms`);
  await a.publish("news", "chat", KEY);
  await bob2.messages.have(1);
  assert.deepEqual(bob2.disconnects.items, []);
  assert.deepEqual([...ann.messages.items, ...bob.messages.items], []);
  for (const node of [a, b]) {
    await assertRefused(setup, node, tokens.ann);
    await assertRefused(setup, node, tokens.bob);
  }
  assert.equal(await b.metric("roomcast_clients_revoked_total"), 2);
  await Promise.all([a, b].map(async (node) => {
    node.signal("SIGINT");
    await node.exited();
  }));
  const restarted = await setup.node({ ready: false });
  await assertRefused(setup, restarted, tokens.ann);
  await assertRefused(setup, restarted, tokens.bob);
  await setup.connect(restarted, tokens.bob2);
});

Deno.test("a revocation takes effect although the command is lost, is refused while Redis is paused, and survives that Redis goes back", async () => {
  await using setup = await TokenNodes.start();
  const { redis } = setup;
  const [a, b] = await Promise.all([setup.node(), setup.node()]);
  await redis.snapshot();
  const tokens = {
    ann: await token("ann", "a1"),
    bob: await token("bob", "b1"),
  };
  const [ann, bob] = [
    await setup.connect(b, tokens.ann),
    await setup.connect(b, tokens.bob),
  ];
  await redis.command("ACL", "SETUSER", "default", "-publish");
  await revoke(a, { user: "ann" });
  await untilRevoked(ann);
  await redis.command("ACL", "SETUSER", "default", "+@all");

  redis.signal("SIGSTOP");
  const { status, headers } = await a.post("/revoke", { jti: "b1" }, KEY);
  assert.equal(status, 503);
  assert.ok(headers.get("retry-after"));
  redis.signal("SIGCONT");
  await until(
    "it can be revoked",
    async () => (await a.post("/revoke", { jti: "b1" }, KEY)).status === 200,
  );
  await untilRevoked(bob);

  await redis.restore();
  const restored = (node: TestNode): boolean =>
    node.log.items.some(({ kind }) => kind === "revocations_restored");
  await until("a node has stored it again", () => restored(a) || restored(b));
  const next = await setup.node({ ready: false });
  await assertRefused(setup, next, tokens.ann);
  await assertRefused(setup, next, tokens.bob);
});

Deno.test("a client whose token has expired is disconnected 25 s later and recovers on another node, and one that has refreshed its token stays", async () => {
  await using setup = await TokenNodes.start();
  const [a, b] = await Promise.all([setup.node(), setup.node()]);
  const caps = [{ rooms: ["*"], allow: ["sub"] }];
  const exp = inSeconds(-3);
  const expiredAt = exp * 1000;
  const expiring = (sub: string): Promise<string> =>
    makeToken({ sub, exp, caps });
  const auth = { token: await expiring("ann") };
  const ann = setup.client(b, auth);
  const bob = setup.client(b, { token: await expiring("bob") });
  const warned: string[] = [];
  for (const [name, { socket }] of Object.entries({ ann, bob })) {
    socket.on("token_expiring", () => warned.push(name));
  }
  await Promise.all([ann.connects.have(1), bob.connects.have(1)]);
  await until("both are told", () => warned.length === 2, EFFECT_MS);
  const next = await makeToken({ sub: "bob", caps });
  const [{ ok }] = await bob.ask("refresh", { token: next });
  assert.equal(ok, true);
  await a.publish(1, "chat", KEY);
  await Promise.all([ann.messages.have(1), bob.messages.have(1)]);
  auth.token = await makeToken({ sub: "ann", caps });
  Object.assign(ann.socket.io, { uri: a.url });
  await ann.disconnects.have(1, 30_000);
  const afterMs = Date.now() - expiredAt;
  assert.ok(
    afterMs >= 25_000 && afterMs < 25_000 + EFFECT_MS,
    `${afterMs} ms after the token expired`,
  );
  await ann.connects.have(2);
  assert.deepEqual(ann.connects.items, [false, true]);
  await b.publish(2, "chat", KEY);
  await Promise.all([ann.messages.have(2), bob.messages.have(2)]);
  for (const { messages } of [ann, bob]) {
    assert.deepEqual(messages.items.map(({ message }) => message), [1, 2]);
  }
  assert.deepEqual(bob.disconnects.items, []);
});
