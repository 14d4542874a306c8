import assert from "node:assert/strict";
import { ApiError, type ErrorCode } from "../../../lib/errors.ts";
import { Gate } from "../../../lib/engineio/gate.ts";
import { RawConnection, TestEngineServer } from "../../support/engine.ts";
import { PollingClient } from "../../support/polling.ts";
import { Subscriber } from "../../support/client.ts";
import { until } from "../../support/wait.ts";

async function codeOf(response: Response): Promise<ErrorCode> {
  return JSON.parse(await response.text()).error.code;
}

Deno.test("EngineServer refuses handshakes while too many clients have not connected yet", async () => {
  const gate = new Gate(undefined, { handshakesMax: 2, pollingMax: 10 });
  const refused: ApiError[] = [];
  await using server = await TestEngineServer.start({}, true, {
    gate,
    onRefused: (error) => refused.push(error),
  });
  server.io.on("connection", ({ conn }) => gate.connected(conn));
  const url = `http://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=`;
  await using one = new RawConnection(server.port);
  await using two = new RawConnection(server.port);
  await one.pieces.have(1);
  await two.pieces.have(1);
  const response = await fetch(`${url}polling`);
  assert.equal(response.status, 503);
  assert.equal(response.headers.get("retry-after"), "1");
  assert.equal(await codeOf(response), "too_many_connects");
  await using third = new RawConnection(server.port);
  await until("it is refused", () => third.closed);
  assert.match(third.text, /^HTTP\/1\.1 503 [^]*too_many_connects/);
  assert.deepEqual(refused.map(({ code }) => code), [
    "too_many_connects",
    "too_many_connects",
  ]);
  one.send("40");
  await until("a client is connected", () => gate.handshakes === 1);
  await using fourth = new RawConnection(server.port);
  await until("it is open", () => fourth.text.includes("sid"));
});

Deno.test("EngineServer refuses clients that poll while too many of them poll, and only them", async () => {
  const gate = new Gate(undefined, { handshakesMax: 10, pollingMax: 1 });
  await using server = await TestEngineServer.start({}, true, { gate });
  const url = `http://127.0.0.1:${server.port}`;
  const path = `${url}/socket.io/?EIO=4&transport=polling`;
  await using upgrading = await Subscriber.connect(url);
  await until("the client has upgraded", () => gate.polling === 0);
  await PollingClient.connect(url, []);
  assert.equal(gate.polling, 1);
  const response = await fetch(path);
  assert.equal(response.status, 503);
  assert.equal(await codeOf(response), "too_many_clients");
  await using socket = await Subscriber.connect(url, {
    transports: ["websocket"],
  });
  assert.ok(socket.socket.connected && upgrading.socket.connected);
});
