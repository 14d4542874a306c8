/** Tests Engine.IO's pings and their timeouts on real connections. */
import { Server, Socket } from "engine.io";
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { installHeartbeats } from "../../../lib/engineio/heartbeats.ts";
import { RawConnection, TestEngineServer } from "../../support/engine.ts";
import { listen } from "../../support/net.ts";
import { Inbox, soon, until } from "../../support/wait.ts";

const options = { pingInterval: 300, pingTimeout: 400 };
const { schedulePing } = Socket.prototype as unknown as {
  schedulePing: unknown;
};

// This test comes first, because the other tests patch Engine.IO in the whole process.
Deno.test("importing heartbeats.ts does not patch Engine.IO; only the first call of installHeartbeats() does", () => {
  const prototype = Socket.prototype as unknown as { schedulePing: unknown };
  assert.equal(prototype.schedulePing, schedulePing);
  assert.doesNotMatch(String(schedulePing), /heartbeats/);
  installHeartbeats();
  const installed = prototype.schedulePing;
  assert.notEqual(installed, schedulePing);
  installHeartbeats();
  assert.equal(prototype.schedulePing, installed);
});

Deno.test("installHeartbeats() does not change the timers of other Engine.IO servers in the same process", async () => {
  installHeartbeats();
  const engine = new Server(options);
  const http = createServer();
  engine.attach(http);
  const come = new Promise<Socket>((resolve) =>
    engine.once("connection", resolve)
  );
  const port = await listen(http);
  await using client = new RawConnection(
    port,
    "/engine.io/?EIO=4&transport=websocket",
  );
  const socket = await soon(come, "the client connects");
  const { pingIntervalTimer } = socket as unknown as {
    pingIntervalTimer: object;
  };
  assert.notEqual(pingIntervalTimer.constructor.name, "Heartbeat");
  await until("the ping", () => pings(client) === 1);
  await client[Symbol.asyncDispose]();
  engine.close();
  http.closeAllConnections();
  await new Promise<void>((resolve) => http.close(() => resolve()));
});

function pings(connection: RawConnection): number {
  return connection.text.split("\x012").length - 1;
}

/** Connects a client. Returns it with Engine.IO's connection of the client and the reasons of its closes. */
async function enter(
  server: TestEngineServer,
): Promise<{ client: RawConnection; socket: Socket; closes: Inbox<string> }> {
  const closes = new Inbox<string>();
  const come = new Promise<Socket>((resolve) =>
    server.engine.once("connection", resolve)
  );
  const client = new RawConnection(server.port);
  const socket = await soon(come, "the client connects");
  socket.on("close", (reason: string) => closes.push(reason));
  return { client, socket, closes };
}

Deno.test("Heartbeats pings a client repeatedly while it sends pongs", async () => {
  await using server = await TestEngineServer.start(options);
  const { client, closes } = await enter(server);
  await using _ = client;
  for (let n = 1; n <= 4; n++) {
    const start = performance.now();
    await until(`ping ${n}`, () => pings(client) === n);
    const took = performance.now() - start;
    assert.ok(n === 1 || took > 200, `after ${took} ms`);
    client.send("3");
  }
  assert.deepEqual(closes.items, []);
});

Deno.test("Heartbeats disconnects a client that does not answer a ping", async () => {
  await using server = await TestEngineServer.start(options);
  const { client, closes } = await enter(server);
  await using _ = client;
  await until("the ping", () => pings(client) === 1);
  const start = performance.now();
  await closes.have(1);
  assert.deepEqual(closes.items, ["ping timeout"]);
  const took = performance.now() - start;
  assert.ok(took > 300 && took < 1500, `after ${took} ms`);
  assert.equal(server.engine.clientsCount, 0);
});

Deno.test("Heartbeats extends a pong's timeout only once if the client sends packets other than a pong", async () => {
  await using server = await TestEngineServer.start(options);
  const { client, closes } = await enter(server);
  await using _ = client;
  client.send("40");
  await until("the ping", () => pings(client) === 1);
  const start = performance.now();
  const sending = setInterval(() => client.send('42["still here"]'), 250);
  try {
    await closes.have(1);
  } finally {
    clearInterval(sending);
  }
  assert.deepEqual(closes.items, ["ping timeout"]);
  const took = performance.now() - start;
  assert.ok(took > 550 && took < 1500, `after ${took} ms`);
});

Deno.test("Heartbeats replaces both timers of a connection by one Heartbeat, and the Heartbeat leaves the wheel when the connection closes", async () => {
  await using server = await TestEngineServer.start(options);
  const { client, socket, closes } = await enter(server);
  const timers = socket as unknown as {
    pingIntervalTimer: { slot: Set<unknown> };
    pingTimeoutTimer: unknown;
  };
  const { pingIntervalTimer } = timers;
  assert.equal(pingIntervalTimer.constructor.name, "Heartbeat");
  assert.equal(timers.pingTimeoutTimer, null);
  await until("the ping", () => pings(client) === 1);
  assert.equal(timers.pingTimeoutTimer, pingIntervalTimer);
  client.send("3");
  await until("the pong", () => timers.pingTimeoutTimer === null);
  assert.ok(pingIntervalTimer.slot.has(pingIntervalTimer));
  await client[Symbol.asyncDispose]();
  await closes.have(1);
  assert.ok(!pingIntervalTimer.slot.has(pingIntervalTimer));
});
