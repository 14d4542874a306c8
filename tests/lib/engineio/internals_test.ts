/** Fails if engine.io or socket.io no longer has a private part that Roomcast uses. */
import { Server, Socket as Connection, Transport } from "engine.io";
import assert from "node:assert/strict";
import {
  connectionOf,
  hearAll,
  identify,
  internalsOf,
  pollingOf,
  VERSIONS,
  waitingPollOf,
} from "../../../lib/engineio/internals.ts";
import { RawConnection, TestEngineServer } from "../../support/engine.ts";
import { soon, until } from "../../support/wait.ts";
import type { Socket } from "socket.io";
import settings from "../../../deno.json" with { type: "json" };

Deno.test("deno.json has the versions of engine.io and socket.io for which internals.ts was written", () => {
  for (const name of ["engine.io", "socket.io"] as const) {
    assert.equal(settings.imports[name], `npm:${name}@${VERSIONS[name]}`);
  }
});

Deno.test("engine.io's classes have the private methods that Roomcast replaces or calls", () => {
  const parts: [{ prototype: unknown }, string[]][] = [
    [Server, ["verify", "init", "cleanup"]],
    [Connection, [
      "_maybeUpgrade",
      "flush",
      "close",
      "sendPacket",
      "schedulePing",
      "resetPingTimeout",
      "onClose",
    ]],
    [Transport, ["onData", "onError", "onClose", "close"]],
  ];
  for (const [{ prototype }, names] of parts) {
    for (const name of names) {
      const part = (prototype as Record<string, unknown>)[name];
      assert.equal(typeof part, "function", name);
    }
  }
  assert.equal(Connection.length, 5);
});

Deno.test("an open connection of engine.io has the private fields that Roomcast uses", async () => {
  await using server = await TestEngineServer.start();
  const come = new Promise<Socket>((resolve) =>
    server.io.on("connection", resolve)
  );
  await using client = new RawConnection(server.port);
  await until("the connection is open", () => client.text.includes('"sid":"'));
  client.send("40");
  const socket = await soon(come, "the client connects");
  const connection = connectionOf(socket);
  const { engine } = server;
  assert.equal((engine as unknown as { ws: unknown }).ws, undefined);
  assert.equal(connection.server, engine);
  assert.deepEqual(
    Object.keys((engine as unknown as { clients: object }).clients),
    [connection.id],
  );
  assert.equal(connection._readyState, "open");
  assert.equal(connection.upgrading, false);
  assert.equal(connection.hasRefreshedPingTimeout, false);
  assert.equal(connection.pingTimeoutTimer, null);
  assert.equal(typeof connection.pingIntervalTimer?.refresh, "function");
  assert.ok(connection.request !== undefined);
  assert.equal(connection.transport.writable, true);
  for (const name of ["_readyState", "parser", "supportsBinary"]) {
    assert.ok(name in connection.transport, name);
  }
  assert.ok("handshake" in socket);
  assert.equal(waitingPollOf(connection.transport), undefined);

  const listener = (): void => {};
  hearAll(socket, [listener]);
  assert.deepEqual(socket.listenersAny(), [listener]);

  // While the transport is busy, packets are queued with their frame; then the list is replaced.
  connection.transport.writable = false;
  const queue = connection.writeBuffer;
  assert.equal(queue.length, 0);
  server.io.emit("event", 1);
  const [packet] = queue;
  assert.equal(packet?.type, "message");
  assert.equal(packet?.data, '2["event",1]');
  assert.equal(connection.writeBuffer, queue);
  connection.transport.writable = true;
  connection.flush();
  assert.notEqual(connection.writeBuffer, queue);
  await until("the event arrives", () => client.text.endsWith('["event",1]'));
});

Deno.test("a polling transport of engine.io has the private members that Roomcast uses", async () => {
  await using server = await TestEngineServer.start();
  const opened = new Promise<Connection>((resolve) =>
    server.engine.on("connection", resolve)
  );
  const url =
    `http://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=polling`;
  const poll = async (query = ""): Promise<string> =>
    await (await fetch(`${url}${query}`)).text();
  await poll();
  const connection = await soon(opened, "the connection is open");
  const { transport } = connection;
  const polling = pollingOf(transport);
  for (const name of ["send", "onDataRequest", "onData"] as const) {
    assert.equal(typeof polling[name], "function", name);
  }
  assert.equal(polling.maxHttpBufferSize, 1e6);
  assert.equal(waitingPollOf(transport), undefined);
  const { id } = internalsOf(connection);
  const answer = poll(`&sid=${id}`);
  await until("a poll waits", () => waitingPollOf(transport) !== undefined);
  connection.send("hello");
  assert.equal(await soon(answer, "the poll is answered"), "4hello");
  // Without a waiting poll, the close waits for the next one.
  assert.equal(polling.shouldClose ?? undefined, undefined);
  connection.close();
  assert.equal(typeof polling.shouldClose, "function");
});

Deno.test("identify() sets what socket.io sends a client about itself, and leaves nothing behind when the client is gone", async () => {
  await using server = await TestEngineServer.start();
  const { io } = server;
  io.use((socket, next) => {
    identify(socket, { id: "its-id", pid: "its-pid", recovered: false });
    next();
  });
  await using client = new RawConnection(server.port);
  await until("the connection is open", () => client.text.includes('"sid":"'));
  client.send("40");
  await until(
    "the client is connected",
    () => client.text.includes('40{"sid":"its-id","pid":"its-pid"}'),
  );
  const { sockets, _preConnectSockets: waiting } = io.of(
    "/",
  ) as unknown as Record<string, Map<string, Socket>>;
  assert.deepEqual([...sockets?.keys() ?? []], ["its-id"]);
  assert.equal(waiting?.size, 0);
  sockets?.get("its-id")?.disconnect(true);
  assert.equal(sockets?.size, 0);
});
