/** Clients on one node that try to keep or get a right while it ends on another node. */
import assert from "node:assert/strict";
import { sessionOf, type Subscriber } from "../support/client.ts";
import type { TestNode } from "../support/node.ts";
import {
  EFFECT_MS,
  KEY,
  revoke,
  TokenNodes,
  untilRevoked,
} from "../support/token_nodes.ts";
import { inSeconds, makeToken } from "../support/tokens.ts";
import { pauseFor, until } from "../support/wait.ts";

const USERS = 12;
const CAPS = [{ rooms: ["chat", "secret"], allow: ["sub"] }];

/** Makes a token of a user, with the user's name and the place in the order of the user's tokens as its id. */
function tokenOf(user: string, number = 0): Promise<string> {
  const jti = `${user}/${number}`;
  return makeToken({ sub: user, jti, iat: inSeconds(-10), caps: CAPS });
}

/** Sends requests and does not wait for their answers. */
function send(client: Subscriber, ...requests: [string, unknown][]): void {
  for (const [event, request] of requests) {
    client.socket.emit(event, request, () => {});
  }
}

/** Does something every 10 ms until the client is refused or closed, after which it does not reconnect. */
async function hammer(client: Subscriber, work: () => void): Promise<void> {
  while (client.socket.active) {
    if (client.socket.connected) work();
    await pauseFor(10);
  }
}

/** Publishes a message to both rooms, and checks that the witness receives it and none of the clients does. */
async function assertReceiveNothing(
  node: TestNode,
  witness: Subscriber,
  clients: readonly Subscriber[],
): Promise<void> {
  for (const room of ["chat", "secret"]) await node.publish("after", room, KEY);
  await witness.messages.where(() =>
    witness.messages.items.filter(({ message }) => message === "after")
      .length === 2
  );
  for (const { socket, messages } of clients) {
    assert.equal(socket.connected, false);
    assert.ok(messages.items.every(({ message }) => message !== "after"));
  }
}

Deno.test("clients that join, leave, reconnect and refresh on one node while another one revokes them get nothing afterwards", async () => {
  await using nodes = await TokenNodes.start();
  const [a, b] = [await nodes.node(), await nodes.node()];
  const witness = nodes.client(b, {
    token: await tokenOf("witness"),
    rooms: ["chat", "secret"],
  });
  const users = Array.from({ length: USERS }, (_, i) => `user-${i}`);
  const tokens = await Promise.all(users.map((user) => tokenOf(user)));
  const clients = tokens.map((token) => nodes.client(b, { token }));
  await Promise.all(
    [witness, ...clients].map(({ connects }) => connects.have(1)),
  );
  const works: readonly ((client: Subscriber, token: string) => void)[] = [
    // Leaves and joins in flight at the same time.
    (client) =>
      send(
        client,
        ["leave", { room: "secret" }],
        ["join", { room: "secret", last: 5 }],
      ),
    // A resumed session.
    (client) => client.socket.io.engine?.close(),
    // The same token again, which this node remembers as verified.
    (client, token) => send(client, ["refresh", { token }]),
    // A room token for a client that may be revoked already.
    (client, token) =>
      send(
        client,
        ["join", { room: "secret", token }],
        ["join", { room: "chat", token }],
      ),
  ];
  const hammering = clients.map((client, i) =>
    hammer(client, () => works[i % works.length]?.(client, tokens[i] ?? ""))
  );
  // Half of them by their user, and half by the id of their token.
  for (const [i, user] of users.entries()) {
    await pauseFor(10);
    await revoke(a, i % 8 < 4 ? { user } : { jti: `${user}/0` });
  }
  await Promise.all(clients.map(untilRevoked));
  await Promise.all(hammering);
  await assertReceiveNothing(a, witness, clients);
  assert.deepEqual(witness.disconnects.items, []);
  await until(
    "only the witness is connected",
    async () => await b.metric("roomcast_clients") === 1,
  );
});

Deno.test("a client cannot swap a revoked token for another one of its tokens that is revoked at the same time", async () => {
  await using nodes = await TokenNodes.start();
  const [a, b] = [await nodes.node(), await nodes.node()];
  const witness = nodes.client(b, {
    token: await tokenOf("witness"),
    rooms: ["chat", "secret"],
  });
  await witness.connects.have(1);
  const clients: Subscriber[] = [];
  for (let i = 0; i < USERS; i++) {
    const user = `user-${i}`;
    const auth = { token: await tokenOf(user), rooms: ["chat", "secret"] };
    const client = nodes.client(b, auth);
    await client.connects.have(1);
    clients.push(client);
    const next = await tokenOf(user, 1);
    // The client swaps the token of its connection and that with which it reconnects, while both are revoked.
    const swapped = client.ask("refresh", { token: next });
    auth.token = next;
    await Promise.all([
      revoke(a, { jti: `${user}/0` }),
      revoke(a, { jti: `${user}/1` }),
      swapped,
    ]);
  }
  await Promise.all(clients.map(untilRevoked));
  await assertReceiveNothing(a, witness, clients);
});

Deno.test("a refresh that races with the end of its token is never accepted after a refusal, and gives no longer life", async () => {
  await using nodes = await TokenNodes.start({
    EVENTS_PER_SECOND_MAX: "1000",
  });
  const node = await nodes.node();
  // The token counts until 5 s after its end, so for about 2 s more.
  const exp = inSeconds(-3);
  const token = await makeToken({ sub: "ann", exp, caps: CAPS });
  const client = nodes.client(node, { token, rooms: ["chat"] });
  await client.connects.have(1);
  const results: {
    ok: boolean;
    at: number;
    expiresAt?: number;
    error?: { code: string };
  }[] = [];
  const isRefused = (result?: typeof results[number]): boolean =>
    result?.error?.code === "unauthorized";
  const askSeveral = async (): Promise<void> => {
    const asked = Array.from(
      { length: 5 },
      () => client.ask("refresh", { token }),
    );
    for (const [answer] of await Promise.all(asked)) {
      results.push({ ...answer, at: Date.now() });
    }
  };
  await until("the token is refused", async () => {
    await askSeveral();
    return isRefused(results.at(-1));
  }, EFFECT_MS + 3000);
  await askSeveral();
  const first = results.findIndex(isRefused);
  const later = results.slice(first);
  assert.ok(later.every(({ ok }) => !ok), JSON.stringify(later));
  const accepted = results.filter(({ ok }) => ok);
  assert.ok(accepted.length > 0);
  for (const { expiresAt } of accepted) assert.equal(expiresAt, exp * 1000);
  const end = exp * 1000 + 5000;
  assert.ok(accepted.every(({ at }) => at < end + 1000));
  for (const room of ["secret", "chat"]) {
    for (const request of [{ room }, { room, token }]) {
      const [{ ok, error }] = await client.ask("join", request);
      assert.equal(ok, false);
      assert.equal(error.code, "unauthorized");
    }
  }
});

Deno.test("of two connections that take over one session on two nodes at once, one is left, and another user's gets nothing of it", async () => {
  await using nodes = await TokenNodes.start();
  const [a, b] = [await nodes.node(), await nodes.node()];
  const ann = await tokenOf("ann"), bob = await tokenOf("bob");
  const first = nodes.client(a, { token: ann, rooms: ["chat", "secret"] }, {
    reconnection: false,
  });
  await first.connects.have(1);
  await a.publish("first", "secret", KEY);
  await first.messages.have(1);
  const session = sessionOf(first);
  assert.notEqual(session._pid, "");
  first.socket.io.engine?.close();
  /** Connects with ann's session, and does not reconnect. */
  const takeOver = (node: TestNode, token: string): Subscriber => {
    const client = nodes.client(node, { token, rooms: ["chat"] }, {
      reconnection: false,
      autoConnect: false,
    });
    Object.assign(client.socket, session);
    client.socket.connect();
    return client;
  };
  for (let round = 0; round < 8; round++) {
    const thief = takeOver(round % 2 === 0 ? a : b, bob);
    const [one, two] = [takeOver(a, ann), takeOver(b, ann)];
    await thief.connects.have(1);
    assert.deepEqual(thief.connects.items, [false]);
    const isClosed = ({ socket }: Subscriber): boolean =>
      socket.io.engine?.readyState === "closed";
    await until(
      "one of both is left",
      () =>
        [one, two].filter(isClosed).length === 1 &&
        [one, two].filter(({ socket }) => socket.connected).length === 1,
    );
    await b.publish(round, "secret", KEY);
    const left = isClosed(one) ? two : one;
    await left.receives(round);
    const got = [one, two].flatMap(({ messages }) => messages.items)
      .filter(({ message }) => message === round);
    assert.equal(got.length, 1);
    assert.ok(thief.messages.items.every(({ room }) => room === "chat"));
    assert.notEqual(sessionOf(thief)._pid, session._pid);
    thief.socket.disconnect();
    for (const { socket } of [one, two]) socket.io.engine?.close();
  }
});
