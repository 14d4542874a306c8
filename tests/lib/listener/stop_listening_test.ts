import assert from "node:assert/strict";
import { createServer } from "node:http";
import { stopListening } from "../../../lib/listener/stop_listening.ts";
import { listen } from "../../support/net.ts";
import { soon } from "../../support/wait.ts";

const CONNECTIONS = 20;

/**
 * The code of a worker. Opens connections and reports that to the test. Then sends a request on each connection and
 * reports the responses.
 */
async function connectAndAsk(): Promise<void> {
  const scope = self as unknown as Worker;
  const { port, count, signal } = await new Promise<
    { port: number; count: number; signal: SharedArrayBuffer }
  >((resolve) => scope.onmessage = ({ data }) => resolve(data));
  const connections = await Promise.all(
    Array.from(
      { length: count },
      () => Deno.connect({ hostname: "127.0.0.1", port }),
    ),
  );
  const flag = new Int32Array(signal);
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
  const responses = await Promise.all(connections.map(async (connection) => {
    try {
      const request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
      await connection.write(new TextEncoder().encode(request));
      const answer = new Uint8Array(1000);
      const length = await connection.read(answer) ?? 0;
      return new TextDecoder().decode(answer.subarray(0, length)).slice(0, 15);
    } catch (error) {
      return String(error);
    } finally {
      connection.close();
    }
  }));
  scope.postMessage(responses);
}

/**
 * Calls `then` while the listener's queue has connections: a worker opens them while this thread is blocked and cannot
 * accept them. Resolves to the first lines of the responses.
 */
async function whileBlocked(
  port: number,
  then: () => Promise<void>,
): Promise<string[]> {
  const source = `(${connectAndAsk})()`;
  const url = URL.createObjectURL(
    new Blob([source], { type: "text/javascript" }),
  );
  const worker = new Worker(url, { type: "module" });
  try {
    const responses = new Promise<string[]>((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
    });
    const signal = new SharedArrayBuffer(4);
    worker.postMessage({ port, count: CONNECTIONS, signal });
    assert.notEqual(
      Atomics.wait(new Int32Array(signal), 0, 0, 10_000),
      "timed-out",
    );
    await then();
    return await soon(responses, "the worker reports");
  } finally {
    worker.terminate();
    URL.revokeObjectURL(url);
  }
}

Deno.test("stopListening() serves the connections in the listener's queue and refuses later connections", async () => {
  const server = createServer((_request, response) => response.end("ok"));
  const port = await listen(server);
  const closed = new Promise<void>((resolve) =>
    server.once("close", () => resolve())
  );
  const responses = await whileBlocked(port, () => stopListening(server));
  assert.deepEqual(responses, Array(CONNECTIONS).fill("HTTP/1.1 200 OK"));
  await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port }));
  await soon(closed, "the server is closed");
});

for (const busyAfterMs of [15, 30, 45]) {
  Deno.test(`stopListening() serves the connections that arrive while the process is busy, ${busyAfterMs} ms after the call`, async () => {
    const server = createServer((_request, response) => response.end("ok"));
    const port = await listen(server);
    const stopped = stopListening(server);
    await new Promise((resolve) => setTimeout(resolve, busyAfterMs));
    // On a slow machine, the listener may be closed already.
    const responses = server.listening
      ? await whileBlocked(port, () => stopped)
      : [];
    await soon(stopped, "it is done");
    assert.ok(
      responses.every((line) => line === "HTTP/1.1 200 OK"),
      String(responses),
    );
  });
}

Deno.test("stopListening() closes the listener within a second if no connection arrives", async () => {
  const server = createServer();
  const port = await listen(server);
  const closed = new Promise<void>((resolve) =>
    server.once("close", () => resolve())
  );
  await soon(stopListening(server), "it is done", 1000);
  await soon(closed, "the server is closed", 1000);
  await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port }));
});

Deno.test("stopListening() closes a listener within a second that does not accept connections any more", async () => {
  const server = createServer();
  const port = await listen(server);
  const { _handle } = server as unknown as {
    _handle: { onconnection(): void };
  };
  _handle.onconnection = () => {};
  await soon(stopListening(server), "it is done", 1000);
  await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port }));
});

Deno.test("stopListening() resolves if the listener is closed meanwhile", async () => {
  const server = createServer();
  await listen(server);
  const stopped = stopListening(server);
  server.close();
  await soon(stopped, "it is done", 1000);
});
