/** Clients that try to lose the id by which a backend knows them, or to get the id of another client. */
import assert from "node:assert/strict";
import { sessionOf, type Subscriber } from "../support/client.ts";
import { HeldHooks } from "../support/held_hooks.ts";
import type { HookCall } from "../support/hook_backend.ts";
import type { TestNode } from "../support/node.ts";
import { KEY, TokenNodes } from "../support/token_nodes.ts";
import { makeToken } from "../support/tokens.ts";
import { until } from "../support/wait.ts";

/** Two nodes with a connect hook and a join hook, which lets everyone into every room. */
class HookNodes implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;

  private constructor(
    stack: AsyncDisposableStack,
    readonly hooks: HeldHooks,
    readonly nodes: TokenNodes,
    readonly a: TestNode,
    readonly b: TestNode,
  ) {
    this.#stack = stack;
  }

  /** Starts hooks, Redis and nodes. The connect hook lets in the user in the header `x-user`, and guests without it. */
  static async start(): Promise<HookNodes> {
    await using stack = new AsyncDisposableStack();
    const hooks = stack.use(await HeldHooks.start(({ path }) => path));
    hooks.others = ({ path, headers }: HookCall) =>
      path === "/connect"
        ? { user: headers["x-user"] ?? null }
        : { allow: ["sub"] };
    const nodes = stack.use(
      await TokenNodes.start({
        CONNECT_HOOK_URL: hooks.backend.url("/connect"),
        JOIN_HOOK_URL: hooks.backend.url("/join"),
        HOOK_HEADERS: "x-user",
        HOOK_TIMEOUT_MS: "10000",
      }),
    );
    const [a, b] = [await nodes.node(), await nodes.node()];
    return new HookNodes(stack.move(), hooks, nodes, a, b);
  }

  /** The bodies of all calls of the connect hook. */
  get asked(): HookCall["body"][] {
    return this.hooks.backend.calls.items
      .filter(({ path }) => path === "/connect").map(({ body }) => body);
  }

  /** Sends a request with the publish key to the second node. */
  async post(path: string, body: unknown): Promise<void> {
    const { status, text } = await this.b.post(path, body, KEY);
    assert.equal(status, 200, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Breaks the connection of a client off, and waits until it is connected again. */
async function reconnect({ socket, connects }: Subscriber): Promise<void> {
  const count = connects.items.length;
  socket.io.engine.close();
  await connects.have(count + 1);
}

Deno.test("a client that resumes its session with a wrong offset does not lose the id by which a backend takes it out of rooms and disconnects it", async () => {
  await using setup = await HookNodes.start();
  const { nodes, a, b } = setup;
  const auth: Record<string, unknown> = { rooms: ["deal", "lobby"] };
  const guest = nodes.client(a, auth);
  const left: { room: string; reason: string }[] = [];
  guest.socket.on("left", (event) => left.push(event));
  await guest.connects.have(1);
  const { client } = setup.asked[0];
  assert.equal(guest.socket.id, client);
  // The stock client would send the offset of the last event.
  auth.offset = "wrong";
  for (let i = 0; i < 2; i++) await reconnect(guest);
  assert.deepEqual(guest.connects.items, [false, false, false]);
  assert.equal(setup.asked.length, 1, "the verdict of the hook is kept");

  await setup.post("/rooms/deal/leave", { client });
  await until("it is out", () => left.length > 0);
  assert.deepEqual(left, [{ room: "deal", reason: "removed" }]);
  await b.publish("secret", "deal", KEY);
  await b.publish("end", "lobby", KEY);
  await guest.messages.have(1);
  assert.deepEqual(guest.messages.items.map(({ room }) => room), ["lobby"]);
  await reconnect(guest);
  await setup.post("/disconnect", { client });
  await until("it is disconnected", () => !guest.socket.active);
  assert.equal(guest.disconnects.items.at(-1), "io server disconnect");
  assert.ok(guest.messages.items.every(({ room }) => room === "lobby"));
});

Deno.test("the connect hook is told the id that the client gets, also if the client shows the session of another user", async () => {
  await using setup = await HookNodes.start();
  const { nodes, a } = setup;
  const caps = [{ rooms: ["chat"], allow: ["sub"] }];
  const ann = nodes.client(a, { token: await makeToken({ sub: "ann", caps }) });
  await ann.connects.have(1);
  const bob = nodes.client(a, {}, {
    autoConnect: false,
    extraHeaders: { "x-user": "bob" },
    transports: ["polling"],
  });
  Object.assign(bob.socket, sessionOf(ann));
  bob.socket.connect();
  await bob.connects.have(1);
  assert.deepEqual(bob.connects.items, [false]);
  assert.equal(setup.asked.at(-1).client, bob.socket.id);
  await setup.post("/disconnect", { client: setup.asked.at(-1).client });
  await bob.disconnects.have(1);
  assert.ok(ann.socket.connected);
});

for (const transport of ["websocket", "polling"]) {
  Deno.test(`a client over ${transport} that a backend disconnects while a hook is asked gets no later message`, async () => {
    await using setup = await HookNodes.start();
    const { nodes, hooks, a, b } = setup;
    const held = hooks.next("/connect");
    const rooms = [{ room: "deal", last: 10 }];
    const client = nodes.client(a, { rooms }, {
      extraHeaders: { "x-user": "ann" },
      transports: [transport],
    });
    const { release } = await held;
    for (const node of [a, b]) {
      const { status } = await node.post("/disconnect", { user: "ann" }, KEY);
      assert.equal(status, 200);
    }
    await a.publish("secret", "deal", KEY);
    release({ user: "ann" });
    await until("it is disconnected", () => !client.socket.active);
    assert.deepEqual(client.disconnects.items, ["io server disconnect"]);
    assert.deepEqual(client.messages.items, []);
    assert.deepEqual(client.joined.items, []);
    // It is no ban, and the session is over.
    client.socket.connect();
    await client.messages.have(1);
    assert.deepEqual(client.connects.items, [false, false]);
  });
}

Deno.test("a connection whose client has sent DISCONNECT lets in no other client", async () => {
  await using setup = await HookNodes.start();
  const { nodes, a } = setup;
  for (const auth of ['{"rooms":["deal"]}', '{"room":"deal"}']) {
    const client = nodes.client(a, { rooms: ["lobby"] }, {
      reconnection: false,
    });
    await client.connects.have(1);
    client.socket.io.engine.write("1");
    const hasLeft = async () => await a.metric("roomcast_clients") === 0;
    await until("it has left", hasLeft);
    client.socket.io.engine.write(`0${auth}`);
    await client.disconnects.have(1);
    assert.deepEqual(client.disconnects.items, ["transport close"]);
  }
  assert.ok(a.log.items.every(({ kind }) => kind !== "error"));
});
