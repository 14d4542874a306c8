import assert from "node:assert/strict";
import { createServer } from "node:http";
import { connect, type Socket } from "node:net";
import { closeIdleConnections } from "../../../lib/http/idle_connections.ts";
import { listen } from "../../support/net.ts";
import { until } from "../../support/wait.ts";

const IDLE_MS = 200;

/** A connection that records what it received and when it was closed. */
class Connection {
  text = "";
  closedAt: number | undefined;
  readonly socket: Socket;

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("data", (chunk) => this.text += chunk.toString());
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.closedAt = performance.now());
  }

  ask(path: string, headers = ""): void {
    this.socket.write(`GET ${path} HTTP/1.1\r\nhost: test\r\n${headers}\r\n`);
  }

  responses(count: number): Promise<void> {
    return until(
      `${count} responses`,
      () => this.text.split("HTTP/1.1 200").length > count,
    );
  }
}

/** A server that responds to `/slow` late, and accepts upgrades and keeps them open. */
async function serve(): Promise<{ port: number; close: () => Promise<void> }> {
  const upgraded: Socket[] = [];
  const server = createServer(
    { keepAliveTimeout: 0 },
    ({ url }, response) =>
      void setTimeout(
        () => response.end("ok"),
        url === "/slow" ? IDLE_MS * 3 : 0,
      ),
  );
  closeIdleConnections(server, IDLE_MS);
  server.on("upgrade", (_request, socket) => {
    upgraded.push(socket as Socket);
    socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n");
  });
  const port = await listen(server);
  return {
    port,
    close: () => {
      for (const socket of upgraded) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

Deno.test("closeIdleConnections() closes a connection after the timeout since its last response", async () => {
  const { port, close } = await serve();
  const connection = new Connection(port);
  connection.ask("/slow");
  await connection.responses(1);
  const wait = Promise.withResolvers<void>();
  setTimeout(wait.resolve, IDLE_MS / 2);
  await wait.promise;
  // Two requests at once. One takes longer than the idle timeout.
  connection.ask("/");
  connection.ask("/slow");
  await connection.responses(3);
  const answered = performance.now();
  await until("it is closed", () => connection.closedAt !== undefined);
  const idledMs = (connection.closedAt ?? 0) - answered;
  assert.ok(idledMs > IDLE_MS * 0.8, `closed after ${idledMs} ms`);
  await close();
});

Deno.test("closeIdleConnections() keeps a connection that has been upgraded", async () => {
  const { port, close } = await serve();
  const connection = new Connection(port);
  connection.ask("/");
  await connection.responses(1);
  connection.ask("/", "connection: upgrade\r\nupgrade: other\r\n");
  await until("it is upgraded", () => connection.text.includes(" 101 "));
  const wait = Promise.withResolvers<void>();
  setTimeout(wait.resolve, IDLE_MS * 3);
  await wait.promise;
  assert.equal(connection.closedAt, undefined);
  await close();
  connection.socket.destroy();
});
