import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Server, Socket } from "node:net";
import { ConnectionLimit } from "../../../lib/listener/connection_limit.ts";
import { ListenerWatch } from "../../../lib/listener/watch.ts";
import type { Observation } from "../../../lib/observer.ts";
import { Inbox, pauseFor, soon, until } from "../../support/wait.ts";

/** The pause between two checks, in ms. */
const INTERVAL_MS = 100;
/** Time in which at least one check is made, even if it fails, in ms. */
const ONE_CHECK_MS = 1400;

/** A server whose listener is watched, and the observations of the watch. */
class Watched {
  readonly server: Server = createServer((_, response) => response.end("ok"));
  readonly observed = new Inbox<Observation>();
  /** Number of connections that the server has accepted, including those of the checks. */
  seen = 0;
  lost = 0;
  /** If set, opening the listener fails with this error. */
  failure: Error | undefined;
  readonly watch: ListenerWatch;

  readonly connections: ConnectionLimit;

  constructor(file = new URL(import.meta.url)) {
    this.server.on("connection", () => this.seen++);
    const observe = (observation: Observation): void =>
      this.observed.push(observation);
    this.connections = new ConnectionLimit(file, observe);
    this.watch = new ListenerWatch({
      server: this.server,
      listen: async (port) => {
        if (this.failure !== undefined) throw this.failure;
        this.server.listen(port, "127.0.0.1");
        await once(this.server, "listening");
        return this.server.address() as AddressInfo;
      },
      connections: this.connections,
      onLost: () => this.lost++,
      observe,
      intervalMs: INTERVAL_MS,
    });
  }

  get kinds(): string[] {
    return this.observed.items.map(({ kind }) => kind);
  }

  /** Makes the listener stop accepting connections permanently, as after a failed `accept()`. */
  die(): void {
    const { _handle } = this.server as unknown as {
      _handle: { onconnection(): void };
    };
    _handle.onconnection = () => {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.watch.close();
    this.connections.close();
    await new Promise((resolve) => this.server.close(resolve));
    // The connection of the check that `close()` ended.
    await until(
      "no connection is left",
      () => this.connections.count === 0,
    );
  }
}

/** Sends a request on a connection that stays open. Returns the first bytes of the response. */
async function ask(socket: Socket): Promise<string> {
  socket.write("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
  const [chunk] = await soon(once(socket, "data"), "an answer");
  return String(chunk);
}

Deno.test("ListenerWatch reports no observation while the listener accepts connections", async () => {
  await using watched = new Watched();
  await watched.watch.open(0);
  await until("two checks were made", () => watched.seen >= 2);
  assert.deepEqual(watched.kinds, []);
  assert.equal(watched.watch.accepting, true);
  await until(
    "nothing stays open",
    () => watched.connections.count === 0,
  );
});

Deno.test("ListenerWatch reopens a dead listener on the same port and keeps the accepted connections", async () => {
  await using watched = new Watched();
  const { port } = await watched.watch.open(0);
  const socket = connect(port, "127.0.0.1");
  assert.match(await ask(socket), /200 OK/);
  await until("the first check was made", () => watched.seen >= 2);
  watched.die();
  await watched.observed.where(() => watched.kinds.includes("listener_failed"));
  assert.equal(watched.watch.accepting, false);
  await watched.observed.have(2);
  assert.deepEqual(
    watched.observed.items.map((one) => ({ ...one, durationMs: 0 })),
    [
      { kind: "listener_failed", durationMs: 0 },
      { kind: "listener_recovered", how: "reopened", durationMs: 0 },
    ],
  );
  assert.equal(watched.watch.accepting, true);
  assert.match(await ask(socket), /200 OK/);
  const next = connect(port, "127.0.0.1");
  assert.match(await ask(next), /200 OK/);
  assert.equal(watched.lost, 0);
  for (const one of [socket, next]) one.destroy();
});

Deno.test("ListenerWatch calls onLost once if a dead listener cannot be reopened", async () => {
  await using watched = new Watched();
  await watched.watch.open(0);
  await until("the first check was made", () => watched.seen === 1);
  watched.die();
  watched.failure = new Error("the port is taken");
  await until("it is told", () => watched.lost > 0);
  await pauseFor(ONE_CHECK_MS);
  assert.equal(watched.lost, 1);
  assert.equal(watched.watch.accepting, false);
  assert.deepEqual(watched.kinds, ["listener_failed", "listener_lost"]);
});

Deno.test("ListenerWatch does not reopen a listener for which no check has ever succeeded", async () => {
  await using watched = new Watched();
  await watched.watch.open(0);
  watched.die();
  await watched.observed.have(1);
  await pauseFor(2 * ONE_CHECK_MS);
  assert.deepEqual(watched.observed.items, [
    { kind: "listener_unwatched", why: "nothing is accepted" },
  ]);
  assert.equal(watched.watch.accepting, true);
  assert.equal(watched.lost, 0);
});

Deno.test("ListenerWatch.close() stops the checks", async () => {
  await using watched = new Watched();
  await watched.watch.open(0);
  await until("the first check was made", () => watched.seen === 1);
  watched.watch.close();
  await pauseFor(ONE_CHECK_MS);
  assert.equal(watched.seen, 1);
});

Deno.test("ListenerWatch sets no limit of connections if the free file descriptors cannot be counted", async () => {
  await using watched = new Watched(new URL("file:///nowhere/at/all"));
  const { port } = await watched.watch.open(0);
  assert.equal(watched.connections.max, Infinity);
  const socket = connect(port, "127.0.0.1");
  assert.match(await ask(socket), /200 OK/);
  socket.destroy();
});
