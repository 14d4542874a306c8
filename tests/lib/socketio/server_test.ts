import assert from "node:assert/strict";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import { until } from "../../support/wait.ts";

Deno.test("an unexpected error of a handshake is observed as it is, and the client is not told why", async () => {
  const error = new TypeError("the reason that only the log may show");
  await using app = new TestApp();
  const port = await app.serve();
  Object.assign(app.node.history, { read: () => Promise.reject(error) });
  await using client = new Subscriber(`http://127.0.0.1:${port}`, {
    reconnection: false,
    auth: { rooms: [{ room: "chat", last: 5 }] },
  });
  await until(
    "it is observed",
    () => app.observations.some(({ kind }) => kind === "error"),
  );
  assert.deepEqual(app.observations.filter(({ kind }) => kind === "error"), [
    { kind: "error", where: "a handshake", error },
  ]);
  assert.equal(client.socket.connected, false);
  assert.deepEqual(client.errors.items, []);
});
