/** Clients without a session, as streams of Server-Sent Events are. */
import assert from "node:assert/strict";
import { withGrants } from "../../../lib/access/principal.ts";
import type { Hello } from "../../../lib/clients/hello.ts";
import type { Position } from "../../../lib/recovery/join_request.ts";
import {
  ClientsSetup,
  FailingStore,
  failsWith,
} from "../../support/clients_setup.ts";
import { until } from "../../support/wait.ts";

/** Returns what a stream of these rooms sends. */
function stream(
  rooms: string[] | undefined,
  since?: Position,
  resumes = since !== undefined,
): Partial<Hello> {
  return { rooms, stream: { since, last: undefined, resumes } };
}

Deno.test("a stream is connected without a session, also if sessions cannot be stored", async () => {
  const sessions = new FailingStore();
  sessions.isDown = true;
  using setup = new ClientsSetup({ sessions });
  const { client, connection, secret } = await setup.connect(stream(["a"]));
  await setup.publish("a", "1");
  assert.deepEqual(connection.written, ["told a", "a 1"]);
  setup.clients.saveAll();
  setup.clients.dropped(client, true);
  sessions.isDown = false;
  const { recovered } = await setup.connect({ secret });
  assert.equal(recovered, false);
  assert.deepEqual(setup.sent, []);
});

Deno.test("a stream gets what it missed in all its rooms after one position, the gaps first", async () => {
  using setup = new ClientsSetup();
  const { epoch, id } = setup.log.head;
  await setup.publish("a", "1");
  await setup.publish("b", "2");
  await setup.publish("a", "3");
  const whole = await setup.connect(stream(["a", "b"], { epoch, id }));
  assert.deepEqual(whole.connection.written, [
    "a 1",
    "b 2",
    "a 3",
    "told a b",
  ]);
  assert.deepEqual(
    setup.observed.filter(({ kind }) => kind === "recovered"),
    [{ kind: "recovered", messages: 3 }],
  );
  // The ring and the history of `b` no longer have all messages after the position.
  setup.ring.reset(setup.log.head.id);
  await setup.log.history.clear("b");
  const gapped = await setup.connect(stream(["a", "b"], { epoch, id }));
  assert.deepEqual(gapped.connection.written, [
    `gap b trimmed ${id}`,
    "a 1",
    "a 3",
    "told a b",
  ]);
});

Deno.test("a stream that loses the right to a room is told, and is disconnected with its last room", async () => {
  using setup = new ClientsSetup();
  const grant = { by: "hook", actions: ["subscribe"] } as const;
  const principal = withGrants(
    setup.principal,
    new Map([["a", grant], ["b", grant]]),
  );
  const { connection } = await setup.connect({
    ...stream(["a", "b"]),
    principal,
  });
  const lose = async (room: string, isOpen: boolean): Promise<void> => {
    setup.forbidden.add(room);
    setup.clients.checkRevoked();
    const written = `left ${room} revoked`;
    await until("it is told", () => connection.written.includes(written));
    assert.equal(connection.isOpen, isOpen);
  };
  await lose("a", true);
  await lose("b", false);
  assert.equal(setup.clients.count, 0);
});

Deno.test("a stream that reconnects is told which rooms it may no longer be in, and a new stream is refused", async () => {
  using setup = new ClientsSetup();
  const { epoch, id } = setup.log.head;
  setup.forbidden.add("b");
  const { connection } = await setup.connect(
    stream(["a", "b"], { epoch, id }),
  );
  assert.deepEqual(connection.written, ["left b revoked", "told a"]);
  const kinds = setup.observed.map(({ kind }) => kind);
  assert.ok(!kinds.includes("recovered"), "it lacks a room");
  for (const hello of [stream(["a", "b"]), stream(["b"], { epoch, id })]) {
    await assert.rejects(
      setup.clients.admit(setup.hello(hello)),
      failsWith("unauthorized"),
    );
  }
});

Deno.test("a stream of the default rooms has the position in each of them", async () => {
  using setup = new ClientsSetup({ rooms: ["a", "b"] });
  const { epoch, id } = setup.log.head;
  await setup.publish("b", "1");
  const { connection } = await setup.connect(stream(undefined, { epoch, id }));
  assert.deepEqual(connection.written, ["b 1", "told a b"]);
  using none = new ClientsSetup({ rooms: [] });
  await assert.rejects(
    none.clients.admit(none.hello(stream(undefined))),
    failsWith("invalid_room"),
  );
});

Deno.test("a backend cannot put a stream into a room, but can take it out", async () => {
  using setup = new ClientsSetup();
  const { client, connection } = await setup.connect(stream(["a", "b"]));
  const { written } = connection;
  const told = written.length;
  const target = { by: "client", name: client.id } as const;
  const rooms = [["join", "c", "1-0"], ["leave", "a", "2-0"]] as const;
  for (const [kind, room, id] of rooms) {
    const added = setup.directives.add([{ kind, room, id, target }]);
    setup.clients.directed.apply(added);
  }
  await until("both are applied", () => client.directed === "2-0");
  assert.deepEqual([...client.rooms.keys()], ["b"]);
  assert.deepEqual(written.slice(told), ["left a removed"]);
});
