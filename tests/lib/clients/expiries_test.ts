import assert from "node:assert/strict";
import { makePrincipal } from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { Client } from "../../../lib/clients/client.ts";
import { Expiries } from "../../../lib/clients/expiries.ts";
import { FanOut } from "../../../lib/delivery/fanout.ts";
import { RecordingConnection } from "../../support/clients_setup.ts";

const START = 1_000_000_000_000;
const RIGHTS = Rights.everywhere(["subscribe"]);

/** A list of clients with a clock that tests move. */
class Setup implements Disposable {
  nowMs = START;
  readonly disconnected: string[] = [];
  readonly expiries = new Expiries({
    fanOut: new FanOut({
      clientBufferBytesMax: 1000,
      latestOnly: () => false,
      observe: () => {},
    }),
    disconnect: (client) => {
      this.disconnected.push(client.digest);
      this.expiries.delete(client);
    },
    now: () => this.nowMs,
  });

  /** Adds a connected client whose token expires `seconds` after the start. */
  add(digest: string, seconds?: number): Client {
    const client = new Client({
      principal: this.principal(seconds),
      digest,
      generation: 1,
      resumedVersion: undefined,
      rooms: new Map(),
    });
    client.subscriber = new RecordingConnection();
    this.expiries.add(client);
    return client;
  }

  principal(seconds?: number): Client["principal"] {
    const expiresAt = seconds === undefined
      ? undefined
      : START + seconds * 1000;
    return makePrincipal({ kind: "client", rights: RIGHTS, expiresAt });
  }

  /** Moves the clock to `seconds` after the start, and checks. */
  at(seconds: number): void {
    this.nowMs = START + seconds * 1000;
    this.expiries.check();
  }

  [Symbol.dispose](): void {
    this.expiries.close();
  }
}

function written(client: Client): readonly string[] {
  assert.ok(client.subscriber instanceof RecordingConnection);
  return client.subscriber.written;
}

Deno.test("a client is warned 30 s before its token expires, once, and disconnected 25 s after", () => {
  using setup = new Setup();
  const ann = setup.add("ann", 100);
  const bob = setup.add("bob", 200);
  setup.at(69);
  assert.deepEqual(written(ann), []);
  for (const seconds of [70, 71, 100, 124]) {
    setup.at(seconds);
    assert.deepEqual(written(ann), [`token_expiring ${START + 100_000}`]);
    assert.deepEqual(setup.disconnected, []);
  }
  setup.at(125);
  setup.at(150);
  assert.deepEqual(setup.disconnected, ["ann"]);
  assert.deepEqual(written(bob), []);
  setup.at(170);
  assert.equal(written(bob).length, 1);
});

Deno.test("a client with a new token is warned and disconnected by the time of that token", () => {
  using setup = new Setup();
  const ann = setup.add("ann", 100);
  setup.at(80);
  assert.equal(written(ann).length, 1);
  ann.principal = setup.principal(300);
  setup.expiries.add(ann);
  setup.at(200);
  assert.deepEqual(setup.disconnected, []);
  setup.at(270);
  assert.deepEqual(written(ann).at(-1), `token_expiring ${START + 300_000}`);
  setup.at(325);
  assert.deepEqual(setup.disconnected, ["ann"]);
});

Deno.test("a client whose token expires sooner than in 30 s is warned at the next check", () => {
  using setup = new Setup();
  const ann = setup.add("ann", 10);
  const late = setup.add("late", -4);
  setup.at(1);
  assert.equal(written(ann).length, 1);
  assert.equal(written(late).length, 1);
  setup.at(21);
  assert.deepEqual(setup.disconnected, ["late"]);
});

Deno.test("a clock that jumps ahead disconnects the clients whose time has come", () => {
  using setup = new Setup();
  setup.add("ann", 100);
  setup.add("bob", 5000);
  setup.at(4000);
  setup.at(4001);
  assert.deepEqual(setup.disconnected, ["ann"]);
});

Deno.test("nothing is due for a client that has left, or whose token never expires", () => {
  using setup = new Setup();
  const ann = setup.add("ann", 100);
  const bob = setup.add("bob");
  setup.expiries.delete(ann);
  setup.expiries.delete(bob);
  setup.at(1000);
  assert.deepEqual([written(ann), written(bob)], [[], []]);
  assert.deepEqual(setup.disconnected, []);
});

Deno.test("without clients whose tokens expire, no timer runs", () => {
  const setup = new Setup();
  setup.add("bob");
  const ann = setup.add("ann", 100);
  setup.expiries.delete(ann);
  setup.add("eve", 10);
  setup.at(1);
  setup.at(35);
  assert.deepEqual(setup.disconnected, ["eve"]);
});
