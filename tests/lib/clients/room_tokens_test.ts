import assert from "node:assert/strict";
import { type Access, createAccess } from "../../../lib/access/access.ts";
import type { Claims } from "../../../lib/access/claim_rooms.ts";
import type { Principal } from "../../../lib/access/principal.ts";
import { ApiError } from "../../../lib/errors.ts";
import {
  hashSessionSecret,
  type Session,
} from "../../../lib/sessions/session.ts";
import {
  ClientsSetup,
  type ClientsSetupOptions,
  type Connected,
  FailingStore,
  failsWith,
  RecordingConnection,
} from "../../support/clients_setup.ts";
import { soon, until } from "../../support/wait.ts";

/** The time of the access rules at first, in s since 1970. All tokens are accepted, whatever the time is. */
const NOW = Math.floor(Date.now() / 1000);
const LATER = NOW + 1000;
const OUTAGE = new ApiError("token_keys_unavailable", "Cannot verify: away");

/** Makes a token: its claims as JSON, which the verifier of {@linkcode Setup} reads. */
function tokenOf(rooms: readonly string[], claims: Claims = {}): string {
  const caps = [{ rooms, allow: ["sub", "pub"] }];
  return JSON.stringify({ exp: LATER, caps, ...claims });
}

/** Clients of a server with tokens and the public room `lobby`. */
class Setup extends ClientsSetup {
  /** The time of the access rules, in s since 1970. */
  seconds = NOW;
  /** How many tokens were verified. */
  verified = 0;
  /** Called with each token before it is verified. */
  onVerify: () => void | Promise<void> = () => {};
  /** Rooms in which nobody may stay. */
  readonly closed: Set<string>;
  readonly rules: Access;

  constructor(options: ClientsSetupOptions = {}) {
    const closed = new Set<string>();
    const rules = createAccess({
      publishKeys: [],
      publicRooms: ["lobby"],
      now: () => this.seconds * 1000,
      tokens: {
        verify: async (token) => {
          this.verified++;
          await this.onVerify();
          if (token === "outage") throw OUTAGE;
          return { claims: JSON.parse(token) };
        },
      },
    });
    const mayStay: Access["mayStay"] = (principal, room) =>
      !closed.has(room) && rules.mayStay(principal, room);
    const refusal: Access["refusal"] = (principal, action, room = "") =>
      closed.has(room)
        ? new ApiError("forbidden", "Cannot join: it is closed")
        : rules.refusal(principal, action, room);
    super({ rooms: [], access: { ...rules, mayStay, refusal }, ...options });
    this.closed = closed;
    this.rules = rules;
  }

  /** Returns the principal of a token for these rooms. */
  async principalOf(user: string, ...rooms: string[]): Promise<Principal> {
    const secret = tokenOf(rooms, { sub: user });
    return await this.rules.authenticate({ from: "client", secret });
  }

  /** Connects a client of the user `ann` whose own token allows nothing. */
  async ann(hello: Parameters<ClientsSetup["connect"]>[0] = {}): Promise<
    Connected
  > {
    const principal = hello.principal ?? await this.principalOf("ann");
    return await this.connect({ ...hello, principal });
  }

  may(
    { client }: Connected,
    action: "subscribe" | "publish" | "history",
    room: string,
  ): boolean {
    return this.rules.refusal(client.principal, action, room) === undefined;
  }

  async stored({ secret }: Connected): Promise<Session | undefined> {
    return (await this.sessions.load(hashSessionSecret(secret)))?.session;
  }
}

Deno.test("a room token lets a client into its room, with the rights of the token, until the client leaves", async () => {
  using setup = new Setup();
  const ann = await setup.ann();
  const refused = (token?: unknown) =>
    assert.rejects(
      setup.join(ann, { room: "a", token }),
      failsWith("forbidden"),
    );
  await refused();
  await setup.join(ann, { room: "a", token: tokenOf(["a", "b"]) });
  await setup.publish("a", "1");
  assert.deepEqual(ann.connection.written.slice(1), ["told a", "a 1"]);
  assert.ok(setup.may(ann, "publish", "a"));
  assert.ok(!setup.may(ann, "history", "a"));
  assert.ok(!setup.may(ann, "subscribe", "b"), "only for this room");
  await setup.clients.leave(ann.client, "a");
  assert.equal(ann.client.principal.grants.size, 0);
  await refused();
});

Deno.test("a room token that is not good for the client and the room is refused, and nothing is left behind", async () => {
  using setup = new Setup();
  const ann = await setup.ann();
  const nobody = await setup.connect({
    principal: await setup.rules.authenticate({
      from: "client",
      secret: undefined,
    }),
  });
  const history = [{ rooms: ["a"], allow: ["history", "pub"] }];
  const info = "x".repeat(1023);
  for (
    const [client, token, code] of [
      [ann, tokenOf(["b", "a2", "A"]), "forbidden"],
      [ann, tokenOf(["*a"]), "unauthorized"],
      [ann, tokenOf([], { caps: history }), "forbidden"],
      [ann, tokenOf(["a"], { sub: "bob" }), "forbidden"],
      [nobody, tokenOf(["a"], { sub: "ann" }), "forbidden"],
      [ann, tokenOf(["a"], { exp: NOW - 5 }), "unauthorized"],
      [ann, tokenOf(["a"], { caps: "all" }), "unauthorized"],
      [ann, tokenOf(["a"], { info }), "unauthorized"],
      [ann, null, "unauthorized"],
      [ann, ["t"], "unauthorized"],
      [ann, "outage", "token_keys_unavailable"],
    ] as const
  ) {
    const name = JSON.stringify([token, code]);
    await assert.rejects(
      setup.join(client, { room: "a", token }),
      failsWith(code),
      name,
    );
    assert.equal(client.client.rooms.size, 0);
    assert.equal(client.client.principal.grants.size, 0);
  }
  for (const client of [ann, nobody]) {
    await setup.join(client, { room: "a", token: tokenOf(["*"]) });
    assert.deepEqual([...client.client.rooms.keys()], ["a"]);
  }
  await setup.clients.leave(ann.client, "a");
  const own = tokenOf(["a"], { sub: "ann", info: info.slice(1) });
  await setup.join(ann, { room: "a", token: own });
  assert.equal(ann.client.principal.grants.get("a")?.info, info.slice(1));
});

Deno.test("the error for a room token says what is wrong with the token, and not with the client's own", async () => {
  using setup = new Setup();
  const ann = await setup.ann();
  for (
    const [token, message] of [
      [tokenOf(["b"]), /: Cannot join "a": the room token does not allow it; /],
      [tokenOf(["a"], { sub: "bob" }), /: Cannot join "a": .+ another user; /],
      [tokenOf(["a"], { exp: NOW - 5 }), /room token has expired; /],
    ] as const
  ) {
    await assert.rejects(setup.join(ann, { room: "a", token }), message);
  }
});

Deno.test("a client may send room tokens at connect, and is refused or closed if one is not good", async () => {
  using setup = new Setup();
  const a = { room: "a", token: tokenOf(["a"]) };
  const ann = await setup.ann({ rooms: ["lobby", a] });
  assert.deepEqual(ann.connection.written, ["told lobby a"]);
  assert.deepEqual([...ann.client.principal.grants.keys()], ["a"]);
  for (
    const [token, code] of [
      [tokenOf(["b"]), "forbidden"],
      [undefined, "forbidden"],
      [1, "unauthorized"],
      ["outage", "token_keys_unavailable"],
    ] as const
  ) {
    await assert.rejects(
      setup.ann({ rooms: ["lobby", { ...a, token }] }),
      failsWith(code),
    );
  }
});

Deno.test("a session keeps its grants: the client resumes it without a room token, and none is verified", async () => {
  using setup = new Setup();
  const principal = await setup.principalOf("ann");
  const a = { room: "a", token: tokenOf(["a"], { jti: "j", iat: NOW }) };
  const ann = await setup.ann({ principal, rooms: [a] });
  await setup.join(ann, { room: "b", token: tokenOf(["b"]) });
  setup.clients.dropped(ann.client, false);
  await setup.publish("a", "1");
  await setup.publish("b", "2");
  const { verified } = setup;
  const again = await setup.ann({
    principal,
    secret: ann.secret,
    shown: ann.connection.shown,
    rooms: [a],
  });
  assert.equal(setup.verified, verified);
  assert.equal(again.recovered, true);
  assert.deepEqual(again.connection.written, ["a 1", "b 2", "told a b"]);
  assert.deepEqual(
    again.client.principal.grants,
    ann.client.principal.grants,
  );
  assert.equal(again.client.principal.grants.get("a")?.tokenId, "j");
  // Another user gets neither the session nor its grants.
  const bob = await setup.connect({
    principal: await setup.principalOf("bob"),
    secret: again.secret,
    rooms: [],
  });
  assert.deepEqual([bob.recovered, bob.client.rooms.size], [false, 0]);
});

Deno.test("a grant that has expired is not resumed, unless the client sends a new room token at connect", async () => {
  const a = { room: "a", token: tokenOf(["a"], { exp: NOW - 5 }) };
  for (
    const [rooms, expected] of [
      [[], "left a expired,told lobby"],
      [["a"], "left a expired,told lobby"],
      [[{ room: "a", token: tokenOf(["b"]) }], "left a expired,told lobby"],
      [[{ ...a, token: tokenOf(["a"]) }], "told lobby a"],
    ] as const
  ) {
    using setup = new Setup();
    setup.seconds = NOW - 60;
    const principal = await setup.principalOf("ann");
    const hello = { principal, rooms: ["lobby", a] };
    const ann = await setup.connect(hello);
    setup.clients.dropped(ann.client, false);
    setup.seconds = NOW;
    const { secret } = ann;
    const outage = [{ room: "a", token: "outage" }];
    await assert.rejects(
      setup.connect({ principal, secret, rooms: outage }),
      failsWith("token_keys_unavailable"),
    );
    const again = await setup.connect({ principal, secret, rooms });
    assert.equal(again.connection.written.join(), expected);
    assert.equal(again.recovered, expected === "told lobby a");
    assert.equal(
      again.client.principal.grants.size,
      again.client.rooms.size - 1,
    );
  }
});

Deno.test("a client without a user cannot resume rooms of room tokens without them, so that a stolen session is worth nothing", async () => {
  using setup = new Setup();
  const a = { room: "a", token: tokenOf(["a"]) };
  const principal = await setup.rules.authenticate({
    from: "client",
    secret: undefined,
  });
  const ann = await setup.connect({ principal, rooms: ["lobby", a] });
  assert.deepEqual((await setup.stored(ann))?.grants, undefined);
  const { secret } = ann;
  const again = await setup.connect({ principal, secret, rooms: [a] });
  assert.equal(again.recovered, true);
  assert.deepEqual([...again.client.rooms.keys()], ["lobby", "a"]);
  const thief = await setup.connect({ principal, secret });
  assert.deepEqual(thief.connection.written, ["left a revoked", "told lobby"]);
});

Deno.test("the session is saved with the grant before a join is answered, and without it after the client has left", async () => {
  using setup = new Setup();
  const ann = await setup.ann();
  let stored: Promise<Session | undefined> | undefined;
  const join = (token: string) =>
    soon(
      setup.clients.join(
        ann.client,
        { room: "a", token },
        () => stored = setup.stored(ann),
      ),
      "joined",
    );
  for (const exp of [LATER, LATER + 1]) {
    await join(tokenOf(["a"], { exp }));
    const grant = (await stored)?.grants?.get("a");
    assert.equal(grant?.expiresAt, exp * 1000);
  }
  await setup.clients.leave(ann.client, "a");
  assert.equal((await setup.stored(ann))?.grants, undefined);
});

Deno.test("a room token of a client that is already in the room replaces its grant, unless that cannot be saved", async () => {
  const sessions = new FailingStore();
  using setup = new Setup({ sessions });
  const a = { room: "a", token: tokenOf(["a"]) };
  const ann = await setup.ann({ rooms: [a] });
  const end = () => ann.client.principal.grants.get("a")?.expiresAt;
  const joinUntil = (exp: number) =>
    setup.join(ann, { room: "a", token: tokenOf(["a"], { exp }) });
  await joinUntil(LATER + 5);
  assert.equal(end(), (LATER + 5) * 1000);
  await setup.join(ann, { room: "a" });
  assert.equal(end(), (LATER + 5) * 1000, "without a token nothing changes");
  await assert.rejects(
    setup.join(ann, { room: "a", token: tokenOf(["b"]) }),
    failsWith("forbidden"),
  );
  sessions.isDown = true;
  await assert.rejects(joinUntil(LATER + 9), failsWith("log_unreachable"));
  assert.equal(end(), (LATER + 5) * 1000);
  await assert.rejects(
    setup.clients.leave(ann.client, "a"),
    failsWith("log_unreachable"),
  );
  assert.equal(end(), (LATER + 5) * 1000, "it is still in the room");
  await assert.rejects(
    setup.join(ann, { room: "b", token: tokenOf(["b"]) }),
    failsWith("log_unreachable"),
  );
  assert.deepEqual([...ann.client.principal.grants.keys()], ["a"]);
});

Deno.test("a client is taken out of the room of a grant 25 s after it has expired, unless it may be there without it", async () => {
  using setup = new Setup();
  setup.seconds = 0;
  const exp = NOW - 25;
  const token = tokenOf(["a", "lobby"], { exp });
  const lobby = { room: "lobby", token };
  const ann = await setup.ann({ rooms: [lobby] });
  const bob = await setup.ann({ rooms: ["lobby"] });
  await setup.join(bob, { room: "a", token });
  for (const { client } of [ann, bob]) {
    await until("the grant ends", () => client.principal.grants.size === 0);
  }
  await setup.publish("a", "1");
  await setup.publish("lobby", "2");
  assert.deepEqual(ann.connection.written, ["told lobby", "lobby 2"]);
  assert.deepEqual(bob.connection.written, [
    "told lobby",
    "told a",
    "left a expired",
    "lobby 2",
  ]);
  for (const client of [ann, bob]) {
    await until("saved", async () => {
      const stored = await setup.stored(client);
      return stored?.rooms.length === 1 && stored.grants === undefined;
    });
  }
});

Deno.test("refresh() keeps the grants of the client", async () => {
  using setup = new Setup();
  const a = { room: "a", token: tokenOf(["a"]) };
  const ann = await setup.connect({
    principal: await setup.principalOf("ann", "c"),
    rooms: [a, "c"],
  });
  setup.clients.refresh(ann.client, await setup.principalOf("ann"));
  assert.deepEqual(ann.connection.written, ["told a c", "left c revoked"]);
  assert.deepEqual([...ann.client.principal.grants.keys()], ["a"]);
});

Deno.test("a client that loses its right while its room token is verified or its session is saved does not join", async () => {
  using setup = new Setup();
  const ann = await setup.ann();
  const token = tokenOf(["a"]);
  const rejected = async (joining: Promise<void>) => {
    await assert.rejects(joining, failsWith("forbidden"));
    assert.equal(ann.client.rooms.size, 0);
    assert.equal(ann.client.principal.grants.size, 0);
  };
  setup.onVerify = () => void setup.closed.add("a");
  await rejected(setup.join(ann, { room: "a", token }));
  setup.closed.clear();
  setup.onVerify = () => {};
  const joining = setup.join(ann, { room: "a", token });
  await until("the join is in progress", () => ann.client.rooms.has("a"));
  setup.closed.add("a");
  setup.clients.refresh(ann.client, await setup.principalOf("ann"));
  await rejected(joining);
});

Deno.test("a client that disconnects while its room token is verified does not join", async () => {
  using setup = new Setup();
  const ann = await setup.ann();
  setup.onVerify = () => setup.clients.dropped(ann.client, false);
  await setup.join(ann, { room: "a", token: tokenOf(["a"]) });
  assert.equal(ann.client.rooms.size, 0);
  assert.equal((await setup.stored(ann))?.rooms.length, 0);
});

Deno.test("welcome() returns false if the client's right to one of its rooms has ended since admit()", async () => {
  using setup = new Setup();
  const principal = await setup.principalOf("ann", "a");
  const hello = setup.hello({ principal, rooms: ["a"] });
  const admission = await setup.clients.admit(hello);
  setup.closed.add("a");
  const connection = new RecordingConnection();
  assert.equal(
    setup.clients.welcome(admission, connection, connection.tell),
    false,
  );
  assert.deepEqual(connection.written, []);
});

Deno.test("a client whose session cannot be loaded is not refused for good, because the session may allow its rooms", async () => {
  const sessions = new FailingStore();
  using setup = new Setup({ sessions });
  const principal = await setup.principalOf("ann");
  sessions.isDown = true;
  const hello = setup.hello({ principal, secret: "secret", rooms: ["a"] });
  await assert.rejects(
    setup.clients.admit(hello),
    failsWith("log_unreachable"),
  );
});

Deno.test("a client that resumes its session sends the join hook the data that it names at connect", async () => {
  const asked: unknown[] = [];
  let seconds = NOW - 60;
  const access = createAccess({
    publishKeys: [],
    now: () => seconds * 1000,
    joinHook: {
      concerns: (room) => room !== "lobby",
      ask: ({ room, data }) => {
        asked.push([room, data]);
        const expiresAt = (seconds + 10) * 1000;
        return Promise.resolve({
          by: "hook",
          actions: ["subscribe"],
          expiresAt,
        });
      },
    },
  });
  using setup = new ClientsSetup({ access });
  const principal = await access.authenticate({
    from: "client",
    secret: undefined,
  });
  const rooms = [{ room: "a", data: { pin: 1 } }, "b", "lobby"];
  const ann = await setup.connect({ principal, rooms });
  setup.clients.dropped(ann.client, false);
  seconds = NOW;
  const { secret } = ann;
  const invalid = [{ room: "b", data: 1, last: -1 }, { room: 1 }, null];
  const again = await setup.connect({
    principal,
    secret,
    rooms: [...rooms, ...invalid],
  });
  assert.deepEqual([...again.client.rooms.keys()], ["a", "b", "lobby"]);
  const both = [["a", { pin: 1 }], ["b", undefined]];
  assert.deepEqual(asked, [...both, ...both]);
});
