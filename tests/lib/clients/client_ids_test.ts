import assert from "node:assert/strict";
import { type Access, createAccess } from "../../../lib/access/access.ts";
import { grantOfServer, makePrincipal } from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import type { DirectiveRequest } from "../../../lib/directives/directives.ts";
import {
  MemorySessionStore,
  type SessionToSave,
} from "../../../lib/sessions/store.ts";
import {
  ClientsSetup,
  RecordingConnection,
} from "../../support/clients_setup.ts";
import { until } from "../../support/wait.ts";

const FACTS = { kind: "client", by: "hook", rights: new Rights([]) } as const;
const ANN = makePrincipal({
  ...FACTS,
  user: "ann",
  grants: new Map([["a", grantOfServer(1, undefined)]]),
});
const GUEST = makePrincipal({
  ...FACTS,
  verdict: { user: null, issuedAt: 1 },
});

/** Clients without rights of their own, which backends direct. */
class Setup extends ClientsSetup {
  #time = Date.now();

  constructor(options: ConstructorParameters<typeof ClientsSetup>[0] = {}) {
    super({ access: rules(), rooms: [], ...options });
  }

  /** Adds what a backend wants to be done with clients, and begins to do it. */
  direct(
    kind: DirectiveRequest["kind"],
    target: DirectiveRequest["target"],
    room = "",
  ): void {
    const id = `${++this.#time}-0`;
    const added = this.directives.add([{ kind, room, target, id }]);
    this.clients.directed.apply(added);
  }
}

function rules(): Access {
  return createAccess({ publishKeys: [{ name: "k", secret: "s" }] });
}

Deno.test("a client keeps its id in a session that continues an earlier one, so that a backend can take it out and disconnect it", async () => {
  using setup = new Setup();
  const { roster } = setup.clients;
  const first = await setup.connect({ principal: ANN, rooms: ["a"] });
  const { id } = first.client;
  const target = { by: "client", name: id } as const;
  let { secret } = first;
  for (let i = 0; i < 2; i++) {
    const shown = { id: undefined };
    const next = await setup.connect({ principal: ANN, secret, shown });
    assert.equal(next.recovered, false);
    assert.notEqual(next.secret, secret);
    assert.equal(next.client.id, id);
    secret = next.secret;
  }
  // The older connections are still open, and have the same id.
  assert.equal(roster.withId(id).length, 3);
  setup.direct("join", target, "b");
  await until("they are in the room", () => roster.clientsIn("b") === 3);
  setup.direct("leave", target, "a");
  assert.equal(roster.clientsIn("a"), 0);
  setup.direct("disconnect", target);
  assert.equal(setup.clients.count, 0);
  assert.deepEqual(roster.withId(id), []);
  const ended = await setup.connect({ principal: ANN, secret });
  assert.notEqual(ended.client.id, id);
  assert.deepEqual([...ended.client.rooms.keys()], []);
});

Deno.test("a client that is disconnected by a backend while it connects is sent nothing, and its session is deleted", async () => {
  using setup = new Setup();
  const { client, secret } = await setup.connect({
    principal: ANN,
    rooms: ["a"],
  });
  setup.clients.dropped(client, false);
  const hello = setup.hello({ principal: ANN, secret, shown: { id: "0-0" } });
  const admission = await setup.clients.admit(hello);
  setup.direct("disconnect", { by: "user", name: "ann" });
  await setup.publish("a", "1");
  const connection = new RecordingConnection();
  const { tell } = connection;
  assert.equal(setup.clients.welcome(admission, connection, tell), false);
  assert.deepEqual(connection.written, []);
  assert.ok(connection.isDismissed);
  assert.equal(setup.clients.count, 0);
  const applied = { kind: "directive_applied", directive: "disconnect" };
  assert.deepEqual(setup.observed.at(-1), applied);
  assert.equal(await setup.sessions.load(client.digest), undefined);
});

/** A store in which another connection resumes a session before its next save, and then ends it. */
class DisplacingStore extends MemorySessionStore {
  isArmed = false;

  override async save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>> {
    if (!this.isArmed) return await super.save(sessions, seconds);
    this.isArmed = false;
    for (const { digest } of sessions) {
      const { owner = "" } = (await this.load(digest))?.session ?? {};
      await this.forget(digest, owner);
    }
    return new Set(sessions.map(({ digest }) => digest));
  }
}

Deno.test("the connect hook is asked again if another connection has resumed and ended the session meanwhile", async () => {
  const sessions = new DisplacingStore();
  const asked: { client: string; isKept: boolean }[] = [];
  const access: Access = {
    ...rules(),
    decide: ({ client }, kept) => {
      asked.push({ client, isKept: kept !== undefined });
      return Promise.resolve(GUEST);
    },
  };
  using setup = new Setup({ access, sessions });
  const introduction = {
    transport: "websocket",
    origin: undefined,
    address: "",
    data: {},
    headers: {},
  };
  const hello = { principal: undefined, introduction };
  const first = await setup.connect(hello);
  setup.clients.dropped(first.client, false);
  sessions.isArmed = true;
  const { secret } = first;
  const { client } = await setup.connect({ ...hello, secret });
  assert.deepEqual(asked, [
    { client: first.client.id, isKept: false },
    { client: first.client.id, isKept: true },
    { client: client.id, isKept: false },
  ]);
  assert.notEqual(client.id, first.client.id);
});
