/** Nodes that are replaced, stopped or unreachable, behind nginx with the configuration of `docs/deploy/nginx.md`. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { deploy, KeyedPublisher } from "../support/deploy.ts";
import { find } from "../support/install.ts";
import { ADDRESS_HEADER, Nginx } from "../support/nginx.ts";
import { TestNode } from "../support/node.ts";
import { judge, settle } from "../support/oracle.ts";
import { ProxiedNodes } from "../support/proxied_nodes.ts";
import { Redis } from "../support/redis.ts";
import { soon, until } from "../support/wait.ts";

const nginx = await find("nginx");
const ignore = nginx === undefined;
/** Transports of clients in turn: one in five only polls, one upgrades from polling, the others never poll. */
const TRANSPORTS = [
  ["polling"],
  ["polling", "websocket"],
  ["websocket"],
  ["websocket"],
  ["websocket"],
] as const;
const CLIENTS = 20;
const PUBLISHERS = 6;
/**
 * Maximum time for which a client may be disconnected, in ms. A stock client retries after at most 1.5 s; the rest
 * allows for a machine that starts nodes at the same time.
 */
const AWAY_MS_MAX = 5000;

/** Connects stock clients with the defaults of socket.io-client, each from the address that `address` returns. */
async function connect(
  stack: AsyncDisposableStack,
  url: string,
  count: number,
  address: (i: number) => string,
): Promise<Subscriber[]> {
  const clients: Subscriber[] = [];
  for (let i = 0; i < count; i++) {
    const client = await Subscriber.connect(url, {
      transports: [...TRANSPORTS[i % TRANSPORTS.length] ?? []],
      extraHeaders: { [ADDRESS_HEADER]: address(i) },
    });
    clients.push(stack.use(client));
  }
  return clients;
}

/** Returns a function that returns the longest time the client has been disconnected so far, in ms. */
function watchAbsence(client: Subscriber): () => number {
  let since = Infinity;
  let longestMs = 0;
  const look = (): number =>
    longestMs = Math.max(longestMs, performance.now() - since);
  client.socket.on("disconnect", () => since = performance.now());
  client.socket.on("connect", () => {
    look();
    since = Infinity;
  });
  return look;
}

/** Starts publishers, each from its own address; half of them send their keys in a header, which nginx sees. */
function startPublishers(
  stack: AsyncDisposableStack,
  url: string,
): KeyedPublisher[] {
  return Array.from({ length: PUBLISHERS }, (_, i) =>
    stack.use(
      new KeyedPublisher(url, {
        name: `p${i}`,
        address: `10.1.${i}.1`,
        everyMs: 20,
        keyIn: i < PUBLISHERS / 2 ? "header" : "body",
      }),
    ));
}

/** Checks that nginx passed every publish to a node that answered it. */
function checkAnswers(publishers: readonly KeyedPublisher[]): void {
  for (const [i, { answers, unserved }] of publishers.entries()) {
    // nginx responds with 502 if a killed node had accepted the request, unless the request has the key in its header.
    assert.ok(
      unserved <= (i < PUBLISHERS / 2 ? 0 : 1),
      `publisher ${i} was answered ${JSON.stringify(answers)}`,
    );
  }
}

for (
  const [how, signals] of [
    ["every node is stopped by SIGTERM", ["SIGTERM", "SIGTERM", "SIGTERM"]],
    ["one node is killed by SIGKILL", ["SIGTERM", "SIGKILL", "SIGTERM"]],
  ] as const
) {
  Deno.test({
    name:
      `a rolling deploy of three nodes behind nginx loses no acknowledged message if ${how}`,
    ignore,
    async fn() {
      await using redis = await Redis.start();
      const env = { REDIS_URL: redis.url, DRAIN_SECONDS: "1" };
      await using stack = new AsyncDisposableStack();
      const nodes = await Promise.all([1, 2, 3].map(() => TestNode.start(env)));
      for (const node of nodes) stack.use(node);
      const ports = nodes.map(({ port }) => port);
      const { url } = stack.use(await Nginx.start(nginx ?? "", ports));
      const clients = await connect(stack, url, CLIENTS, (i) => `10.0.${i}.1`);
      for (const node of nodes) {
        assert.notEqual(await node.metric("roomcast_clients"), 0);
      }
      const absences = clients.map(watchAbsence);
      const publishers = startPublishers(stack, url);
      await clients[0]?.messages.have(50);
      const [replacement] = await deploy(stack, nodes, env, signals);
      await Promise.all(publishers.map((publisher) => publisher.stop()));
      await until(
        "all clients are connected",
        () => clients.every(({ socket }) => socket.connected),
      );
      await settle(replacement as TestNode, clients);

      judge(publishers, clients);
      const acknowledged = publishers.reduce(
        (sum, publisher) => sum + publisher.acknowledged.size,
        0,
      );
      for (const [index, client] of clients.entries()) {
        // All acknowledged messages, and the last message of `settle`.
        assert.equal(client.messages.items.length, acknowledged + 1);
        assert.deepEqual(client.gaps.items, []);
        const awayMs = absences[index]?.() ?? Infinity;
        assert.ok(awayMs < AWAY_MS_MAX, `a client was away for ${awayMs} ms`);
      }
      checkAnswers(publishers);
    },
  });
}

Deno.test({
  name:
    "a client reconnects to another node at once if a stopping node closes its connection",
  ignore,
  async fn() {
    const settings = { DRAIN_SECONDS: "20" };
    await using site = await ProxiedNodes.start(nginx ?? "", settings);
    const { proxy } = site;
    await using stack = new AsyncDisposableStack();
    // All connections from one address reach one node, also after a reconnect.
    const clients = await connect(stack, proxy.url, 20, () => "10.0.0.1");
    const [stops, stays] = await site.byClients();
    stops.signal("SIGTERM");
    await Promise.all(clients.map(({ connects }) => connects.have(2)));
    assert.equal(await stops.exited(), 0);
    await stays.publish("to all");
    await Promise.all(clients.map(({ messages }) => messages.have(1)));
    assert.equal(await stays.metric("roomcast_clients"), clients.length);
    for (const { connects, errors } of clients) {
      assert.deepEqual(errors.items, []);
      assert.equal(connects.items.length, 2);
    }
  },
});

Deno.test({
  name:
    "a publish through nginx succeeds after one second if nginx tries an unreachable host first",
  ignore,
  async fn() {
    await using node = await TestNode.start();
    // Once the backlog is full the kernel drops packets, as if the host were unreachable.
    using unreachable = Deno.listen({
      hostname: "127.0.0.1",
      port: 0,
      tcpBacklog: 1,
    });
    await using stack = new AsyncDisposableStack();
    for (let i = 0; i < 2; i++) {
      const connection = await soon(
        Deno.connect({ hostname: "127.0.0.1", port: unreachable.addr.port }),
        "the backlog is filled",
      );
      stack.defer(() => connection.close());
    }
    await using proxy = await Nginx.start(nginx ?? "", [
      unreachable.addr.port,
      node.port,
    ]);
    const tookMs = await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        const start = performance.now();
        const response = await soon(
          fetch(`${proxy.url}/publish`, {
            method: "POST",
            headers: {
              "content-type": "text/plain",
              [ADDRESS_HEADER]: `10.0.${i}.1`,
            },
            body: "hello",
          }),
          "a publish is answered",
        );
        await response.body?.cancel();
        assert.equal(response.status, 200);
        return performance.now() - start;
      }),
    );
    assert.ok(tookMs.some((ms) => ms > 900), `none was delayed: ${tookMs}`);
    assert.ok(tookMs.every((ms) => ms < 3000), `delays in ms: ${tookMs}`);
  },
});
