import assert from "node:assert/strict";
import { makePrincipal, withGrant } from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { RevokedClients } from "../../../lib/clients/revoked_clients.ts";
import { ClientsSetup } from "../../support/clients_setup.ts";
import { until } from "../../support/wait.ts";

const rights = new Rights([{ rooms: ["*"], actions: ["subscribe"] }]);
const ANN = makePrincipal({ kind: "client", user: "ann", rights });
const BOB = makePrincipal({ kind: "client", user: "bob", rights });

Deno.test("checkRevoked() disconnects the clients that are revoked, and no others", async () => {
  using setup = new ClientsSetup();
  const ann = await setup.connect({ principal: ANN });
  const bob = await setup.connect({ principal: BOB });
  setup.revoked.add(ANN);
  setup.clients.checkRevoked();
  await until("ann is disconnected", () => !ann.connection.isOpen);
  assert.ok(bob.connection.isOpen);
  assert.equal(setup.clients.count, 1);
  await setup.publish("chat", "1");
  assert.deepEqual(ann.connection.written, ["told chat"]);
  assert.deepEqual(setup.observed.map(({ kind }) => kind), [
    "client_revoked",
    "delivered",
  ]);
});

Deno.test("many calls of checkRevoked() cause few checks, and the last one is not lost", async () => {
  using setup = new ClientsSetup();
  const principals = Array.from(
    { length: 20 },
    (_, i) => makePrincipal({ kind: "client", user: `u${i}`, rights }),
  );
  for (const principal of principals) await setup.connect({ principal });
  const began = performance.now();
  for (const principal of principals) {
    setup.revoked.add(principal);
    setup.clients.checkRevoked();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await until("all are disconnected", () => setup.clients.count === 0);
  assert.ok(performance.now() - began < 2000);
  assert.ok(setup.revokedAsked < 70, `asked ${setup.revokedAsked} times`);
});

Deno.test("RevokedClients.check() starts no timer after close()", () => {
  const clients = new RevokedClients({
    access: { isRevoked: () => false },
    clients: () => [],
    disconnect: () => {},
    checkRooms: () => {},
    observe: () => {},
  });
  clients.close();
  // Deno fails the test if a timer is left.
  clients.check();
});

Deno.test("checkRevoked() takes a client out of a room whose grant has been revoked", async () => {
  using setup = new ClientsSetup();
  const actions = ["subscribe"] as const;
  const grant = { by: "token", actions, tokenId: "r1" } as const;
  const ann = await setup.connect({
    principal: withGrant(ANN, "a", grant),
    rooms: ["a", "b"],
  });
  setup.forbidden.add("a");
  setup.clients.checkRevoked();
  await until("ann has left", () => !ann.client.rooms.has("a"));
  await setup.publish("a", "1");
  await setup.publish("b", "2");
  assert.ok(ann.connection.isOpen);
  assert.deepEqual(ann.connection.written, [
    "told a b",
    "left a revoked",
    "b 2",
  ]);
});

Deno.test("welcome() returns false if the client, or its right to a room, has been revoked since admit()", async () => {
  for (const what of ["client", "room"]) {
    using setup = new ClientsSetup();
    const { secret } = await setup.connect({ principal: ANN });
    const hello = setup.hello({ principal: ANN, secret });
    const admission = await setup.clients.admit(hello);
    if (what === "client") setup.revoked.add(ANN);
    else setup.forbidden.add("chat");
    const { connection } = await setup.connect({
      principal: BOB,
      rooms: ["x"],
    });
    assert.equal(
      setup.clients.welcome(admission, connection, connection.tell),
      false,
      what,
    );
    await setup.publish("chat", "1");
    assert.deepEqual(connection.written, ["told x"]);
  }
});

Deno.test("refresh() refuses a principal that has been revoked, and the client keeps its own", async () => {
  using setup = new ClientsSetup();
  const { client } = await setup.connect({ principal: ANN });
  const next = makePrincipal({ ...ANN, tokenId: "t2" });
  setup.revoked.add(next);
  assert.throws(
    () => setup.clients.refresh(client, next),
    /unauthorized|it has been revoked/,
  );
  assert.equal(client.principal, ANN);
});
