import assert from "node:assert/strict";
import { makePrincipal, withGrant } from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { Client } from "../../../lib/clients/client.ts";
import { Expiries } from "../../../lib/clients/expiries.ts";
import { FanOut } from "../../../lib/delivery/fanout.ts";
import { RecordingConnection } from "../../support/clients_setup.ts";
import { until } from "../../support/wait.ts";

const START = 1_000_000_000_000;
const RIGHTS = new Rights([{ rooms: ["*"], actions: ["subscribe"] }]);

/** A list of clients with a clock that tests move. */
class Setup implements Disposable {
  nowMs = START;
  readonly disconnected: string[] = [];
  readonly ended: string[] = [];
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
    endGrant: (client, room) => {
      this.ended.push(`${client.digest} ${room}`);
      client.principal = withGrant(client.principal, room, undefined);
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
    this.expiries.update(client);
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
  setup.expiries.update(ann);
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

Deno.test("a node's only client is checked also if its token and grants are updated all the time", async () => {
  using setup = new Setup();
  const ann = setup.add("ann", 10);
  await until("it is warned", () => {
    setup.expiries.update(ann);
    return written(ann).length > 0;
  });
  setup.nowMs = START + 35_000;
  await until("it is disconnected", () => {
    if (ann.subscriber !== undefined) setup.expiries.update(ann);
    return setup.disconnected.length > 0;
  });
});

Deno.test("a grant is ended 25 s after it expires, and the client is warned and disconnected as without it", () => {
  using setup = new Setup();
  const ann = setup.add("ann", 100);
  for (const [room, seconds] of [["a", 50], ["b", 80], ["c", 110]] as const) {
    const expiresAt = START + seconds * 1000;
    ann.principal = withGrant(ann.principal, room, {
      by: "token",
      actions: ["subscribe"],
      expiresAt,
    });
    setup.expiries.update(ann);
  }
  const forever = { by: "hook", actions: ["subscribe"] } as const;
  ann.principal = withGrant(ann.principal, "d", forever);
  setup.expiries.update(ann);
  setup.at(74);
  assert.deepEqual([setup.ended, written(ann).length], [[], 1]);
  setup.at(75);
  setup.at(104);
  assert.deepEqual(setup.ended, ["ann a"]);
  setup.at(105);
  assert.deepEqual(setup.ended, ["ann a", "ann b"]);
  assert.deepEqual(written(ann), [`token_expiring ${START + 100_000}`]);
  assert.deepEqual(setup.disconnected, []);
  setup.at(125);
  assert.deepEqual(setup.disconnected, ["ann"]);
  assert.deepEqual(setup.ended, ["ann a", "ann b"]);
});

Deno.test("a grant that is renewed in time is not ended, and one that is replaced by a shorter one is ended sooner", () => {
  using setup = new Setup();
  const ann = setup.add("ann");
  const give = (seconds: number) => {
    const expiresAt = START + seconds * 1000;
    ann.principal = withGrant(ann.principal, "a", {
      by: "token",
      actions: ["subscribe"],
      expiresAt,
    });
    setup.expiries.update(ann);
  };
  give(10);
  setup.at(30);
  give(100);
  setup.at(35);
  assert.deepEqual(setup.ended, []);
  give(20);
  setup.at(45);
  assert.deepEqual(setup.ended, ["ann a"]);
});
