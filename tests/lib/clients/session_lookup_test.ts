import assert from "node:assert/strict";
import {
  makePrincipal,
  type Principal,
} from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import type { ReadSeal } from "../../../lib/access/seals.ts";
import { ApiError } from "../../../lib/errors.ts";
import { hashSessionSecret } from "../../../lib/sessions/session.ts";
import type { StoredSession } from "../../../lib/sessions/store.ts";
import {
  ClientsSetup,
  FailingStore,
  failsWith,
} from "../../support/clients_setup.ts";

/** A session store that counts its loads. */
class CountingStore extends FailingStore {
  loads = 0;

  override async load(digest: string): Promise<StoredSession | undefined> {
    this.loads++;
    return await super.load(digest);
  }
}

/** Returns the principal of a token with this seal. */
function ann(seal?: string): Principal {
  const grant = { rooms: ["*"], actions: ["subscribe"] } as const;
  const rights = new Rights([grant]);
  return makePrincipal({
    kind: "client",
    by: "token",
    user: "ann",
    rights,
    seal,
  });
}

/** Clients that are authenticated while they connect. */
class Setup extends ClientsSetup {
  readonly store: CountingStore;
  /** The seal that was read for each client; null for a client whose session may not be read. */
  readonly seals: (string | null | undefined)[] = [];
  /** Called after the seal of a client was read. */
  onRead: () => void = () => {};

  constructor() {
    const sessions = new CountingStore();
    super({ sessions });
    this.store = sessions;
  }

  /** Connects a client whose token is accepted, or refused if `principal` is undefined. */
  async enter(secret: string | null | undefined, principal?: Principal) {
    const authenticate = async (readSeal: ReadSeal | undefined) => {
      this.seals.push(readSeal === undefined ? null : await readSeal());
      this.onRead();
      if (principal === undefined) {
        throw new ApiError("unauthorized", "Cannot accept the token");
      }
      return principal;
    };
    return await this.connect({ principal: undefined, authenticate, secret });
  }
}

Deno.test("a client's session keeps the seal of its token, and is read once when the client resumes it", async () => {
  using setup = new Setup();
  const { store, seals } = setup;
  const { client, secret } = await setup.enter(undefined, ann("s1"));
  assert.equal(store.loads, 0);
  setup.clients.dropped(client, false);
  const again = await setup.enter(secret, ann("s2"));
  assert.equal(again.recovered, true);
  assert.equal(store.loads, 1);
  setup.clients.refresh(again.client, ann("s3"));
  setup.clients.saveAll();
  setup.clients.dropped(again.client, false);
  await setup.enter(undefined, ann());
  const stored = await store.load(hashSessionSecret(secret));
  assert.equal(stored?.session.seal, "s3");
  assert.deepEqual(seals, [undefined, "s1", undefined]);
});

Deno.test("no session is read for the seal of a client that sends no valid secret, or whose session is not needed", async () => {
  using setup = new Setup();
  for (const secret of [undefined, null]) {
    await setup.enter(secret, ann());
    await assert.rejects(setup.enter(secret), failsWith("unauthorized"));
  }
  assert.deepEqual(setup.seals, [undefined, undefined, undefined, undefined]);
  const authenticate = () => Promise.reject(new ApiError("unauthorized", "No"));
  const hello = { principal: undefined, authenticate, secret: "x" };
  await assert.rejects(setup.connect(hello), failsWith("unauthorized"));
  assert.equal(setup.store.loads, 0);
});

Deno.test("a client whose session has no seal, or cannot be read, is authenticated without one", async () => {
  using setup = new Setup();
  const { client, secret } = await setup.enter(undefined, ann());
  setup.clients.dropped(client, false);
  assert.equal((await setup.enter(secret, ann())).recovered, true);
  assert.equal((await setup.enter("unknown", ann())).recovered, false);
  assert.equal(setup.store.loads, 2);
  setup.store.isDown = true;
  await assert.rejects(setup.enter(secret), failsWith("unauthorized"));
  assert.ok(setup.seals.every((seal) => seal === undefined));
});

Deno.test("many clients with refused tokens cause no more reads of sessions, and others are authenticated without seals", async () => {
  using setup = new Setup();
  const { store, seals } = setup;
  const { client, secret } = await setup.enter(undefined, ann("s1"));
  setup.clients.dropped(client, false);
  const refused = (secret: string) =>
    assert.rejects(setup.enter(secret), failsWith("unauthorized"));
  // All are read at once, before any is refused, so the limit stays reached for ten seconds.
  await Promise.all(Array.from({ length: 2000 }, () => refused("unknown")));
  assert.equal(store.loads, 2000);
  await refused("unknown");
  assert.equal(seals.at(-1), null);
  assert.equal(store.loads, 2000);
  const again = await setup.enter(secret, ann("s1"));
  assert.equal(again.recovered, true);
  assert.equal(seals.at(-1), null);
  assert.equal(store.loads, 2001);
});

Deno.test("a backend that disconnects a client right after its seal was read ends the session", async () => {
  using setup = new Setup();
  const { client, secret } = await setup.enter(undefined, ann("s1"));
  setup.clients.dropped(client, false);
  setup.onRead = () =>
    void setup.directives.add([{
      kind: "disconnect",
      room: "",
      target: { by: "user", name: "ann" },
      id: `${Date.now() + 1000}-0`,
    }]);
  const again = await setup.enter(secret, ann("s1"));
  assert.deepEqual(setup.seals, [undefined, "s1"]);
  assert.equal(again.recovered, false);
  assert.notEqual(again.client.id, client.id);
});
