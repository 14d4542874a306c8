/** Clients that would be in more rooms than `ROOMS_PER_CLIENT_MAX` when they resume their sessions. */
import assert from "node:assert/strict";
import {
  grantOfServer,
  makePrincipal,
  type Principal,
} from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import {
  hashSessionSecret,
  type Session,
} from "../../../lib/sessions/session.ts";
import { ClientsSetup, type Connected } from "../../support/clients_setup.ts";
import { until } from "../../support/wait.ts";

const EVERYTHING = new Rights([{ rooms: ["*"], actions: ["subscribe"] }]);

/** Clients with one stored session. */
class Setup extends ClientsSetup {
  /** Saves a session of a client that was in these rooms, as another node with a higher limit would have done. */
  async saveSession(
    rooms: readonly string[],
    fields: Partial<Session> = {},
  ): Promise<void> {
    const { id, epoch, lineage } = this.log.head;
    const session: Session = {
      rooms: rooms.map((room) => [room, { since: id }]),
      epoch,
      lineage,
      generation: 1,
      owner: "x",
      ...fields,
    };
    const digest = hashSessionSecret("secret");
    await this.sessions.save(
      [{ digest, session, resumedVersion: undefined }],
      60,
    );
  }

  resume(principal: Principal = this.principal): Promise<Connected> {
    return this.connect({ principal, secret: "secret" });
  }

  /** How often the node has counted that a client would be in too many rooms. */
  get limited(): number {
    return this.observed.filter((observation) =>
      observation.kind === "limited" && observation.limit === "too_many_rooms"
    ).length;
  }
}

function ann(...rooms: string[]): Principal {
  return makePrincipal({
    kind: "client",
    user: "ann",
    rights: EVERYTHING,
    rooms,
  });
}

Deno.test("a client whose session has more rooms than the limit is told which rooms it is no longer in, and is not reported as recovered", async () => {
  for (
    const [roomsPerClientMax, written] of [
      [3, ["a 1", "b 2", "c 3", "told a b c"]],
      [2, ["a 1", "b 2", "left c removed", "told a b"]],
      [1, ["a 1", "left b removed", "left c removed", "told a"]],
    ] as const
  ) {
    using setup = new Setup({ roomsPerClientMax });
    await setup.saveSession(["a", "b", "c"]);
    await setup.publish("a", "1");
    await setup.publish("b", "2");
    await setup.publish("c", "3");
    const { recovered, connection, client, secret } = await setup.resume();
    assert.deepEqual(connection.written, written);
    assert.equal(recovered, roomsPerClientMax === 3);
    assert.equal(setup.limited, recovered ? 0 : 1);
    // It is told once: the session that it has now does not have the rooms.
    setup.clients.dropped(client, false);
    const again = await setup.connect({ secret, shown: connection.shown });
    assert.equal(again.recovered, true);
    assert.deepEqual(again.connection.written, written.slice(-1));
  }
});

Deno.test("a client whose new token has rooms beyond the limit keeps the rooms of its session, and is told about the others", async () => {
  using setup = new Setup({ roomsPerClientMax: 2 });
  await setup.saveSession(["a"], { user: "ann" });
  const one = await setup.resume(ann("b", "c"));
  assert.deepEqual(one.connection.written, ["left c removed", "told a b"]);
  assert.equal(one.recovered, true);
  assert.equal(setup.limited, 1);
  // With a room less, the client gets the room of its token when it comes back.
  await setup.clients.leave(one.client, "a");
  setup.clients.dropped(one.client, false);
  const two = await setup.resume(ann("b", "c"));
  assert.deepEqual(two.connection.written, ["told b c"]);
});

Deno.test("a client without a session is refused if its token has rooms beyond the limit", async () => {
  using setup = new Setup({ roomsPerClientMax: 2 });
  await assert.rejects(
    setup.connect({ principal: ann("a", "b", "c"), rooms: [] }),
    /Cannot connect: a client may be in at most 2 rooms, .* in 3; let/,
  );
});

Deno.test("a room beyond the limit into which a backend has put the client meanwhile is reported once", async () => {
  using setup = new Setup({ roomsPerClientMax: 2 });
  await setup.saveSession(["a", "b"], { user: "ann" });
  const target = { by: "user", name: "ann" } as const;
  setup.directives.add([
    { kind: "join", room: "c", target, id: `${Date.now()}-0` },
  ]);
  const { connection, client } = await setup.resume(ann());
  await until(
    "the directive is applied",
    () => setup.observed.some(({ kind }) => kind === "directive_failed"),
  );
  assert.deepEqual(connection.written, ["told a b"]);
  assert.deepEqual([...client.rooms.keys()], ["a", "b"]);
  assert.deepEqual(
    setup.observed.filter(({ kind }) => kind.startsWith("directive")),
    [{ kind: "directive_failed", directive: "join", code: "too_many_rooms" }],
  );
  assert.equal(setup.limited, 0);
});

Deno.test("a client loses the grant of a room that it is no longer in because of the limit", async () => {
  using setup = new Setup({ roomsPerClientMax: 1 });
  const grant = grantOfServer(1, undefined);
  const grants = new Map([["a", grant], ["b", grant]]);
  await setup.saveSession(["a", "b"], { user: "ann", grants });
  const { client } = await setup.resume(ann());
  assert.deepEqual([...client.principal.grants.keys()], ["a"]);
});

Deno.test("a client of the connect hook that resumes its session is not refused because it names more rooms than the limit", async () => {
  using setup = new Setup({ roomsPerClientMax: 2 });
  await setup.saveSession(["a", "b", "c"]);
  const introduction = {
    transport: "websocket",
    origin: undefined,
    address: "192.0.2.1",
    data: {},
    headers: {},
  };
  const rooms = ["a", "b", "c"];
  const hello = { principal: undefined, introduction, rooms };
  const { connection } = await setup.connect({ ...hello, secret: "secret" });
  assert.deepEqual(connection.written, ["left c removed", "told a b"]);
  await assert.rejects(setup.connect(hello), /at most 2 rooms/);
});
