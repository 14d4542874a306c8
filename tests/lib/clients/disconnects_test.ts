import assert from "node:assert/strict";
import { makePrincipal } from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { Client } from "../../../lib/clients/client.ts";
import { Disconnects } from "../../../lib/clients/disconnects.ts";
import { Roster } from "../../../lib/clients/roster.ts";
import type {
  ClusterCommand,
  SessionResumed,
} from "../../../lib/cluster/cluster.ts";
import { FanOut } from "../../../lib/delivery/fanout.ts";
import { RecordingConnection } from "../../support/clients_setup.ts";

/** Connected clients, each in the room `chat`, with a record of what is done with their sessions. */
class Setup {
  readonly fanOut = new FanOut({
    clientBufferBytesMax: 1000,
    latestOnly: () => false,
    observe: () => {},
  });
  readonly roster = new Roster({ fanOut: this.fanOut, changed: () => {} });
  /** The calls for sessions, each as the method and the session's digest. */
  readonly sessionCalls: string[] = [];
  readonly sent: ClusterCommand[] = [];
  /** The clients that were reported as no longer connected. */
  readonly disconnected: Client[] = [];
  /** Passes on a command as if another node had sent it. */
  receive: (command: SessionResumed) => void = () => {};
  readonly disconnects = new Disconnects({
    roster: this.roster,
    writer: {
      save: ({ digest }) => this.#record("save", digest),
      release: ({ digest }) => this.#record("release", digest),
      forget: ({ digest }) => this.#record("forget", digest),
      resumedElsewhere: (digest) => this.#record("resumedElsewhere", digest),
    },
    cluster: {
      send: (command) => void this.sent.push(command),
      onCommand: (_, handle) => this.receive = handle as typeof this.receive,
    },
    disconnected: (client) => void this.disconnected.push(client),
  });

  /** Adds a client that is connected and in the room `chat`. */
  add(digest: string, generation = 1) {
    const client = new Client({
      principal: makePrincipal({ kind: "anonymous", rights: new Rights([]) }),
      digest,
      generation,
      resumedVersion: undefined,
      rooms: new Map([["chat", { since: "1-0" }]]),
    });
    const connection = new RecordingConnection();
    client.subscriber = connection;
    this.roster.add(client);
    this.roster.join(client, connection, "chat");
    return { client, connection };
  }

  #record(method: string, digest: string): void {
    this.sessionCalls.push(`${method} ${digest}`);
  }
}

Deno.test("disconnect() closes a client's connection, takes the client out of its rooms, and keeps its session", () => {
  const setup = new Setup();
  const { client, connection } = setup.add("a");
  const other = setup.add("b");
  setup.disconnects.disconnect(client);
  assert.equal(connection.isOpen, false);
  assert.equal(connection.isDismissed, false);
  assert.equal(client.subscriber, undefined);
  assert.deepEqual([...client.rooms.keys()], ["chat"]);
  assert.deepEqual([...setup.roster], [other.client]);
  assert.equal(setup.roster.clientsIn("chat"), 1);
  assert.deepEqual(setup.disconnected, [client]);
  assert.deepEqual(setup.sessionCalls, ["release a"]);
});

Deno.test("end() deletes a client's session, and dismisses the client unless it may return", () => {
  for (const mayReturn of [false, true]) {
    const setup = new Setup();
    const { client, connection } = setup.add("a");
    setup.disconnects.end(client, mayReturn);
    assert.equal(connection.isOpen, false);
    assert.equal(connection.isDismissed, !mayReturn);
    assert.equal(setup.roster.count, 0);
    assert.deepEqual(setup.sessionCalls, ["release a", "forget a"]);
  }
});

Deno.test("dropped() saves that a client was disconnected as slow, and deletes the session of a client that has left", () => {
  for (
    const [isSlow, hasLeft, calls] of [
      [false, false, []],
      [true, false, ["save a"]],
      [false, true, ["forget a"]],
    ] as const
  ) {
    const setup = new Setup();
    const { client, connection } = setup.add("a");
    connection.disconnectedAsSlow = isSlow;
    setup.disconnects.dropped(client, hasLeft);
    assert.equal(client.overloaded, isSlow);
    assert.equal(connection.roomCount, 0);
    assert.deepEqual(setup.sessionCalls, ["release a", ...calls]);
  }
});

Deno.test("dropped() changes nothing for a client that is already disconnected", () => {
  const setup = new Setup();
  const { client } = setup.add("a");
  setup.disconnects.disconnect(client);
  const calls = [...setup.sessionCalls];
  setup.disconnects.dropped(client, true);
  assert.deepEqual(setup.sessionCalls, calls);
  assert.deepEqual(setup.disconnected, [client]);
});

Deno.test("replaceOlder() disconnects the session's other client of this node, and tells the other nodes", () => {
  const setup = new Setup();
  const older = setup.add("a");
  const newer = new Client({
    principal: older.client.principal,
    digest: "a",
    generation: 2,
    resumedVersion: undefined,
    rooms: new Map(),
  });
  setup.disconnects.replaceOlder(newer);
  assert.equal(older.connection.isOpen, false);
  assert.deepEqual(setup.sent, [
    { kind: "session_resumed", digest: "a", generation: 2 },
  ]);
});

Deno.test("a client is disconnected if another node has resumed its session with a higher generation", () => {
  const setup = new Setup();
  const { connection } = setup.add("a", 2);
  setup.receive({ kind: "session_resumed", digest: "a", generation: 2 });
  assert.ok(connection.isOpen);
  assert.deepEqual(setup.sessionCalls, []);
  setup.receive({ kind: "session_resumed", digest: "a", generation: 3 });
  assert.equal(connection.isOpen, false);
  assert.deepEqual(setup.sessionCalls, ["release a", "resumedElsewhere a"]);
});
