import assert from "node:assert/strict";
import { createServer, type Server, type Socket } from "node:net";
import { ConnectionLimit } from "../../../lib/listener/connection_limit.ts";
import type { Observation } from "../../../lib/observer.ts";

/** A file that can be opened `free` times, so that the limit finds this number of free descriptors. */
class Descriptors implements Disposable {
  readonly #open = Deno.openSync;
  left: number;

  constructor(free: number) {
    this.left = free;
    Deno.openSync = () => {
      if (this.left === 0) {
        throw Object.assign(new Error("none is free"), { code: "EMFILE" });
      }
      this.left--;
      return { close: () => this.left++ } as unknown as Deno.FsFile;
    };
  }

  [Symbol.dispose](): void {
    Deno.openSync = this.#open;
  }
}

/** A server of which only its connections matter; it never listens. */
class Limited {
  readonly server: Server = createServer();
  readonly refused: string[] = [];

  constructor(limit: ConnectionLimit, usesReserve: boolean) {
    limit.watch(this.server, {
      onRefused: () => {},
      takeOwn: () => false,
      usesReserve,
    });
  }

  /** Accepts a connection. Returns whether it was refused. */
  accept(descriptors: Descriptors): boolean {
    let isDestroyed = false;
    descriptors.left--;
    this.server.emit(
      "connection",
      {
        on: () => {},
        destroy: () => isDestroyed = true,
      } as unknown as Socket,
    );
    return isDestroyed;
  }
}

Deno.test("ConnectionLimit counts the connections of all servers together, and lets one of them use half of the reserve", () => {
  using descriptors = new Descriptors(200);
  const observed: Observation[] = [];
  const limit = new ConnectionLimit(
    new URL(import.meta.url),
    (observation) => observed.push(observation),
  );
  const clients = new Limited(limit, false);
  const backends = new Limited(limit, true);
  // 25 of 200 descriptors are reserved.
  assert.equal(limit.max, 175);
  for (let i = 0; i < 100; i++) {
    assert.equal(clients.accept(descriptors), false);
  }
  for (let i = 0; i < 75; i++) {
    assert.equal(backends.accept(descriptors), false);
  }
  assert.equal(limit.count, 175);
  assert.equal(clients.accept(descriptors), true);
  for (let i = 0; i < 11; i++) {
    assert.equal(backends.accept(descriptors), false);
  }
  assert.equal(backends.accept(descriptors), true);
  limit.close();
});
