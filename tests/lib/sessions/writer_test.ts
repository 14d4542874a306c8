import assert from "node:assert/strict";
import { ApiError } from "../../../lib/errors.ts";
import type { HeadState } from "../../../lib/log/head.ts";
import type { Observation } from "../../../lib/observer.ts";
import type {
  RoomPosition,
  Session,
  SessionState,
} from "../../../lib/sessions/session.ts";
import {
  MemorySessionStore,
  type SessionToSave,
} from "../../../lib/sessions/store.ts";
import { SessionWriter } from "../../../lib/sessions/writer.ts";
import { Inbox, soon, until } from "../../support/wait.ts";

/** A session store in memory that records the saved sessions, and whose saves can be made to fail. */
class RecordingStore extends MemorySessionStore {
  readonly saves = new Inbox<readonly SessionToSave[]>();
  readonly forgotten: string[] = [];
  seconds = 0;
  /** The error with which each save fails; undefined if saves succeed. */
  error: Error | undefined;

  override async save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>> {
    this.saves.push(sessions);
    this.seconds = seconds;
    if (this.error !== undefined) throw this.error;
    return await super.save(sessions, seconds);
  }

  override async forget(digest: string, owner: string): Promise<void> {
    this.forgotten.push(digest);
    if (this.error !== undefined) throw this.error;
    await super.forget(digest, owner);
  }
}

/** A session writer with its store, and what it reports. */
class Setup implements Disposable {
  readonly sessions = new RecordingStore();
  readonly observed: Observation[] = [];
  readonly displaced: SessionState[] = [];
  readonly writer: SessionWriter;
  head: HeadState = {
    epoch: "e",
    id: "1-0",
    began: "0-1",
    confirmed: true,
    lineage: "l",
  };

  constructor(recoverySeconds = 120, leftBytesMax = Infinity) {
    const head = (): HeadState => this.head;
    this.writer = new SessionWriter({
      sessions: this.sessions,
      log: {
        get head() {
          return head();
        },
      },
      recoverySeconds,
      observe: (happening) => this.observed.push(happening),
      displaced: (client) => this.displaced.push(client),
      leftBytesMax,
    });
  }

  [Symbol.dispose](): void {
    this.writer.close();
  }

  /** Returns the session that the store has under a digest. */
  async stored(digest: string): Promise<Session | undefined> {
    return (await this.sessions.load(digest))?.session;
  }
}

function client(digest: string, changes: Partial<SessionState> = {}): {
  -readonly [K in keyof SessionState]: SessionState[K];
} {
  return {
    digest,
    generation: 1,
    owner: "owner",
    resumedVersion: undefined,
    rooms: new Map<string, RoomPosition>([["chat", { since: "1-0" }]]),
    overloaded: false,
    ...changes,
  };
}

const NEWS: RoomPosition = {
  since: "2-0",
  notice: { at: "3-0", number: 4, gap: "trimmed" },
};

function outage(): ApiError {
  return new ApiError("log_unreachable", "Cannot reach the log: it is down");
}

Deno.test("SessionWriter.saveAndWait() saves the state that the client has when the session is written", async () => {
  using setup = new Setup();
  const ann = client("ann");
  const outcome = setup.writer.saveAndWait(ann);
  ann.rooms = new Map<string, RoomPosition>([
    ["chat", { since: "1-0" }],
    ["news", NEWS],
  ]);
  setup.head = { ...setup.head, epoch: "e2", lineage: "l2" };
  assert.equal(await soon(outcome, "saved"), "saved");
  assert.deepEqual(await setup.stored("ann"), {
    rooms: [["chat", { since: "1-0" }], ["news", NEWS]],
    epoch: "e2",
    lineage: "l2",
    generation: 1,
    owner: "owner",
    overloaded: false,
  });
});

Deno.test("SessionWriter lets the store keep a session for the recovery time plus the interval between saves", async () => {
  using setup = new Setup(120);
  await soon(setup.writer.saveAndWait(client("ann")), "saved");
  assert.equal(setup.sessions.seconds, 150);
});

Deno.test("SessionWriter saves many sessions once each, in batches of at most 500", async () => {
  using setup = new Setup();
  const clients = Array.from({ length: 600 }, (_, i) => client(String(i)));
  for (const one of clients) setup.writer.save(one);
  const outcomes = await soon(
    Promise.all(clients.map((one) => setup.writer.saveAndWait(one))),
    "all are saved",
  );
  assert.deepEqual(new Set(outcomes), new Set(["saved"]));
  assert.deepEqual(
    setup.sessions.saves.items.map(({ length }) => length),
    [500, 100],
  );
});

Deno.test("SessionWriter.saveAndWait() resolves to `failed` after a failed save, and the save is repeated for connected clients", async () => {
  using setup = new Setup();
  setup.sessions.error = outage();
  const stays = client("stays"), leaves = client("leaves");
  setup.writer.keep(stays);
  setup.writer.keep(leaves);
  const outcomes = await soon(
    Promise.all([stays, leaves].map((one) => setup.writer.saveAndWait(one))),
    "the save fails",
  );
  assert.deepEqual(outcomes, ["failed", "failed"]);
  setup.writer.release(leaves);
  setup.sessions.error = undefined;
  await setup.sessions.saves.have(2);
  await until(
    "it is saved",
    async () => await setup.stored("stays") !== undefined,
  );
  assert.equal(await setup.stored("leaves"), undefined);
  assert.deepEqual(
    setup.sessions.saves.items[1]?.map(({ digest }) => digest),
    ["stays"],
  );
});

Deno.test("SessionWriter reports unexpected errors of the store only once until a save succeeds", async () => {
  using setup = new Setup();
  const fail = async (error: Error): Promise<void> => {
    setup.sessions.error = error;
    await soon(setup.writer.saveAndWait(client("ann")), "the save fails");
  };
  // An outage is not reported here, because the connection to Redis reports it.
  await fail(outage());
  assert.deepEqual(setup.observed, []);
  setup.sessions.error = undefined;
  await soon(setup.writer.saveAndWait(client("ann")), "saved");
  const error = new Error("unexpected");
  await fail(error);
  await fail(error);
  assert.deepEqual(setup.observed, [
    { kind: "error", where: "saving sessions", error },
  ]);
  setup.sessions.error = undefined;
  await soon(setup.writer.saveAndWait(client("ann")), "saved");
  await fail(error);
  assert.equal(setup.observed.length, 2);
});

Deno.test("SessionWriter does not save a session that a connection with a higher generation has saved, and calls displaced", async () => {
  using setup = new Setup();
  const older = client("ann", { owner: "older" });
  setup.writer.keep(older);
  await soon(setup.writer.saveAndWait(older), "saved");
  const { version } = await setup.sessions.load("ann") ?? {};
  const newer = client("ann", {
    generation: 2,
    owner: "newer",
    resumedVersion: version,
    rooms: new Map<string, RoomPosition>([["news", { since: "5-0" }]]),
  });
  assert.equal(await soon(setup.writer.saveAndWait(newer), "saved"), "saved");
  assert.equal(newer.resumedVersion, undefined);
  assert.equal(
    await soon(setup.writer.saveAndWait(older), "displaced"),
    "displaced",
  );
  assert.deepEqual(setup.displaced, [older]);
  const stored = await setup.stored("ann");
  assert.equal(stored?.owner, "newer");
  assert.deepEqual(stored?.rooms.map(([room]) => room), ["news"]);
});

Deno.test("SessionWriter.saveAndWait() resolves to `displaced` for the second of two connections that resume a session at once", async () => {
  using setup = new Setup();
  await soon(setup.writer.saveAndWait(client("ann")), "saved");
  const { version } = await setup.sessions.load("ann") ?? {};
  const resume = (owner: string) =>
    client("ann", { generation: 2, owner, resumedVersion: version });
  const outcomes = ["one", "two"].map((owner) =>
    setup.writer.saveAndWait(resume(owner))
  );
  assert.deepEqual(
    await soon(Promise.all(outcomes), "both are known"),
    ["saved", "displaced"],
  );
});

Deno.test("SessionWriter.saveAndWait() resolves to `displaced` if another connection has resumed the session before", async () => {
  using setup = new Setup();
  await soon(setup.writer.saveAndWait(client("ann")), "saved");
  const { version } = await setup.sessions.load("ann") ?? {};
  const resume = (owner: string) =>
    client("ann", { generation: 2, owner, resumedVersion: version });
  const [first, second] = [resume("one"), resume("two")];
  assert.equal(await soon(setup.writer.saveAndWait(first), "saved"), "saved");
  assert.equal(
    await soon(setup.writer.saveAndWait(second), "displaced"),
    "displaced",
  );
  // The writer calls `displaced` only for connected clients, and this client was not connected here.
  assert.deepEqual(setup.displaced, []);
  assert.equal(second.resumedVersion, version);
});

Deno.test("SessionWriter.forget() deletes a client's session and drops a queued save of that session", async () => {
  using setup = new Setup();
  const ann = client("ann");
  setup.writer.keep(ann);
  await soon(setup.writer.saveAndWait(ann), "saved");
  const queued = setup.writer.saveAndWait(ann);
  setup.writer.release(ann);
  setup.writer.forget(ann);
  assert.equal(await soon(queued, "dropped"), "failed");
  await until(
    "it is gone",
    async () => await setup.stored("ann") === undefined,
  );
  assert.equal(setup.sessions.saves.items.length, 1);
});

Deno.test("SessionWriter saves nothing for a client whose session was deleted", async () => {
  using setup = new Setup();
  const ann = client("ann");
  await soon(setup.writer.saveAndWait(ann), "saved");
  setup.writer.release(ann);
  setup.writer.forget(ann);
  setup.writer.save(ann);
  assert.equal(await soon(setup.writer.saveAndWait(ann), "refused"), "failed");
  // A later save of another client would be made together with those of Ann.
  await soon(setup.writer.saveAndWait(client("bob")), "saved");
  assert.equal(await setup.stored("ann"), undefined);
});

Deno.test("SessionWriter saves only the sessions of connected clients again before they expire", async () => {
  using setup = new Setup(4);
  const stays = client("stays"), leaves = client("leaves");
  for (const one of [stays, leaves]) {
    setup.writer.keep(one);
    await soon(setup.writer.saveAndWait(one), "saved");
  }
  setup.writer.release(leaves);
  await setup.sessions.saves.have(3);
  assert.deepEqual(
    setup.sessions.saves.items[2]?.map(({ digest }) => digest),
    ["stays"],
  );
});

Deno.test("SessionWriter deletes the oldest sessions of disconnected clients if these sessions exceed the limit", async () => {
  // The limit allows two sessions with one room each.
  using setup = new Setup(120, 900);
  const leave = async (digest: string): Promise<SessionState> => {
    const one = client(digest);
    await soon(setup.writer.saveAndWait(one), "saved");
    setup.writer.keep(one);
    setup.writer.release(one);
    return one;
  };
  const ann = await leave("ann");
  await leave("bob");
  // Ann reconnects to this node and disconnects again, so Bob's session is now the oldest.
  setup.writer.keep(ann);
  setup.writer.release(ann);
  await leave("cho");
  await until(
    "it is gone",
    async () => await setup.stored("bob") === undefined,
  );
  // Cho reconnects to another node.
  setup.writer.resumedElsewhere("cho");
  await leave("dan");
  assert.deepEqual(setup.sessions.forgotten, ["bob"]);
  for (const digest of ["ann", "cho", "dan"]) {
    assert.notEqual(await setup.stored(digest), undefined, digest);
  }
  assert.deepEqual(setup.observed, [{ kind: "sessions_evicted", count: 1 }]);
});

Deno.test("SessionWriter does not count the session of a reconnected client among those of disconnected clients", async () => {
  using setup = new Setup(120, 400);
  const ann = client("ann");
  await soon(setup.writer.saveAndWait(ann), "saved");
  setup.writer.release(ann);
  setup.writer.keep(client("ann", { generation: 2, owner: "again" }));
  const bob = client("bob");
  await soon(setup.writer.saveAndWait(bob), "saved");
  setup.writer.release(bob);
  assert.deepEqual(setup.observed, []);
});

Deno.test("SessionWriter evicts a session only if no other connection has resumed the session", async () => {
  using setup = new Setup(120, 0);
  const ann = client("ann");
  await soon(setup.writer.saveAndWait(ann), "saved");
  const { version } = await setup.sessions.load("ann") ?? {};
  const session = {
    rooms: [],
    epoch: "e",
    lineage: "l",
    generation: 2,
    owner: "another node",
  };
  const resumed = { digest: "ann", session, resumedVersion: version };
  await setup.sessions.save([resumed], 60);
  setup.writer.release(ann);
  assert.deepEqual(setup.sessions.forgotten, ["ann"]);
  assert.deepEqual((await setup.stored("ann"))?.owner, "another node");
});

Deno.test("SessionWriter leaves no more sessions than fit into the limit after many clients have connected and disconnected", async () => {
  using setup = new Setup(120, 400 * 100);
  const clients = Array.from({ length: 1000 }, (_, i) => client(String(i)));
  await soon(
    Promise.all(clients.map((one) => setup.writer.saveAndWait(one))),
    "all are saved",
  );
  for (const one of clients) {
    setup.writer.keep(one);
    setup.writer.release(one);
  }
  const stored = await Promise.all(
    clients.map(({ digest }) => setup.stored(digest)),
  );
  const left = stored.filter((session) => session !== undefined);
  assert.ok(left.length >= 50 && left.length <= 134, String(left.length));
  assert.notEqual(stored.at(-1), undefined);
});
