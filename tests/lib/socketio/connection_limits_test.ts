/** The limits of connections, on a node with stock clients and with connections that end in every way. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import type { ManagerOptions } from "socket.io-client";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import { RawConnection } from "../../support/engine.ts";
import { until } from "../../support/wait.ts";

const FAST = { reconnectionDelay: 20, reconnectionDelayMax: 50 };
const HANDSHAKES: readonly [transport: string, path: string][] = [
  ["polling", "/socket.io/?EIO=4&transport=polling"],
  ["websocket", "/socket.io/?EIO=4&transport=websocket"],
];

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly retryAfter: number;
}

/**
 * Opens a connection, which is closed with those in `opened`. Resolves to the refusal, or to undefined if the
 * connection was opened.
 */
async function open(
  opened: DisposableStack,
  port: number,
  transport: string,
  address = "192.0.2.1",
): Promise<Refusal | undefined> {
  const socket = opened.adopt(
    connect(port, "127.0.0.1"),
    (socket) => socket.destroy(),
  );
  let text = "";
  socket.on("data", (bytes) => text += bytes);
  socket.on("error", () => {});
  socket.write(
    `GET /socket.io/?EIO=4&transport=${transport} HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: ${address}\r\n` +
      (transport === "polling"
        ? "\r\n"
        : "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"),
  );
  await until("there is a response", () => /sid|\}\}$/.test(text));
  if (text.includes("sid")) return undefined;
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]),
    code: JSON.parse(text.slice(text.indexOf("{"))).error.code,
    retryAfter: Number(/retry-after: (\d+)/i.exec(text)?.[1]),
  };
}

for (const [transport] of HANDSHAKES) {
  Deno.test(`a node refuses handshakes by ${transport} beyond each limit, with Retry-After, and counts them`, async () => {
    const cases = [
      ["CLIENTS_MAX", "too_many_clients", 503],
      ["CLIENTS_PER_ADDRESS_MAX", "too_many_connections", 429],
      ["CONNECTS_PER_SECOND_MAX", "too_many_connects", 503],
    ] as const;
    for (const [setting, code, status] of cases) {
      await using app = new TestApp({
        [setting]: "2",
        TRUSTED_PROXIES: "127.0.0.1",
      });
      using opened = new DisposableStack();
      const port = await app.serve();
      assert.equal(await open(opened, port, transport), undefined);
      assert.equal(await open(opened, port, transport), undefined);
      const refusal = await open(opened, port, transport);
      assert.equal(refusal?.status, status);
      assert.equal(refusal?.code, code);
      assert.ok(refusal !== undefined && refusal.retryAfter >= 1);
      assert.equal(app.limited(code), 1);
      if (setting !== "CLIENTS_PER_ADDRESS_MAX") continue;
      const other = await open(opened, port, transport, "192.0.2.2");
      assert.equal(other, undefined);
    }
  });
}

for (const [transport] of HANDSHAKES) {
  Deno.test(`a node that stops refuses clients at once whose refusal by ${transport} waits`, async () => {
    await using app = new TestApp({ CLIENTS_MAX: "1" });
    using opened = new DisposableStack();
    const port = await app.serve();
    assert.equal(await open(opened, port, "websocket"), undefined);
    let refused = 0;
    for (let clients = 0; clients < 40; clients++) {
      void open(opened, port, transport).then((refusal) => {
        if (refusal?.code === "too_many_clients") refused++;
      });
    }
    await until(
      "all are being refused",
      () => app.limited("too_many_clients") === 40,
    );
    assert.ok(refused < 40, "some refusals wait");
    app.node.sockets.close();
    await until("all are refused", () => refused === 40);
  });
}

Deno.test("a node warns once of a proxy that TRUSTED_PROXIES does not list", async () => {
  await using app = new TestApp({ TRUSTED_PROXIES: "192.0.2.1" });
  using opened = new DisposableStack();
  const port = await app.serve();
  for (let clients = 0; clients < 3; clients++) {
    await open(opened, port, "websocket", "192.0.2.2");
  }
  assert.deepEqual(
    app.observations.filter(({ kind }) => kind === "proxy_untrusted"),
    [{ kind: "proxy_untrusted", address: "127.0.0.1" }],
  );
});

Deno.test("the upgrade of a polling client is no new connection", async () => {
  await using app = new TestApp({
    CLIENTS_MAX: "1",
    CLIENTS_PER_ADDRESS_MAX: "1",
    CONNECTS_PER_SECOND_MAX: "1",
  });
  const port = await app.serve();
  await using client = await Subscriber.connect(`http://127.0.0.1:${port}`);
  await until(
    "the client has upgraded",
    () => client.socket.io.engine.transport.name === "websocket",
  );
  assert.equal(app.node.connections.count, 1);
  assert.equal(app.limited("too_many_clients"), 0);
});

Deno.test("a connection counts no longer after any end", async () => {
  await using app = new TestApp({
    CLIENTS_PER_ADDRESS_MAX: "1",
    TRUSTED_PROXIES: "127.0.0.1",
  });
  const port = await app.serve();
  const { connections } = app.node;
  const isFree = (after: string): Promise<void> =>
    until(
      `nothing is counted after ${after}`,
      () => connections.count === 0 && connections.groups === 0,
    );
  // A client that leaves, and one that is refused.
  for (const auth of [{}, { rooms: 5 }]) {
    const client = new Subscriber(`http://127.0.0.1:${port}`, { auth });
    await client.settled();
    await client[Symbol.asyncDispose]();
    await isFree("a client");
  }
  // WebSockets that violate a protocol, send nothing, or are reset.
  for (const text of ["2", "nonsense", "41", ""]) {
    const raw = new RawConnection(port);
    await raw.pieces.have(1);
    if (text === "") await raw[Symbol.asyncDispose]();
    else raw.send(text);
    await isFree(`a WebSocket that sends ${JSON.stringify(text)}`);
    await raw[Symbol.asyncDispose]();
  }
  // Requests that are not valid handshakes.
  for (
    const path of [
      "/socket.io/?EIO=3&transport=websocket",
      "/socket.io/?EIO=4&transport=pigeon",
      "/socket.io/?EIO=4&transport=polling",
      "/socket.io/?EIO=4&transport=websocket&sid=unknown",
    ]
  ) {
    const raw = new RawConnection(port, path);
    await until("the request is refused", () => raw.closed);
    await isFree(path);
    await raw[Symbol.asyncDispose]();
  }
  // A connection that is reset before the response to its handshake.
  for (const [, path] of HANDSHAKES) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
      () => socket.resetAndDestroy(),
    );
    await until("the connection is closed", () => socket.closed);
    await isFree(`a reset of ${path}`);
  }
});

Deno.test("a failed upgrade of a polling client leaves the client counted once", async () => {
  await using app = new TestApp({ CLIENTS_PER_ADDRESS_MAX: "1" });
  const port = await app.serve();
  const { connections } = app.node;
  const url = `http://127.0.0.1:${port}/socket.io/?EIO=4&transport=polling`;
  const { sid } = JSON.parse((await (await fetch(url)).text()).slice(1));
  const upgrade = new RawConnection(
    port,
    `/socket.io/?EIO=4&transport=websocket&sid=${sid}`,
  );
  await until("the upgrade begins", () => upgrade.text.includes("101"));
  await upgrade[Symbol.asyncDispose]();
  assert.equal(connections.count, 1);
  // The client closes its session with the packet "close".
  const closed = await fetch(`${url}&sid=${sid}`, {
    method: "POST",
    body: "1",
  });
  await closed.text();
  await until("the client is gone", () => connections.count === 0);
  assert.equal(connections.groups, 0);
});

Deno.test("a node refuses a client at once, and further ones of the same address after a random time", async () => {
  await using app = new TestApp();
  const url = `http://127.0.0.1:${await app.serve()}`;
  const refused = (): Subscriber =>
    new Subscriber(url, { transports: ["websocket"], auth: { rooms: 5 } });
  await using clients = new AsyncDisposableStack();
  const first = clients.use(refused());
  await first.errors.have(1);
  const start = performance.now();
  const others = Array.from({ length: 8 }, () => clients.use(refused()));
  for (const { errors } of others) {
    const [error] = await errors.have(1);
    assert.equal(error?.data?.code, "invalid_parameter");
  }
  const ms = performance.now() - start;
  // If nothing waited, all would be refused within a few ms. That eight random times are short is very unlikely.
  assert.ok(ms > 150 && ms < 5000, `${ms}`);
  // A client that leaves while its refusal waits is not kept.
  await using leaving = refused();
  await until("it connects", () => app.node.connections.count > 0);
  await leaving[Symbol.asyncDispose]();
  await until("nothing is counted", () => app.node.sockets.count === 0);
});

// This test comes last, and without a check for leaks, because a stock client that polls leaves timers behind.
Deno.test({
  name:
    "a stock client that was refused because of a limit retries, and connects when there is room",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    for (const transports of [["websocket"], ["polling"], undefined]) {
      await using app = new TestApp({ CLIENTS_MAX: "1" });
      const port = await app.serve();
      const options: Partial<ManagerOptions> = {
        ...FAST,
        ...(transports && { transports }),
      };
      const url = `http://127.0.0.1:${port}`;
      const first = await Subscriber.connect(url, options);
      await using second = new Subscriber(url, options);
      await second.errors.have(2);
      assert.ok(second.socket.active);
      await first[Symbol.asyncDispose]();
      await second.connects.have(1);
      assert.equal(app.node.connections.count, 1);
    }
  },
});
