/**
 * Clients without Socket.IO's connection state recovery: socket.io-client 4.5 and older, and some for other languages.
 */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { until } from "../support/wait.ts";

/** Connects a client that behaves like socket.io-client 4.5: it sends neither `pid` nor `offset` at a reconnect. */
async function connectOld(
  url: string,
  auth: () => Record<string, unknown>,
): Promise<Subscriber> {
  const client = await Subscriber.connect(url, {
    transports: ["websocket"],
    reconnectionDelay: 50,
    auth: (answer: (data: Record<string, unknown>) => void) => answer(auth()),
  });
  const forget = (): void =>
    void Object.assign(client.socket, { _pid: undefined });
  forget();
  client.socket.on("connect", forget);
  return client;
}

/**
 * Disconnects the client, publishes while it is disconnected and after it has reconnected. Returns the received
 * messages.
 */
async function missOne(
  node: TestNode,
  proxy: Proxy,
  client: Subscriber,
): Promise<unknown[]> {
  await node.publish("before");
  await client.messages.have(1);
  proxy.targets = [];
  proxy.cut();
  await client.disconnects.have(1);
  await node.publish("while it is away");
  proxy.targets = [node.port];
  await client.joined.have(2);
  const last = await node.publish("after");
  await until("the last message comes", () => client.ids.includes(last));
  assert.deepEqual(client.connects.items, [false, false]);
  assert.deepEqual(client.gaps.items, []);
  return client.messages.items.map(({ message }) => message);
}

Deno.test("a client of a version without recovery that has missed messages gets recovered: false in the event joined", async () => {
  await using node = await TestNode.start();
  await using proxy = await Proxy.start(node.port);
  await using client = await connectOld(proxy.url, () => ({}));
  const received = await missOne(node, proxy, client);
  assert.deepEqual(received, ["before", "after"]);
  assert.deepEqual(
    client.joined.items.map(({ room, recovered }) => ({ room, recovered })),
    Array(2).fill({ room: "chat", recovered: false }),
  );
});

Deno.test("a client of a version without recovery gets the missed messages if it sends its last id as `since`", async () => {
  await using node = await TestNode.start();
  await using proxy = await Proxy.start(node.port);
  let since: string | undefined;
  await using client = await connectOld(proxy.url, () => ({
    rooms: [since === undefined ? "chat" : { room: "chat", since }],
  }));
  client.socket.on("msgReceived", (_message, _info, id) => since = id);
  const received = await missOne(node, proxy, client);
  assert.deepEqual(received, ["before", "while it is away", "after"]);
  assert.deepEqual(
    client.joined.items.map(({ recovered }) => recovered),
    [false, true],
  );
});
