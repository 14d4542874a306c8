/** Tests which notices are sent again at a client's next connect, and which ones the client has confirmed. */
import assert from "node:assert/strict";
import { makePrincipal } from "../../../lib/access/principal.ts";
import type { Shown } from "../../../lib/clients/missed.ts";
import type { GapNotice } from "../../../lib/delivery/subscriber.ts";
import { ApiError } from "../../../lib/errors.ts";
import { IngressGaps } from "../../../lib/log/gaps.ts";
import { hashSessionSecret } from "../../../lib/sessions/session.ts";
import {
  MemorySessionStore,
  type SessionToSave,
} from "../../../lib/sessions/store.ts";
import {
  ClientsSetup,
  type Connected,
  failsWith,
  RecordingConnection,
} from "../../support/clients_setup.ts";
import { pauseFor, soon, until } from "../../support/wait.ts";

/** A session store in which a test can hold up each save, until the test calls `finish()` or `fail()` for it. */
class SlowStore extends MemorySessionStore {
  isSlow = false;
  readonly held: { finish: () => void; fail: () => void }[] = [];

  override async save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>> {
    if (this.isSlow) {
      await new Promise<void>((resolve, reject) =>
        this.held.push({
          finish: resolve,
          fail: () => reject(new ApiError("log_timeout", "Cannot: it is slow")),
        })
      );
    }
    return await super.save(sessions, seconds);
  }
}

/** Waits until the id at which a room's notice was sent, as stored in the client's session, satisfies `condition`. */
async function savedWith(
  { sessions }: ClientsSetup,
  { secret }: Connected,
  condition: (at: string | undefined) => boolean,
  room: string,
): Promise<void> {
  await until("the session is saved", async () => {
    const stored = await sessions.load(hashSessionSecret(secret));
    const [, position] = stored?.session.rooms.find(([name]) =>
      name === room
    ) ?? [];
    return condition(position?.notice?.at);
  });
}

/** Publishes a message and lets a client reconnect with the id of that message as its offset. */
async function resumeAfterMessage(
  setup: ClientsSetup,
  ann: Connected,
): Promise<Connected> {
  await setup.publish("chat", '"later"');
  const { id } = setup.log.head;
  setup.clients.dropped(ann.client, false);
  return await setup.connect({ secret: ann.secret, shown: { id } });
}

Deno.test("a client confirms a gap that was sent at connect by reconnecting with the id of a later message", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect({ secret: "unknown" });
  const { id } = setup.log.head;
  await savedWith(setup, ann, (at) => at === id, "chat");
  const { recovered, connection } = await resumeAfterMessage(setup, ann);
  assert.equal(recovered, true);
  assert.deepEqual(connection.written, ["told chat"]);
});

Deno.test("the offset of an earlier session does not confirm a gap that was sent at connect", async () => {
  using setup = new ClientsSetup();
  const { id } = setup.log.head;
  const shown = { id, confirms: { generation: 1, number: 3 } };
  const ann = await setup.connect({ secret: "unknown", shown });
  // The connection breaks before the gap arrives, so the offset stays the same.
  setup.clients.dropped(ann.client, false);
  const { recovered, connection } = await setup.connect({
    secret: ann.secret,
    shown,
  });
  assert.equal(recovered, false);
  assert.deepEqual(connection.written, [
    `gap chat expired ${id}`,
    "told chat",
  ]);
});

Deno.test("a client confirms the messages of a join answer by reconnecting with the id of a later message", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  await setup.publish("a", "1");
  const { id } = setup.log.head;
  await setup.join(ann, { room: "a", last: 5 });
  await savedWith(setup, ann, (at) => at === id, "a");
  const { connection } = await resumeAfterMessage(setup, ann);
  assert.deepEqual(connection.written, ["told chat a"]);
});

/**
 * Connects a client, and loses the answer to its join of a room with two messages, which are older than the last message
 * that it has received. Returns the id of the first of them, the client's offset, and a function that reconnects the
 * client with an offset and returns what the client is sent.
 */
async function loseAnswer(setup: ClientsSetup) {
  let ann = await setup.connect();
  await setup.publish("a", "1");
  const { id: first } = setup.log.head;
  await setup.publish("a", "2");
  await setup.publish("chat", "3");
  const { id } = setup.log.head;
  await setup.join(ann, { room: "a", last: 5 });
  const reconnect = async (shown: Shown | undefined) => {
    setup.clients.dropped(ann.client, false);
    ann = await setup.connect({ secret: ann.secret, shown });
    assert.equal(ann.recovered, true);
    return ann.connection;
  };
  return { first, offset: { id }, reconnect };
}

Deno.test("a client gets the messages of a lost join answer at each connect until the event after them has arrived", async () => {
  using setup = new ClientsSetup();
  const { offset, reconnect } = await loseAnswer(setup);
  const all = ["a 1", "a 2", "told chat a"];
  // Nothing arrives over the first of these connections, so the offset stays the same.
  assert.deepEqual((await reconnect(offset)).written, all);
  const { written, shown } = await reconnect(offset);
  assert.deepEqual(written, all);
  assert.deepEqual((await reconnect(shown)).written, ["told chat a"]);
});

Deno.test("a client gets the messages of a lost join answer once, even if the next connection breaks between them", async () => {
  using setup = new ClientsSetup();
  const { first, offset, reconnect } = await loseAnswer(setup);
  await reconnect(offset);
  const { written, shown } = await reconnect({ id: first });
  assert.deepEqual(written, ["a 2", "told chat a"]);
  assert.deepEqual((await reconnect(shown)).written, ["told chat a"]);
});

Deno.test("a client whose session has ended gets the messages before its offset that it has asked for, even if its connection breaks before they arrive", async () => {
  using setup = new ClientsSetup();
  await setup.publish("a", "1");
  await setup.publish("chat", "2");
  const shown = { id: setup.log.head.id };
  const ann = await setup.connect({
    secret: "unknown",
    shown,
    rooms: [{ room: "a", last: 5 }],
  });
  setup.clients.dropped(ann.client, false);
  const { recovered, connection } = await setup.connect({
    secret: ann.secret,
    shown,
  });
  assert.equal(recovered, true);
  assert.deepEqual(connection.written, ["a 1", "told a"]);
});

Deno.test("an offset with an id from before a loss of messages does not confirm the gap `epoch` of this loss", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  const { id } = setup.log.head;
  const time = Number(id.split("-")[0]);
  // The log had reached a later id than the one at which the gap was sent.
  const since = `${time + 1}-0`;
  setup.head = { id: since };
  setup.clients.gap("epoch", id, since);
  await savedWith(setup, ann, (at) => at === since, "chat");
  setup.clients.dropped(ann.client, false);
  const { recovered, connection } = await setup.connect({
    secret: ann.secret,
    shown: { id: since },
  });
  assert.equal(recovered, false);
  assert.deepEqual(connection.written, [
    `gap chat epoch ${since}`,
    "told chat",
  ]);
});

Deno.test("welcome() returns false if, since admit(), a gap was found in a room of a client that would be reported as recovered", async () => {
  using setup = new ClientsSetup();
  const { client, secret, connection: { shown } } = await setup.connect();
  setup.clients.dropped(client, false);
  const admission = await setup.clients.admit(setup.hello({ secret, shown }));
  await setup.publish("other", "1");
  assert.ok(setup.log.gaps instanceof IngressGaps);
  setup.log.gaps.add(setup.log.head.id, ["chat"]);
  const connection = new RecordingConnection();
  assert.equal(
    setup.clients.welcome(admission, connection, connection.tell),
    false,
  );
  assert.deepEqual(connection.written, []);
  // The session was kept, so that the client receives the gap when it reconnects.
  const again = await setup.connect({ secret, shown });
  assert.equal(again.recovered, false);
  assert.deepEqual(again.connection.written, [
    `gap chat ingress ${shown?.id}`,
    "told chat",
  ]);
});

Deno.test("a client is told of an ingress gap before the messages around it, and its offset does not change until they arrive", async () => {
  using setup = new ClientsSetup();
  const { client, secret, connection: { shown } } = await setup.connect();
  setup.clients.dropped(client, false);
  await setup.publish("chat", "1");
  await setup.publish("other", "2");
  assert.ok(setup.log.gaps instanceof IngressGaps);
  setup.log.gaps.add(setup.log.head.id, ["chat"]);
  await setup.publish("chat", "3");
  const since = shown?.id;
  const named = [{ room: "other", last: 1 }, { room: "chat", since }];
  for (const hello of [{ secret, shown }, { rooms: named }]) {
    const connection = new RecordingConnection();
    const ids: string[] = [];
    const { encoder } = connection;
    const gap = (notice: GapNotice) => {
      ids.push(notice.id);
      return encoder.gap(notice);
    };
    Object.assign(connection, { encoder: { ...encoder, gap } });
    const admission = await setup.clients.admit(setup.hello(hello));
    setup.clients.welcome(admission, connection, connection.tell);
    assert.deepEqual(
      connection.written.filter((text) => / chat |^chat /.test(text)),
      [`gap chat ingress ${since}`, "chat 1", "chat 3"],
    );
    assert.deepEqual(ids, [since]);
  }
});

Deno.test("join() answers a client's joins in the order of their numbers even if their saves finish out of order", async () => {
  const sessions = new SlowStore();
  using setup = new ClientsSetup({ sessions });
  const ann = await setup.connect();
  for (const room of ["a", "b"]) await setup.publish(room, "1");
  sessions.isSlow = true;
  const first = setup.join(ann, { room: "a", last: 5 });
  await until("the first is being saved", () => sessions.held.length === 1);
  const second = setup.join(ann, { room: "b", last: 5 });
  await until("the second is being saved", () => sessions.held.length === 2);
  sessions.isSlow = false;
  sessions.held[1]?.finish();
  await soon(second, "the second join");
  sessions.held[0]?.finish();
  await soon(first, "the first join");
  assert.deepEqual(
    ann.connection.told.slice(1).map(({ notice }) =>
      `${notice?.room} ${notice?.number}`
    ),
    ["b 3", "a 4"],
  );
});

Deno.test("leave() removes a client from a room even if the client disconnects meanwhile and saving its session fails", async () => {
  const sessions = new SlowStore();
  using setup = new ClientsSetup({ sessions });
  const { client, connection } = await setup.connect();
  sessions.isSlow = true;
  const left = setup.clients.leave(client, "chat");
  await until("the session is being saved", () => sessions.held.length === 1);
  setup.clients.dropped(client, false);
  sessions.isSlow = false;
  sessions.held[0]?.fail();
  await assert.rejects(soon(left, "the request"), /could not save/);
  assert.equal(connection.roomCount, 0);
  await setup.publish("chat", "1");
  assert.deepEqual(connection.written, ["told chat"]);
});

Deno.test("a client that is leaving a room receives nothing of it once its right has ended, even if saving fails", async () => {
  for (const isSaved of [true, false]) {
    const sessions = new SlowStore();
    using setup = new ClientsSetup({ sessions });
    const principal = makePrincipal({
      kind: "client",
      user: "ann",
      rights: setup.principal.rights,
    });
    const ann = await setup.connect({ principal });
    const { client, connection } = ann;
    sessions.isSlow = true;
    const left = setup.clients.leave(client, "chat");
    await until("the session is being saved", () => sessions.held.length === 1);
    setup.forbidden.add("chat");
    setup.clients.refresh(client, principal);
    await setup.publish("chat", "1");
    // The right to be in the room comes back, but the client has left it.
    setup.forbidden.delete("chat");
    setup.clients.refresh(client, principal);
    sessions.isSlow = false;
    if (isSaved) sessions.held[0]?.finish();
    else sessions.held[0]?.fail();
    await soon(left, "the request");
    await setup.publish("chat", "2");
    assert.deepEqual(connection.written, ["told chat"]);
    assert.equal(connection.roomCount, 0);
    assert.deepEqual([...client.rooms.keys()], []);
  }
});

Deno.test("join() does nothing if the client disconnects while an earlier request for the room is handled", async () => {
  const sessions = new SlowStore();
  using setup = new ClientsSetup({ sessions });
  const ann = await setup.connect();
  sessions.isSlow = true;
  const requests = [
    setup.clients.leave(ann.client, "chat"),
    setup.join(ann, { room: "chat" }),
  ];
  await until("the session is being saved", () => sessions.held.length === 1);
  setup.clients.dropped(ann.client, false);
  sessions.isSlow = false;
  sessions.held[0]?.finish();
  await soon(Promise.all(requests), "the requests end");
  assert.deepEqual([...ann.client.rooms.keys()], []);
});

Deno.test("saveAll() does not save the session of a client that has disconnected", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  const bob = await setup.connect();
  setup.clients.dropped(ann.client, false);
  const digests = [ann, bob].map(({ secret }) => hashSessionSecret(secret));
  for (const [index, { client }] of [ann, bob].entries()) {
    await setup.sessions.forget(digests[index] ?? "", client.owner);
  }
  setup.clients.saveAll();
  await until(
    "the other session is saved",
    async () => await setup.sessions.load(digests[1] ?? "") !== undefined,
  );
  assert.equal(await setup.sessions.load(digests[0] ?? ""), undefined);
});

Deno.test("a client receives the gap `epoch` if its session has another lineage or its offset has an id of another log", async () => {
  for (const isOtherLineage of [true, false]) {
    using setup = new ClientsSetup();
    const { client, secret, connection: { shown } } = await setup.connect();
    setup.clients.dropped(client, false);
    if (isOtherLineage) setup.head = { lineage: "other" };
    else {
      setup.log.knows = () => false;
      setup.log.contains = () => Promise.resolve(false);
    }
    const { recovered, connection } = await setup.connect({ secret, shown });
    assert.equal(recovered, false);
    assert.deepEqual(connection.written, [
      `gap chat epoch ${shown?.id}`,
      "told chat",
    ]);
  }
});

Deno.test("a client whose session has no rooms is not told that it has recovered if the session may lack rooms", async () => {
  for (const isOtherLineage of [false, true]) {
    using setup = new ClientsSetup();
    const { client, secret, connection: { shown } } = await setup.connect();
    await setup.clients.leave(client, "chat");
    setup.clients.dropped(client, false);
    if (isOtherLineage) setup.head = { lineage: "other" };
    const { recovered } = await setup.connect({ secret, shown });
    assert.equal(recovered, !isOtherLineage);
  }
});

Deno.test("the id in a client's offset is not looked up if the client is gone", async () => {
  for (const isOpen of [true, false]) {
    using setup = new ClientsSetup();
    const { client, secret, connection: { shown } } = await setup.connect();
    setup.clients.dropped(client, false);
    setup.log.knows = () => false;
    let lookups = 0;
    setup.log.contains = () => Promise.resolve(++lookups > 0);
    const hello = setup.hello({ secret, shown, isOpen: () => isOpen });
    const admitted = setup.clients.admit(hello);
    if (isOpen) setup.clients.abandon(await admitted);
    else await assert.rejects(admitted, failsWith("overloaded"));
    assert.equal(lookups, isOpen ? 1 : 0);
  }
});

Deno.test("admit() waits to resume a session until all nodes have confirmed that Redis still has the log", async () => {
  using setup = new ClientsSetup();
  const { client, secret, connection: { shown } } = await setup.connect();
  setup.clients.dropped(client, false);
  setup.head = { confirmed: false };
  let isConnected = false;
  const connecting = setup.connect({ secret, shown }).then((connected) => {
    isConnected = true;
    return connected;
  });
  await pauseFor(150);
  assert.equal(isConnected, false);
  setup.head = {};
  const { recovered } = await soon(connecting, "the client connects");
  assert.equal(recovered, true);
});

Deno.test("a client that resumes its session is also in the room that the client's older connection joins meanwhile", async () => {
  const sessions = new SlowStore();
  using setup = new ClientsSetup({ sessions });
  const older = await setup.connect();
  const { secret, connection: { shown } } = older;
  sessions.isSlow = true;
  const resuming = setup.connect({ secret, shown });
  await until("the session is being saved", () => sessions.held.length === 1);
  sessions.isSlow = false;
  await setup.join(older, { room: "a" });
  sessions.held[0]?.finish();
  const { client, recovered } = await soon(resuming, "the session is resumed");
  assert.equal(recovered, true);
  assert.deepEqual([...client.rooms.keys()], ["chat", "a"]);
});
