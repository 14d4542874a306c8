import assert from "node:assert/strict";
import { makePrincipal } from "../../../lib/access/principal.ts";
import { hashSessionSecret } from "../../../lib/sessions/session.ts";
import {
  ClientsSetup,
  type Connected,
  FailingStore,
  failsWith,
  RecordingConnection,
} from "../../support/clients_setup.ts";
import { soon, until } from "../../support/wait.ts";

/** Returns what was written to a client, without the first `count` writes. */
function since({ connection }: Connected, count: number): string[] {
  return connection.written.slice(count);
}

Deno.test("a new client joins the default rooms and gets the messages that are published afterwards", async () => {
  using setup = new ClientsSetup({ rooms: ["chat", "news"] });
  await setup.publish("chat", "1");
  const { recovered, connection } = await setup.connect();
  await setup.publish("chat", "2");
  await setup.publish("other", "3");
  await setup.publish("news", "4");
  assert.equal(recovered, false);
  assert.deepEqual(connection.written, ["told chat news", "chat 2", "news 4"]);
  const [joined] = connection.told;
  assert.equal(joined?.notice, undefined);
  assert.equal(
    joined?.position,
    `${setup.log.head.epoch}.${joined?.id}`,
  );
});

Deno.test("a client that requests a room twice at connect joins it once, and gets earlier messages before the event `joined`", async () => {
  using setup = new ClientsSetup();
  for (const json of ["1", "2", "3"]) await setup.publish("a", json);
  await setup.publish("b", "4");
  const { connection } = await setup.connect({
    rooms: ["a", { room: "b", last: 5 }, { room: "a", last: 2 }],
  });
  assert.deepEqual(connection.written, ["a 2", "a 3", "b 4", "told a b"]);
});

Deno.test("a client that resumes its session gets the missed messages of all its rooms once and in order", async () => {
  using setup = new ClientsSetup({ rooms: ["a", "b"] });
  const first = await setup.connect();
  await setup.publish("a", "1");
  setup.clients.dropped(first.client, false);
  await setup.publish("b", "2");
  await setup.publish("a", "3");
  const second = await setup.connect({
    secret: first.secret,
    shown: { id: setup.ring.after("a", "0-0")[0]?.id },
  });
  await setup.publish("a", "4");
  assert.equal(second.recovered, true);
  assert.equal(second.secret, first.secret);
  assert.equal(second.client.generation, 2);
  assert.deepEqual(second.connection.written, [
    "b 2",
    "a 3",
    "told a b",
    "a 4",
  ]);
  assert.deepEqual(first.connection.written, ["told a b", "a 1"]);
  assert.deepEqual(
    setup.observed.filter(({ kind }) => kind === "recovered"),
    [{ kind: "recovered", messages: 2 }],
  );
});

Deno.test("a message that is delivered between admit() and welcome() is sent exactly once", async () => {
  using setup = new ClientsSetup();
  const first = await setup.connect();
  setup.clients.dropped(first.client, false);
  await setup.publish("chat", "1");
  const admission = await setup.clients.admit(setup.hello({
    secret: first.secret,
    shown: first.connection.shown,
  }));
  await setup.publish("chat", "2");
  const connection = new RecordingConnection();
  assert.ok(setup.clients.welcome(admission, connection, connection.tell));
  await setup.publish("chat", "3");
  assert.deepEqual(connection.written, [
    "chat 1",
    "chat 2",
    "told chat",
    "chat 3",
  ]);
});

Deno.test("welcome() disconnects the session's older connection, on this node and on others", async () => {
  using setup = new ClientsSetup();
  const first = await setup.connect();
  const second = await setup.connect({
    secret: first.secret,
    shown: first.connection.shown,
  });
  assert.equal(first.connection.isOpen, false);
  assert.equal(setup.clients.count, 1);
  const digest = hashSessionSecret(first.secret);
  assert.deepEqual(setup.sent, [
    { kind: "session_resumed", digest, generation: 2 },
  ]);
  await setup.publish("chat", "1");
  assert.deepEqual(since(first, 1), []);
  assert.deepEqual(since(second, 1), ["chat 1"]);
  // Commands of other nodes: an old one, one about another session, and a new one.
  setup.receive({ kind: "session_resumed", digest, generation: 2 });
  setup.receive({ kind: "session_resumed", digest: "x", generation: 9 });
  assert.equal(second.connection.isOpen, true);
  setup.receive({ kind: "session_resumed", digest, generation: 3 });
  assert.equal(second.connection.isOpen, false);
  assert.equal(setup.clients.count, 0);
});

Deno.test("if several connections resume one session at once, only the last one stays open", async () => {
  using setup = new ClientsSetup();
  const first = await setup.connect();
  const { secret, connection: { shown } } = first;
  const several = await Promise.all([
    setup.connect({ secret, shown }),
    setup.connect({ secret, shown }),
  ]);
  assert.deepEqual(
    several.map(({ recovered, client }) => [recovered, client.generation]),
    [[true, 2], [true, 3]],
  );
  assert.deepEqual(
    several.map(({ connection }) => connection.isOpen),
    [false, true],
  );
  assert.equal(setup.clients.count, 1);
});

Deno.test("admit() does not retry for a closed connection if another connection has resumed the session", async () => {
  using setup = new ClientsSetup();
  const { secret } = await setup.connect();
  const [kept, given] = await Promise.allSettled([
    setup.connect({ secret }),
    setup.connect({ secret, isOpen: () => false }),
  ]);
  assert.equal(kept?.status, "fulfilled");
  assert.ok(given?.status === "rejected");
  assert.ok(failsWith("overloaded")(given.reason));
});

Deno.test("a client whose session is gone receives a gap in every room for which it names no position", async () => {
  using setup = new ClientsSetup();
  await setup.publish("b", "1");
  const position = { epoch: setup.log.head.epoch, id: setup.log.head.id };
  await setup.publish("b", "2");
  for (const secret of ["unknown", null]) {
    const { recovered, connection } = await setup.connect({
      secret,
      rooms: ["a", { room: "b", since: `${position.epoch}.${position.id}` }],
    });
    assert.equal(recovered, false);
    assert.deepEqual(connection.written, [
      "b 2",
      "gap a expired null",
      "told a b",
    ]);
    assert.deepEqual(connection.told[0]?.notice, {
      room: "a",
      generation: 1,
      number: 1,
    });
  }
  const { connection } = await setup.connect({
    secret: "unknown",
    shown: { id: "1-1" },
  });
  assert.deepEqual(connection.written, ["gap chat epoch 1-1", "told chat"]);
});

Deno.test("a gap that was sent at connect is sent again until the client confirms it", async () => {
  using setup = new ClientsSetup();
  const first = await setup.connect({ secret: "unknown" });
  setup.clients.dropped(first.client, false);
  const { secret } = first;
  const id = first.connection.told[0]?.id;
  const second = await setup.connect({ secret, shown: { id } });
  assert.equal(second.recovered, false);
  assert.deepEqual(second.connection.written, [
    `gap chat expired ${id}`,
    "told chat",
  ]);
  setup.clients.dropped(second.client, false);
  const third = await setup.connect({
    secret: second.secret,
    shown: second.connection.shown,
  });
  assert.equal(third.recovered, true);
  assert.deepEqual(third.connection.written, ["told chat"]);
});

Deno.test("join() answers with the missed messages in the same synchronous step in which the client joins", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  for (const json of ["1", "2", "3"]) await setup.publish("a", json);
  await setup.join(ann, { room: "a", last: 2 });
  await setup.publish("a", "4");
  assert.deepEqual(since(ann, 1), ["told a", "a 4"]);
  const [, joined] = ann.connection.told;
  assert.deepEqual(
    joined?.rooms[0]?.messages.map(({ json }) => json),
    ["2", "3"],
  );
  assert.deepEqual(joined?.notice, { room: "a", generation: 1, number: 2 });
  // The client is in the room already.
  await setup.join(ann, { room: "a", last: 1 });
  await setup.publish("a", "5");
  assert.deepEqual(since(ann, 3), ["told a", "a 5"]);
  assert.equal(ann.connection.told[2]?.notice, undefined);
});

Deno.test("join() sends a gap before the answer", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  await setup.join(ann, { room: "a", since: null });
  assert.deepEqual(since(ann, 1), ["gap a position null", "told a"]);
  assert.deepEqual(ann.connection.told[1]?.notice, {
    room: "a",
    generation: 1,
    number: 2,
  });
});

Deno.test("the messages of a join answer are replayed at the next connect unless the client confirms them", async () => {
  for (const isConfirmed of [false, true]) {
    using setup = new ClientsSetup();
    const ann = await setup.connect();
    await setup.publish("a", "1");
    await setup.join(ann, { room: "a", last: 5 });
    setup.clients.dropped(ann.client, false);
    const shown = isConfirmed
      ? ann.connection.shown
      : { id: ann.connection.told[0]?.id };
    const { recovered, connection } = await setup.connect({
      secret: ann.secret,
      shown,
    });
    assert.equal(recovered, true);
    assert.deepEqual(connection.written, [
      ...isConfirmed ? [] : ["a 1"],
      "told chat a",
    ]);
  }
});

Deno.test("leave() ends the subscription to a room, also after a reconnect", async () => {
  using setup = new ClientsSetup({ rooms: ["a", "b"] });
  const ann = await setup.connect();
  await soon(setup.clients.leave(ann.client, "a"), "left");
  await soon(setup.clients.leave(ann.client, "nowhere"), "left");
  await setup.publish("a", "1");
  await setup.publish("b", "2");
  assert.deepEqual(since(ann, 1), ["b 2"]);
  setup.clients.dropped(ann.client, false);
  const again = await setup.connect({ secret: ann.secret });
  assert.deepEqual(again.connection.written, ["b 2", "told b"]);
});

Deno.test("join() and leave() for the same room are handled in the order of the calls", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  const { client, connection } = ann;
  await Promise.all([
    setup.join(ann, { room: "a" }),
    setup.clients.leave(client, "a"),
    setup.clients.join(client, { room: "b" }, connection.tell),
  ]);
  await setup.publish("a", "1");
  await setup.publish("b", "2");
  assert.deepEqual(since(ann, 1).toSorted(), ["b 2", "told a", "told b"]);
  assert.deepEqual([...client.rooms.keys()], ["chat", "b"]);
});

Deno.test("a client has at most `roomsPerClientMax` rooms, even if it joins several at the same time", async () => {
  using setup = new ClientsSetup({ roomsPerClientMax: 3 });
  await assert.rejects(
    setup.connect({ rooms: ["a", "b", "c", "d"] }),
    failsWith("too_many_rooms"),
  );
  const ann = await setup.connect({ rooms: ["a", "b"] });
  const outcomes = await Promise.allSettled(
    ["c", "d", "e"].map((room) => setup.join(ann, { room })),
  );
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["fulfilled", "rejected", "rejected"],
  );
  assert.deepEqual([...ann.client.rooms.keys()], ["a", "b", "c"]);
});

Deno.test("Clients checks access for every room at connect, in join(), and when a session is resumed", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect({ rooms: ["a", "b"] });
  setup.forbidden.add("b");
  await assert.rejects(
    setup.connect({ rooms: ["b"] }),
    failsWith("unauthorized"),
  );
  await assert.rejects(
    setup.join(ann, { room: "b" }),
    failsWith("unauthorized"),
  );
  setup.clients.dropped(ann.client, false);
  await setup.publish("a", "1");
  await setup.publish("b", "2");
  const again = await setup.connect({ secret: ann.secret });
  // The session is not reported as recovered, because the client may no longer join one of its rooms.
  assert.equal(again.recovered, false);
  assert.notEqual(again.secret, ann.secret);
  assert.deepEqual(again.connection.written, [
    "a 1",
    "left b revoked",
    "told a",
  ]);
});

Deno.test("a session is resumed only by its own user, and another one finds out nothing", async () => {
  using setup = new ClientsSetup();
  const { rights } = setup.principal;
  const user = (user: string | undefined) =>
    makePrincipal({ kind: "client", user, rights });
  const ann = await setup.connect({ principal: user("ann"), rooms: ["a"] });
  const { secret } = ann;
  for (const principal of [user("bob"), user(undefined), setup.principal]) {
    const other = await setup.connect({ principal, secret, rooms: ["b"] });
    assert.equal(other.recovered, false);
    assert.notEqual(other.secret, secret);
    assert.deepEqual([...other.client.rooms.keys()], ["b"]);
    assert.ok(ann.connection.isOpen, "the session is left alone");
    const unknown = await setup.connect({
      principal,
      secret: "unknown",
      rooms: ["b"],
    });
    assert.deepEqual(other.connection.written, unknown.connection.written);
  }
  const again = await setup.connect({ principal: user("ann"), secret });
  assert.equal(again.recovered, true);
  assert.deepEqual([...again.client.rooms.keys()], ["a"]);
  assert.ok(!ann.connection.isOpen);
});

Deno.test("a session without a user is not resumed by a user", async () => {
  using setup = new ClientsSetup();
  const { secret } = await setup.connect({ rooms: ["a"] });
  const { rights } = setup.principal;
  const principal = makePrincipal({ kind: "client", user: "ann", rights });
  const { recovered } = await setup.connect({ principal, secret, rooms: [] });
  assert.equal(recovered, false);
});

Deno.test("a session of a token without a user is not resumed without a token, nor the other way round", async () => {
  using setup = new ClientsSetup();
  const { rights } = setup.principal;
  const nameless = makePrincipal({ kind: "client", rights });
  for (
    const [owner, other] of [
      [nameless, setup.principal],
      [setup.principal, nameless],
    ] as const
  ) {
    const { client, secret } = await setup.connect({ principal: owner });
    const { recovered } = await setup.connect({ principal: other, secret });
    assert.equal(recovered, false);
    assert.ok(client.subscriber, "the session is left alone");
    assert.throws(
      () => setup.clients.refresh(client, other),
      failsWith("forbidden"),
    );
    const again = await setup.connect({ principal: owner, secret });
    assert.equal(again.recovered, true);
  }
});

Deno.test("refresh() is refused with the true reason if the server uses no tokens", async () => {
  using setup = new ClientsSetup();
  const { client } = await setup.connect();
  assert.throws(
    () => setup.clients.refresh(client, setup.principal),
    /uses no tokens/,
  );
});

Deno.test("a client that joins a room again is in it, even if its right ends and comes back meanwhile", async () => {
  using setup = new ClientsSetup();
  const { rights } = setup.principal;
  const principal = makePrincipal({ kind: "client", user: "ann", rights });
  const ann = await setup.connect({ principal, rooms: ["a"] });
  const joining = setup.join(ann, { room: "a", last: 5 });
  setup.forbidden.add("a");
  setup.clients.refresh(ann.client, principal);
  setup.forbidden.delete("a");
  setup.clients.refresh(ann.client, principal);
  await joining;
  await setup.publish("a", "1");
  assert.deepEqual(ann.connection.written, [
    "told a",
    "left a revoked",
    "told a",
    "a 1",
  ]);
});

Deno.test("a client that resumes its session also joins new rooms of its token, and not those it may no longer join", async () => {
  using setup = new ClientsSetup();
  const { rights } = setup.principal;
  const ann = (...rooms: string[]) =>
    makePrincipal({ kind: "client", user: "ann", rights, rooms });
  const { secret } = await setup.connect({ principal: ann("a"), rooms: ["x"] });
  const again = await setup.connect({ principal: ann("a", "b"), secret });
  assert.equal(again.recovered, true);
  assert.deepEqual([...again.client.rooms.keys()], ["a", "x", "b"]);
  setup.forbidden.add("x");
  const third = await setup.connect({ principal: ann("a", "b"), secret });
  assert.equal(third.recovered, false);
  assert.deepEqual([...third.client.rooms.keys()], ["a", "b"]);
  assert.deepEqual(third.connection.written, ["left x revoked", "told a b"]);
});

Deno.test("refresh() takes a client out of the rooms that its new token does not allow, also after a reconnect", async () => {
  using setup = new ClientsSetup();
  const { rights } = setup.principal;
  const principal = makePrincipal({ kind: "client", user: "ann", rights });
  const ann = await setup.connect({ principal, rooms: ["a", "b"] });
  setup.forbidden.add("b");
  setup.clients.refresh(ann.client, principal);
  assert.deepEqual([...ann.client.rooms.keys()], ["a"]);
  await setup.publish("b", "1");
  await setup.publish("a", "2");
  assert.deepEqual(ann.connection.written.slice(1), [
    "left b revoked",
    "a 2",
  ]);
  await until("the session is saved", async () => {
    const stored = await setup.sessions.load(hashSessionSecret(ann.secret));
    return stored?.session.rooms.length === 1;
  });
  const { secret } = ann;
  const again = await setup.connect({ principal, secret, shown: undefined });
  assert.equal(again.recovered, true);
  assert.deepEqual([...again.client.rooms.keys()], ["a"]);
});

Deno.test("refresh() refuses a token of another user, and changes nothing", async () => {
  using setup = new ClientsSetup();
  const { rights } = setup.principal;
  const of = (user: string | undefined) =>
    makePrincipal({ kind: "client", user, rights });
  const { client } = await setup.connect({ principal: of("ann") });
  for (const principal of [of("bob"), of(undefined), setup.principal]) {
    assert.throws(
      () => setup.clients.refresh(client, principal),
      failsWith("forbidden"),
    );
    assert.equal(client.user, "ann");
  }
});

Deno.test("a join that is in progress fails if the right to it ends, and leaves nothing behind", async () => {
  for (const isSecond of [false, true]) {
    using setup = new ClientsSetup();
    const { rights } = setup.principal;
    const principal = makePrincipal({ kind: "client", user: "ann", rights });
    const ann = await setup.connect({ principal, rooms: ["a"] });
    if (isSecond) await setup.join(ann, { room: "b" });
    const joining = setup.join(ann, { room: "b", last: 5 });
    setup.forbidden.add("b");
    setup.clients.refresh(ann.client, principal);
    await assert.rejects(joining, failsWith("unauthorized"));
    assert.deepEqual([...ann.client.rooms.keys()], ["a"]);
    const count = ann.connection.written.length;
    await setup.publish("b", "1");
    assert.equal(ann.connection.written.length, count);
  }
});

Deno.test("a client whose token has expired is disconnected, and resumes its session with a new one", async () => {
  using setup = new ClientsSetup();
  const { rights } = setup.principal;
  const ann = (expiresAt: number) =>
    makePrincipal({ kind: "client", user: "ann", rights, expiresAt });
  const { client, connection, secret } = await setup.connect({
    principal: ann(Date.now() - 25_000),
  });
  await until("the client is disconnected", () => !connection.isOpen);
  assert.equal(client.subscriber, undefined);
  const again = await setup.connect({
    principal: ann(Date.now() + 3_600_000),
    secret,
  });
  assert.equal(again.recovered, true);
});

Deno.test("a client that was disconnected as slow and missed trimmed messages receives the gap `overloaded`", async () => {
  using setup = new ClientsSetup({ ringBytes: 2000 });
  const ann = await setup.connect();
  const { secret, connection: { shown } } = ann;
  ann.connection.disconnectedAsSlow = true;
  setup.clients.dropped(ann.client, false);
  const digest = hashSessionSecret(secret);
  await until(
    "it is saved",
    async () =>
      (await setup.sessions.load(digest))?.session.overloaded === true,
  );
  await setup.log.append(
    Array.from({ length: 1100 }, () => ({ rooms: ["chat"], json: "1" })),
  );
  const { recovered, connection } = await setup.connect({ secret, shown });
  assert.equal(recovered, false);
  assert.deepEqual(connection.written, [
    `gap chat overloaded ${shown?.id}`,
    "told chat",
  ]);
});

Deno.test("gap() replaces all saved positions, and the gap is sent again until the client confirms it", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  const { secret, connection: { shown } } = ann;
  await setup.publish("chat", "1");
  const { id } = setup.log.head;
  setup.clients.gap("trimmed", id, shown?.id ?? "");
  const isSaved = async (): Promise<boolean> => {
    const stored = await setup.sessions.load(hashSessionSecret(secret));
    return stored?.session.rooms[0]?.[1].notice?.gap === "trimmed";
  };
  await until("the gap is saved", isSaved);
  setup.clients.dropped(ann.client, false);
  const unaware = await setup.connect({ secret, shown });
  assert.deepEqual(unaware.connection.written, [
    `gap chat trimmed ${shown?.id}`,
    "told chat",
  ]);
  const aware = await setup.connect({ secret, shown: { id } });
  assert.equal(aware.recovered, true);
});

Deno.test("a client connects without its session while the session store fails, and misses no message", async () => {
  const sessions = new FailingStore();
  using setup = new ClientsSetup({ sessions });
  const ann = await setup.connect();
  setup.clients.dropped(ann.client, false);
  await setup.publish("chat", "1");
  sessions.isDown = true;
  const { secret, connection: { shown } } = ann;
  const again = await setup.connect({ secret, shown });
  assert.equal(again.recovered, false);
  assert.deepEqual(again.connection.written, ["chat 1", "told chat"]);
  // A join or leave fails if it cannot be saved, because it would be lost if the client reconnects to another node.
  await assert.rejects(
    setup.join(again, { room: "a" }),
    failsWith("log_unreachable"),
  );
  await assert.rejects(
    setup.clients.leave(again.client, "chat"),
    failsWith("log_unreachable"),
  );
  assert.deepEqual([...again.client.rooms.keys()], ["chat"]);
  await setup.publish("a", "2");
  await setup.publish("chat", "3");
  assert.deepEqual(since(again, 2), ["chat 3"]);
  // The client's session is saved as soon as the store works again.
  sessions.isDown = false;
  const digest = hashSessionSecret(again.secret);
  await until(
    "the session is saved",
    async () => await sessions.load(digest) !== undefined,
  );
});

Deno.test("dropped() deletes the session of a client that has left permanently", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  setup.clients.dropped(ann.client, true);
  const digest = hashSessionSecret(ann.secret);
  await until(
    "the session is gone",
    async () => await setup.sessions.load(digest) === undefined,
  );
});

Deno.test("welcome() returns false and keeps the session if the log's epoch or lineage has changed since admit()", async () => {
  for (const change of [{ lineage: "other" }, { epoch: "other" }]) {
    using setup = new ClientsSetup();
    const admission = await setup.clients.admit(setup.hello());
    setup.head = change;
    const connection = new RecordingConnection();
    assert.equal(
      setup.clients.welcome(admission, connection, connection.tell),
      false,
    );
    assert.deepEqual(connection.written, []);
    await setup.publish("chat", "1");
    assert.deepEqual(connection.written, []);
    assert.equal(setup.clients.count, 0);
    const { digest } = admission.client;
    assert.notEqual(await setup.sessions.load(digest), undefined);
  }
});

Deno.test("welcome() returns false if the connection is closed during the call", async () => {
  using setup = new ClientsSetup();
  const admission = await setup.clients.admit(setup.hello());
  const connection = new RecordingConnection();
  const isWelcome = setup.clients.welcome(
    admission,
    connection,
    () => setup.clients.dropped(admission.client, false),
  );
  assert.equal(isWelcome, false);
  assert.equal(connection.roomCount, 0);
  assert.equal(setup.clients.count, 0);
});

Deno.test("welcome() returns false if the client is disconnected as slow during the call", async () => {
  using setup = new ClientsSetup();
  const admission = await setup.clients.admit(setup.hello());
  const connection = new RecordingConnection();
  connection.idle = false;
  connection.bufferedBytes = 2000;
  const isWelcome = setup.clients.welcome(
    admission,
    connection,
    () => setup.fanOut.send(connection, ["told"]),
  );
  assert.equal(isWelcome, false);
  assert.equal(connection.isOpen, false);
  assert.equal(connection.roomCount, 0);
  assert.equal(setup.clients.count, 0);
  const { digest } = admission.client;
  await until(
    "its session says why",
    async () =>
      (await setup.sessions.load(digest))?.session.overloaded === true,
  );
});

Deno.test("join() does not join a client if sending the answer throws", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  const fail = (): void => {
    throw new Error("the connection is broken");
  };
  await assert.rejects(
    soon(setup.clients.join(ann.client, { room: "a" }, fail), "answered"),
    /broken/,
  );
  await setup.publish("a", "1");
  assert.deepEqual(since(ann, 1), []);
  assert.deepEqual([...ann.client.rooms.keys()], ["chat"]);
  assert.equal(ann.connection.roomCount, 1);
});

Deno.test("a client that disconnects during join() or leave() joins no room and receives no answer", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  const { client, connection } = ann;
  const requests = [
    setup.clients.join(client, { room: "a" }, connection.tell),
    setup.clients.leave(client, "chat"),
  ];
  setup.clients.dropped(client, false);
  await soon(Promise.all(requests), "the requests end");
  await setup.publish("a", "1");
  await setup.publish("chat", "2");
  assert.deepEqual(since(ann, 1), []);
  assert.equal(connection.roomCount, 0);
  await assert.doesNotReject(setup.clients.leave(client, "chat"));
});

Deno.test("the session of a client that has left is not stored again by its requests in flight", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  const left = setup.clients.leave(ann.client, "chat");
  setup.clients.dropped(ann.client, true);
  await assert.rejects(soon(left, "the request"), /could not save/);
  // The session of this client is saved together with those that wait to be saved.
  await setup.connect();
  const digest = hashSessionSecret(ann.secret);
  assert.equal(await setup.sessions.load(digest), undefined);
});

Deno.test("join() counts the names of events in its answer, so that a client that reads no answer is disconnected", async () => {
  for (
    const [event, isOpen] of [["e".repeat(100), false], ["e", true]] as const
  ) {
    using setup = new ClientsSetup();
    for (let i = 0; i < 8; i++) {
      await setup.log.append([{ rooms: ["a"], json: "1", meta: { event } }]);
    }
    const ann = await setup.connect();
    // More than one client may ask for before its answers are read.
    ann.connection.requestedBytes = 9 << 20;
    await setup.join(ann, { room: "a", last: 8 });
    assert.equal(ann.connection.isOpen, isOpen, event);
  }
});

Deno.test("join() rejects with overloaded while 1,000 requests of the client are in flight", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect();
  const outcomes = await Promise.allSettled(
    Array.from({ length: 1002 }, () => setup.join(ann, { room: "a" })),
  );
  const refused = outcomes.filter(({ status }) => status === "rejected");
  assert.equal(refused.length, 2);
  for (const outcome of refused) {
    assert.ok(
      "reason" in outcome && failsWith("overloaded")(outcome.reason),
    );
  }
  await setup.join(ann, { room: "b" });
});
