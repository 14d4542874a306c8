import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Server, Socket } from "node:net";
import { ListenerWatch } from "../../../lib/listener/watch.ts";
import type { Observation } from "../../../lib/observer.ts";
import { Inbox, pauseFor, soon, until } from "../../support/wait.ts";

/** More than the pause between two checks. */
const ONE_CHECK_MS = 2500;

/** A server that is watched, and all that was told of it. */
class Watched {
  readonly server: Server = createServer((_, response) => response.end("ok"));
  readonly told = new Inbox<Observation>();
  /** Connections that the server has seen. */
  seen = 0;
  lost = 0;
  /** What opening the listener is answered with, if it cannot be opened. */
  failure: Error | undefined;
  readonly watch: ListenerWatch;

  constructor(file = new URL(import.meta.url)) {
    this.server.on("connection", () => this.seen++);
    this.watch = new ListenerWatch({
      server: this.server,
      listen: async (port) => {
        if (this.failure !== undefined) throw this.failure;
        this.server.listen(port, "127.0.0.1");
        await once(this.server, "listening");
        return this.server.address() as AddressInfo;
      },
      file,
      onLost: () => this.lost++,
      observe: (happening) => this.told.push(happening),
    });
  }

  get kinds(): string[] {
    return this.told.items.map(({ kind }) => kind);
  }

  /** From now on nothing is accepted, as after a failed `accept()`, but for good. */
  die(): void {
    const { _handle } = this.server as unknown as {
      _handle: { onconnection(): void };
    };
    _handle.onconnection = () => {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.watch.close();
    await new Promise((resolve) => this.server.close(resolve));
    // What the check that was ended has connected.
    await until(
      "no connection is left",
      () => this.watch.connections.count === 0,
    );
  }
}

/** Asks over a connection that stays open; resolves with all it has got. */
async function ask(socket: Socket): Promise<string> {
  socket.write("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
  const [chunk] = await soon(once(socket, "data"), "an answer");
  return String(chunk);
}

Deno.test("a listener that accepts is checked, and nothing is told", async () => {
  await using watched = new Watched();
  await watched.watch.open(0);
  await until("two checks were made", () => watched.seen >= 2);
  assert.deepEqual(watched.kinds, []);
  assert.equal(watched.watch.accepting, true);
  await until(
    "nothing stays open",
    () => watched.watch.connections.count === 0,
  );
});

Deno.test("a listener that no longer accepts is reopened on its port, and its connections stay", async () => {
  await using watched = new Watched();
  const { port } = await watched.watch.open(0);
  const socket = connect(port, "127.0.0.1");
  assert.match(await ask(socket), /200 OK/);
  await until("the first check was made", () => watched.seen >= 2);
  watched.die();
  await watched.told.where(() => watched.kinds.includes("listener_failed"));
  assert.equal(watched.watch.accepting, false);
  await watched.told.have(2);
  assert.deepEqual(
    watched.told.items.map((one) => ({ ...one, durationMs: 0 })),
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

Deno.test("a listener that cannot be reopened is told as lost, once", async () => {
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

Deno.test("a listener that has never been seen to accept is left alone: a firewall may be in between", async () => {
  await using watched = new Watched();
  await watched.watch.open(0);
  watched.die();
  await watched.told.have(1);
  await pauseFor(2 * ONE_CHECK_MS);
  assert.deepEqual(watched.told.items, [
    { kind: "listener_unwatched", why: "nothing is accepted" },
  ]);
  assert.equal(watched.watch.accepting, true);
  assert.equal(watched.lost, 0);
});

Deno.test("checks end with close()", async () => {
  await using watched = new Watched();
  await watched.watch.open(0);
  await until("the first check was made", () => watched.seen === 1);
  watched.watch.close();
  await pauseFor(ONE_CHECK_MS);
  assert.equal(watched.seen, 1);
});

Deno.test("without a file to count descriptors with, no connection is refused", async () => {
  await using watched = new Watched(new URL("file:///nowhere/at/all"));
  const { port } = await watched.watch.open(0);
  assert.equal(watched.watch.connections.max, Infinity);
  const socket = connect(port, "127.0.0.1");
  assert.match(await ask(socket), /200 OK/);
  socket.destroy();
});
