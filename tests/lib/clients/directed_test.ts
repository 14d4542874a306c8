import assert from "node:assert/strict";
import { createAccess } from "../../../lib/access/access.ts";
import {
  grantOfServer,
  makePrincipal,
  type Principal,
  type RoomGrant,
  withGrant,
} from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import type { Client } from "../../../lib/clients/client.ts";
import {
  type Directive,
  type DirectiveRequest,
  Directives,
  type Target,
} from "../../../lib/directives/directives.ts";
import {
  ClientsSetup,
  type Connected,
  FailingStore,
  RecordingConnection,
} from "../../support/clients_setup.ts";
import { threadCpuMs } from "../../support/cpu.ts";
import { soon, until } from "../../support/wait.ts";

const NOBODY = new Rights([]);
const ANN = makePrincipal({ kind: "client", user: "ann", rights: NOBODY });

/** Rules that allow what the principals' rights and grants allow. */
function rules() {
  return createAccess({ publishKeys: [{ name: "k", secret: "s" }] });
}

/** Clients that are directed, without a store and without other nodes. */
class Setup extends ClientsSetup {
  #time = Date.now();

  /** Adds a directive for the user `ann` or for a client, and begins to apply it. */
  add(
    kind: DirectiveRequest["kind"],
    room = "",
    target: DirectiveRequest["target"] = { by: "user", name: "ann" },
  ): Directive {
    const id = `${++this.#time}-0`;
    const directive: Directive = { kind, room, target, id };
    this.clients.directed.apply(this.directives.add([directive]));
    return directive;
  }

  /** Adds a directive, waits until it is applied, and resolves to the number of clients. */
  async direct(
    kind: DirectiveRequest["kind"],
    room = "",
    target: DirectiveRequest["target"] = { by: "user", name: "ann" },
  ): Promise<number> {
    const applied = this.clients.directed.watch(target);
    const { id } = this.add(kind, room, target);
    const count = await soon(applied(), "the directive is applied");
    // `watch()` waits only for a limited time.
    const isLeft = (client: Client): boolean =>
      isTarget(client, target) && client.directed !== id;
    await until(
      "the directive is applied",
      () => ![...this.clients.roster].some(isLeft),
    );
    return count;
  }

  ann(principal: Principal = ANN, rooms = ["a"]): Promise<Connected> {
    const granted = rooms.reduce(
      (holder, room) => withGrant(holder, room, grantOfServer(1, undefined)),
      principal,
    );
    return this.connect({ principal: granted, rooms });
  }
}

function isTarget(
  { id, principal: { user } }: Client,
  { by, name }: Target,
): boolean {
  return (by === "user" ? user : id) === name;
}

Deno.test("a join puts the clients of a user into a room, whatever their rights are, and tells them", async () => {
  using setup = new Setup({ access: rules() });
  const [one, two] = [await setup.ann(), await setup.ann()];
  const bob = await setup.connect({ rooms: ["a"] });
  assert.equal(await setup.direct("join", "b"), 2);
  await setup.publish("b", "1");
  for (const { connection, client } of [one, two]) {
    const [, joined = "", ...messages] = connection.written;
    assert.match(joined, /^joined b \w+\.\d+-\d+ false $/);
    assert.deepEqual(messages, ["b 1"]);
    assert.equal(client.principal.grants.get("b")?.by, "server");
  }
  assert.deepEqual(bob.connection.written, ["told a"]);
  await assert.rejects(setup.join(one, { room: "c" }), /Cannot join/);
});

Deno.test("a client that a backend puts into a room still confirms an answer to join that came at the same id", async () => {
  using setup = new Setup({ access: rules() });
  const principal = {
    ...ANN,
    rights: new Rights([{ rooms: ["b"], actions: ["subscribe"] }]),
  };
  const one = await setup.ann(principal);
  await setup.publish("b", "1");
  await setup.join(one, { room: "b", last: 5 });
  await setup.direct("join", "c");
  assert.equal(one.connection.written.at(-1), "position c 2");
  // The next message confirms the answer, too.
  await setup.publish("b", "2");
  await setup.direct("join", "d");
  assert.match(one.connection.written.at(-1) ?? "", /^joined d /);
});

Deno.test("a leave takes the clients of a user out of a room and tells them, and they may join again only by their own right", async () => {
  using setup = new Setup({ access: rules() });
  const rights = new Rights([{ rooms: ["a"], actions: ["subscribe"] }]);
  const one = await setup.ann({ ...ANN, rights });
  assert.equal(await setup.direct("join", "b"), 1);
  assert.equal(await setup.direct("leave", "a"), 1);
  assert.equal(await setup.direct("leave", "b"), 1);
  await setup.publish("a", "1");
  await setup.publish("b", "2");
  assert.deepEqual(one.connection.written.slice(2), [
    "left a removed",
    "left b removed",
  ]);
  assert.deepEqual([...one.client.rooms.keys()], []);
  await setup.join(one, { room: "a" });
  await assert.rejects(setup.join(one, { room: "b" }), /Cannot join/);
});

Deno.test("a directive for one client concerns no other client of the user, and none if no client has its id", async () => {
  using setup = new Setup();
  const [one, two] = [await setup.ann(), await setup.ann()];
  const target = { by: "client", name: one.client.id } as const;
  assert.equal(await setup.direct("join", "b", target), 1);
  assert.deepEqual([...one.client.rooms.keys()], ["a", "b"]);
  assert.deepEqual([...two.client.rooms.keys()], ["a"]);
  const nobody = { by: "client", name: "x".repeat(16) } as const;
  assert.equal(await setup.direct("join", "c", nobody), 0);
  assert.equal(
    await setup.direct("join", "c", { by: "user", name: "eve" }),
    0,
  );
});

Deno.test("a disconnect ends the connections of a user and their sessions", async () => {
  using setup = new Setup();
  const { client, secret, connection } = await setup.ann();
  assert.equal(await setup.direct("disconnect"), 1);
  assert.deepEqual([connection.isOpen, connection.isDismissed], [false, true]);
  assert.equal(setup.clients.count, 0);
  assert.equal(await setup.sessions.load(client.digest), undefined);
  const again = await setup.connect({ principal: ANN, secret, rooms: ["a"] });
  assert.equal(again.recovered, false);
  assert.notEqual(again.client.id, client.id);
});

Deno.test("restartAll() disconnects all clients, which connect again as new clients", async () => {
  using setup = new Setup();
  const one = await setup.ann();
  await setup.direct("join", "b");
  const bob = await setup.connect({ rooms: ["a"] });
  assert.equal(setup.clients.directed.restartAll(), 2);
  assert.equal(setup.clients.count, 0);
  assert.equal(setup.fanOut.roomCount, 0);
  for (const { connection } of [one, bob]) {
    assert.ok(!connection.isOpen && !connection.isDismissed);
  }
  const { secret, connection: { shown } } = one;
  const again = await setup.connect({
    principal: ANN,
    secret,
    shown,
    rooms: ["a"],
  });
  assert.equal(again.recovered, false);
  assert.notEqual(again.client.id, one.client.id);
  assert.deepEqual([...again.client.rooms.keys()], ["a"]);
  assert.match(again.connection.written[0] ?? "", /^gap a expired /);
});

Deno.test("a client that is put into a room in which it is already is told nothing and keeps its position", async () => {
  using setup = new Setup();
  const one = await setup.ann();
  await setup.publish("a", "1");
  const before = one.client.rooms.get("a");
  assert.equal(await setup.direct("join", "a"), 1);
  assert.deepEqual(one.connection.written, ["told a", "a 1"]);
  assert.equal(one.client.rooms.get("a"), before);
});

Deno.test("a client that has left a room of its token, or was taken out of it, does not join it again when it resumes its session", async () => {
  using setup = new Setup({ access: rules() });
  const names = ["a", "b", "c", "d"];
  const rights = new Rights([{ rooms: ["*"], actions: ["subscribe"] }]);
  const principal = { ...ANN, rights, rooms: names };
  const one = await setup.connect({ principal, rooms: [] });
  await setup.direct("leave", "a");
  await setup.clients.leave(one.client, "b");
  await setup.direct("leave", "d");
  await setup.join(one, { room: "d" });
  const { secret } = one;
  let { client, connection } = one;
  const resume = async (rooms: readonly string[]) => {
    setup.clients.dropped(client, false);
    const { shown } = connection;
    const token = { ...principal, rooms };
    const again = await setup.connect({ principal: token, secret, shown });
    ({ client, connection } = again);
    return [again.recovered, ...client.rooms.keys()];
  };
  assert.deepEqual(await resume(names), [true, "c", "d"]);
  setup.clients.dropped(client, false);
  setup.add("leave", "c");
  assert.deepEqual(await resume(names), [true, "d"]);
  // A newer token may have more rooms.
  assert.deepEqual(await resume([...names, "e"]), [true, "d", "e"]);
  await setup.direct("join", "a");
  assert.deepEqual(await resume(names), [true, "d", "e", "a"]);
});

Deno.test("a client resumes a session with the rooms into which it was put, and recovers them", async () => {
  using setup = new Setup({ access: rules() });
  const one = await setup.ann();
  await setup.direct("join", "b");
  await setup.publish("b", "1");
  setup.clients.dropped(one.client, false);
  const { secret } = one;
  // The last message that the client has received.
  const shown = { id: setup.log.head.id };
  await setup.publish("b", "2");
  const two = await setup.connect({ principal: ANN, secret, shown });
  assert.equal(two.recovered, true);
  assert.equal(two.client.id, one.client.id);
  assert.deepEqual([...two.client.rooms.keys()], ["a", "b"]);
  assert.ok(two.connection.written.includes("b 2"));
});

Deno.test("directives apply to a disconnected client when it reconnects, in one step", async () => {
  using setup = new Setup({ access: rules() });
  const one = await setup.ann(ANN, ["a", "b"]);
  const { secret } = one;
  const { shown } = one.connection;
  setup.clients.dropped(one.client, false);
  await setup.direct("leave", "a");
  await setup.direct("join", "c");
  await setup.direct("join", "d");
  await setup.direct("leave", "d");
  await setup.publish("a", "1");
  await setup.publish("b", "2");
  await setup.publish("c", "3");
  const two = await setup.connect({ principal: ANN, secret, shown });
  assert.equal(two.recovered, true);
  assert.deepEqual(two.connection.written, [
    "b 2",
    "left a removed",
    "told b c",
  ]);
  await setup.publish("c", "4");
  assert.equal(two.connection.written.at(-1), "c 4");
  // Nothing is applied twice after the next reconnect.
  setup.clients.dropped(two.client, false);
  const { connection } = await setup.connect({
    principal: ANN,
    secret,
    shown: two.connection.shown,
  });
  assert.deepEqual(connection.written, ["c 4", "told b c"]);
});

Deno.test("a client that cannot be recovered as a whole is still put into rooms, with the new session", async () => {
  using setup = new Setup({ access: rules() });
  const one = await setup.ann();
  const { secret } = one;
  setup.clients.dropped(one.client, false);
  const target = { by: "client", name: one.client.id } as const;
  await setup.direct("join", "c", target);
  await setup.direct("leave", "a", target);
  // An offset of another log makes recovery impossible.
  const shown = { id: "1-1" };
  const two = await setup.connect({ principal: ANN, secret, shown });
  assert.deepEqual([...two.client.rooms.keys()], ["c"]);
  assert.ok(two.connection.written.includes("left a removed"));
});

Deno.test("directives do not apply to a client that connects after them", async () => {
  using setup = new Setup();
  await setup.direct("join", "b");
  await setup.direct("disconnect");
  const one = await setup.ann();
  await setup.publish("b", "1");
  assert.deepEqual(one.connection.written, ["told a"]);
  assert.ok(one.connection.isOpen);
});

Deno.test("directives do not apply to a client that connects after them, although its node has yet to load them", async () => {
  const directives = new Directives();
  using setup = new Setup({ directives });
  const connecting = setup.ann();
  await new Promise((resolve) => setTimeout(resolve, 50));
  setup.add("disconnect");
  directives.loaded();
  const { client, connection } = await connecting;
  await setup.direct("leave", "b");
  assert.equal(client.directed, directives.latest);
  assert.ok(connection.isOpen);
});

Deno.test("a client connects without a room into which it was put before its user was revoked", async () => {
  const revokedAt = Date.now() + 60_000;
  const access = createAccess({
    publishKeys: [],
    tokens: { verify: () => Promise.reject(new Error("not used")) },
    revocations: {
      isRevoked: ({ issuedAt = revokedAt }) => issuedAt < revokedAt,
      whenLoaded: () => Promise.resolve(),
    },
  });
  using setup = new Setup({ access });
  const rights = new Rights([{ rooms: ["a"], actions: ["subscribe"] }]);
  const principal = { ...ANN, rights };
  const { client, secret, connection } = await setup.connect({
    principal,
    rooms: ["a"],
  });
  setup.clients.dropped(client, false);
  setup.add("join", "b");
  const { shown } = connection;
  const two = await setup.connect({ principal, secret, shown });
  assert.equal(two.recovered, true);
  await until(
    "the join is refused",
    () => setup.observed.some(({ kind }) => kind === "directive_failed"),
  );
  assert.deepEqual([...two.client.rooms.keys()], ["a"]);
});

Deno.test("a directive applies to a client that was admitted before it and is connected after it", async () => {
  using setup = new Setup();
  const admission = await setup.clients.admit(
    setup.hello({ principal: ANN, rooms: ["a"] }),
  );
  await setup.direct("join", "b");
  const { connection } = await setup.connect();
  assert.ok(setup.clients.welcome(admission, connection, connection.tell));
  await until("it is in the room", () => admission.client.rooms.has("b"));
});

Deno.test("a join that would exceed the number of rooms is reported and not tried again", async () => {
  using setup = new Setup({ roomsPerClientMax: 2 });
  const one = await setup.ann(ANN, ["a", "b"]);
  assert.equal(await setup.direct("join", "c"), 1);
  assert.equal(await setup.direct("leave", "b"), 1);
  assert.deepEqual([...one.client.rooms.keys()], ["a"]);
  assert.deepEqual(
    setup.observed.filter(({ kind }) => kind.startsWith("directive")),
    [
      { kind: "directive_failed", directive: "join", code: "too_many_rooms" },
      { kind: "directive_applied", directive: "leave" },
    ],
  );
});

Deno.test("a join is tried again while the session cannot be saved, and the client is told once", async () => {
  const sessions = new FailingStore();
  using setup = new Setup({ sessions });
  const one = await setup.ann();
  sessions.isDown = true;
  const applied = setup.clients.directed.watch({ by: "user", name: "ann" });
  setup.add("join", "b");
  // The caller waits only for a limited time.
  assert.equal(await soon(applied(), "the limit of the wait"), 1);
  assert.deepEqual([...one.client.rooms.keys()], ["a"]);
  sessions.isDown = false;
  await until("it is in the room", () => one.client.rooms.has("b"));
  await until("it is told", () => one.connection.written.length > 1);
  assert.equal(
    one.connection.written.filter((line) => line.startsWith("joined")).length,
    1,
  );
  const stored = await setup.sessions.load(one.client.digest);
  assert.deepEqual(
    stored?.session.rooms.map(([room]) => room),
    ["a", "b"],
  );
});

Deno.test("a directive is applied that arrives in the step in which an earlier one has been applied", async () => {
  using setup = new Setup();
  const { client } = await setup.ann();
  for (let steps = 0; steps < 30; steps++) {
    setup.add("leave", "b");
    for (let i = 0; i < steps; i++) await Promise.resolve();
    const last = setup.add("leave", "c");
    await until(
      `it is applied ${steps} steps later`,
      () => client.directed === last.id,
    );
  }
});

Deno.test("10,000 directives for one user are applied in less than a second of CPU time", async () => {
  using setup = new Setup({ roomsPerClientMax: 2 });
  const { client } = await setup.ann();
  const start = threadCpuMs();
  const target = { by: "user", name: "ann" } as const;
  setup.directives.add(
    Array.from(
      { length: 10_000 },
      (_, i) => ({ kind: "join", target, room: `r${i}`, id: `1-${i + 1}` }),
    ),
  );
  const last = setup.add("leave", "a");
  await until("all are applied", () => client.directed === last.id, 30_000);
  const usedMs = threadCpuMs() - start;
  assert.ok(usedMs < 1000, `${usedMs} ms`);
});

Deno.test("a disconnect does not wait for a join that cannot be carried out yet", async () => {
  const sessions = new FailingStore();
  using setup = new Setup({ sessions });
  const { connection } = await setup.ann();
  sessions.isDown = true;
  setup.add("join", "b");
  setup.add("disconnect");
  await until("it is disconnected", () => !connection.isOpen);
});

Deno.test("a client that was put into a room stays there after its room token has expired, until it leaves", async () => {
  using setup = new Setup({ access: rules() });
  const actions = ["subscribe", "publish"] as const;
  const expiresAt = Date.now() - 26_000;
  const token = { by: "token", actions, expiresAt: Date.now() + 5000 } as const;
  const one = await setup.connect({
    principal: withGrant(ANN, "a", token),
    rooms: ["a"],
  });
  await setup.direct("join", "a");
  const { client } = one;
  const { by, actions: kept, putAt } = client.principal.grants.get("a") ?? {};
  assert.deepEqual([by, kept], ["token", actions]);
  const expired = { ...token, expiresAt, putAt };
  client.principal = withGrant(client.principal, "a", expired);
  setup.clients.refresh(client, ANN);
  await until(
    "the room token has ended",
    () => client.principal.grants.get("a")?.by === "server",
  );
  assert.ok(client.rooms.has("a"));
  await setup.clients.leave(client, "a");
  assert.equal(client.principal.grants.get("a"), undefined);
});

Deno.test("each room that a client joins or leaves is reported with its user", async () => {
  using setup = new Setup();
  const one = await setup.ann();
  await setup.join(one, { room: "b" });
  await setup.clients.leave(one.client, "b");
  await setup.direct("join", "c");
  await setup.direct("leave", "c");
  setup.clients.dropped(one.client, true);
  const { client } = await setup.connect();
  setup.clients.roster.leave(client, new RecordingConnection(), "never joined");
  assert.deepEqual(setup.changes.map((change) => change.join(" ")), [
    ...["a ann", "b ann", "b ann", "c ann", "c ann", "a ann"],
    "chat ",
  ]);
  const { roster } = setup.clients;
  assert.equal(roster.clientsIn("chat"), 1);
  assert.deepEqual([...roster.roomNames()], ["chat"]);
  assert.deepEqual(roster.ofUser("ann"), []);
});

Deno.test("a client that was offline when a backend has disconnected it gets nothing of its session, and is disconnected", async () => {
  using setup = new Setup({ access: rules() });
  const rights = new Rights([{ rooms: ["a"], actions: ["subscribe"] }]);
  const principal = { ...ANN, rights };
  const one = await setup.ann(principal, ["a", "b"]);
  const { secret } = one;
  const { shown } = one.connection;
  setup.clients.dropped(one.client, false);
  await setup.direct("disconnect");
  await setup.publish("a", "1");
  await setup.publish("b", "2");
  const rooms = ["a"];
  const two = await setup.connect({ principal, secret, shown, rooms });
  assert.equal(two.recovered, false);
  assert.notEqual(two.client.id, one.client.id);
  assert.ok(two.connection.written.every((text) => !/^[ab] \d/.test(text)));
  assert.equal(two.connection.isOpen, false);
  // The client does not show the ended session again.
  const three = await setup.connect({ principal, secret: two.secret, rooms });
  assert.equal(three.connection.isOpen, true);
});

/** A backend for the join hook whose answers wait until they are released, in the order of the questions. */
class HeldGrants {
  readonly held: (() => void)[] = [];
  /** What it answers to further questions. */
  answer: RoomGrant | undefined = { by: "hook", actions: ["subscribe"] };
  readonly access = {
    ...rules(),
    grant: async (_: Principal, { room }: { room: string }) => {
      if (room === "a") return undefined;
      const { answer } = this;
      await new Promise<void>((resolve) => this.held.push(resolve));
      return answer;
    },
  };
}

Deno.test("a disconnect does not wait for a directive that waits for requests of the client", async () => {
  const { access, held } = new HeldGrants();
  using setup = new Setup({ access });
  const one = await setup.ann();
  const joined = setup.join(one, { room: "b" });
  await until("the grant is asked for", () => held.length === 1);
  setup.add("join", "b");
  setup.add("disconnect");
  assert.equal(one.connection.isOpen, false);
  held[0]?.();
  await joined;
  await setup.publish("b", "1");
  assert.deepEqual(one.connection.written, ["told a"]);
});

Deno.test("a leave takes effect at once, however many requests of the client are in flight", async () => {
  const { access, held } = new HeldGrants();
  using setup = new Setup({ access });
  const one = await setup.ann();
  const { client, connection } = one;
  await setup.direct("join", "b");
  const joins = [
    setup.join(one, { room: "b" }),
    ...Array.from({ length: 999 }, () => setup.join(one, { room: "c" })),
  ].map((join) => join.catch((error) => error.code));
  await until("the requests are in flight", () => client.requests === 1000);
  const last = [setup.add("leave", "a"), setup.add("leave", "b")].at(-1);
  await setup.publish("a", "1");
  await setup.publish("b", "2");
  assert.deepEqual(connection.written.slice(2), [
    "left a removed",
    "left b removed",
  ]);
  setup.clients.dropped(client, false);
  for (const release of held) release();
  await Promise.all(joins);
  assert.notEqual(client.directed, last?.id);
});

Deno.test("a grant that was asked for before a backend has taken the client out of the room is asked for again", async () => {
  const hook = new HeldGrants();
  const { access, held } = hook;
  using setup = new Setup({ access });
  const one = await setup.ann();
  const joined = setup.join(one, { room: "b" }).then(
    () => "joined",
    () => "no",
  );
  await until("the grant is asked for", () => held.length === 1);
  hook.answer = undefined;
  setup.add("leave", "b");
  held[0]?.();
  await until("it is asked for again", () => held.length === 2);
  held[1]?.();
  assert.equal(await joined, "no");
  assert.deepEqual([...one.client.rooms.keys()], ["a"]);
});

Deno.test("a client that is being put into a room is not in it after a leave, and the join does not count as failed", async () => {
  using setup = new Setup({ access: rules() });
  for (let steps = 0; steps < 20; steps++) {
    const { client, connection } = await setup.ann();
    const target = { by: "client", name: client.id } as const;
    setup.add("join", "b", target);
    for (let i = 0; i < steps; i++) await Promise.resolve();
    const last = setup.add("leave", "b", target);
    await until("all is applied", () => client.directed === last.id);
    await setup.publish("b", "1");
    assert.ok(!connection.written.includes("b 1"), `after ${steps} steps`);
    assert.ok(!client.principal.grants.has("b"));
  }
  assert.ok(setup.observed.every(({ kind }) => kind !== "directive_failed"));
});

Deno.test("principalOf() leaves out what a backend has taken from a client that has disconnected", async () => {
  using setup = new Setup({ access: rules() });
  const { client } = await setup.ann(ANN, ["a", "b"]);
  const { directed } = setup.clients;
  const granted = (room: string) =>
    directed.principalOf(client, room).grants.has(room);
  setup.clients.dropped(client, false);
  assert.deepEqual([granted("a"), granted("b")], [true, true]);
  setup.add("leave", "a");
  assert.deepEqual([granted("a"), granted("b")], [false, true]);
  setup.add("disconnect");
  assert.throws(() => granted("b"), { code: "unauthorized" });
  const [three, four] = [await setup.ann(), await setup.ann()];
  assert.ok(directed.principalOf(three.client, "a").grants.has("a"));
  await setup.direct("disconnect", "", { by: "client", name: four.client.id });
  assert.throws(() => directed.principalOf(four.client, "a"));
  assert.ok(directed.principalOf(three.client, "a"));
});

Deno.test("a client that begins to connect before a backend takes it out of a room, or disconnects it, is not left there by an older answer of a hook", async () => {
  for (const kind of ["leave", "disconnect"] as const) {
    const { access, held } = new HeldGrants();
    using setup = new Setup({ access });
    await setup.direct("leave", "b");
    const connecting = setup.connect({ principal: ANN, rooms: ["b"] });
    await until("the grant is asked for", () => held.length === 1);
    setup.add(kind, kind === "leave" ? "b" : "");
    held[0]?.();
    if (kind === "leave") {
      // It connects again, and the hook is asked again.
      await assert.rejects(connecting, /the admission is outdated/);
    } else assert.equal((await connecting).connection.isOpen, false);
    assert.equal(setup.clients.count, 0);
  }
});

Deno.test("a client connects although a backend has taken it out of a room that its new token names, or was disconnected before", async () => {
  using setup = new Setup({ access: rules() });
  const rights = new Rights([{ rooms: ["*"], actions: ["subscribe"] }]);
  const principal = { ...ANN, rights };
  const one = await setup.connect({ principal, rooms: ["a"] });
  setup.clients.dropped(one.client, false);
  await setup.direct("leave", "b");
  const two = await setup.connect({
    principal: { ...principal, rooms: ["b"] },
    secret: one.secret,
    shown: one.connection.shown,
  });
  assert.ok(two.connection.isOpen);
  setup.clients.dropped(two.client, false);
  await setup.direct("leave", "a");
  await setup.direct("disconnect");
  const { secret } = one;
  const three = await setup.connect({ principal, secret, rooms: ["a"] });
  assert.equal(three.connection.isOpen, false);
});
