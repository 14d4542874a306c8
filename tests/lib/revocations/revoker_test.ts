import assert from "node:assert/strict";
import {
  type Revocation,
  Revocations,
} from "../../../lib/access/revocations.ts";
import type { Cluster, ClusterCommand } from "../../../lib/cluster/cluster.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";
import { Revoker } from "../../../lib/revocations/revoker.ts";
import {
  MemoryRevocationStore,
  type RevocationStore,
} from "../../../lib/revocations/store.ts";
import { until } from "../../support/wait.ts";

const ANN: Revocation = { kind: "user", name: "ann", at: Date.now() };
const BOB: Revocation = { kind: "jti", name: "bob", at: Date.now() };
const OUTAGE = new ApiError("log_unreachable", "Cannot reach Redis");

/** A store that several nodes share, and that can fail or be replaced by one that has lost everything. */
class SharedStore implements RevocationStore {
  store = new MemoryRevocationStore();
  error: Error | undefined;
  looks = 0;

  changes(since: string | undefined) {
    this.looks++;
    return this.#run(() => this.store.changes(since));
  }

  add(revocation: Revocation) {
    return this.#run(() => this.store.add(revocation));
  }

  restore(revocations: readonly Revocation[]) {
    return this.#run(() => this.store.restore(revocations));
  }

  #run<T>(work: () => Promise<T>): Promise<T> {
    return this.error === undefined ? work() : Promise.reject(this.error);
  }
}

/** The revoker of one node. Its cluster delivers commands only if the test does. */
class Setup implements Disposable, Cluster {
  readonly revocations = new Revocations();
  readonly observed: Observation[] = [];
  readonly sent: ClusterCommand[] = [];
  readonly revoker: Revoker;
  receive = (): void => {};

  constructor(store: RevocationStore) {
    this.revoker = new Revoker({
      store,
      revocations: this.revocations,
      cluster: this,
      observe: (observation) => void this.observed.push(observation),
    });
  }

  send(command: ClusterCommand): void {
    this.sent.push(command);
  }

  onCommand(kind: string, handle: (command: never) => void): void {
    assert.equal(kind, "revoked");
    this.receive = handle as () => void;
  }

  knows(revocation: Revocation): boolean {
    return this.revocations.find(revocation)?.at === revocation.at;
  }

  [Symbol.dispose](): void {
    this.revoker.close();
  }
}

Deno.test("revoke() is in force on this node at once, and on another one after the command", async () => {
  const store = new SharedStore();
  using a = new Setup(store);
  using b = new Setup(store);
  await until("both have loaded", () => b.revocations.isLoaded);
  assert.deepEqual(await a.revoker.revoke(ANN), ANN);
  assert.ok(a.knows(ANN));
  assert.deepEqual(a.sent, [{ kind: "revoked" }]);
  assert.ok(!b.knows(ANN));
  b.receive();
  await until("the other node knows it", () => b.knows(ANN), 1000);
});

Deno.test("a revocation reaches another node within 2 s without any command", async () => {
  const store = new SharedStore();
  using a = new Setup(store);
  using b = new Setup(store);
  await until("both have loaded", () => b.revocations.isLoaded);
  await a.revoker.revoke(ANN);
  await until("the other node knows it", () => b.knows(ANN), 2500);
  assert.ok(store.looks < 8, `${store.looks} looks`);
});

Deno.test("however many commands arrive, the store is looked at at most every 50 ms", async () => {
  const store = new SharedStore();
  using setup = new Setup(store);
  await until("it has loaded", () => setup.revocations.isLoaded);
  const began = performance.now();
  const looks = store.looks;
  await until("300 ms are over", () => {
    setup.receive();
    return performance.now() - began > 300;
  });
  const more = store.looks - looks;
  assert.ok(more >= 2 && more <= 7, `${more} looks`);
});

Deno.test("a node is loaded only once the store has responded, and does not report an outage", async () => {
  const store = new SharedStore();
  store.error = OUTAGE;
  await store.store.add(ANN);
  using setup = new Setup(store);
  await until("it has tried again", () => store.looks >= 3);
  store.error = new ApiError("log_timeout", "Cannot reach Redis in time");
  await until("it has tried again", () => store.looks >= 5);
  assert.equal(setup.revocations.isLoaded, false);
  store.error = undefined;
  await until("it has loaded", () => setup.revocations.isLoaded);
  assert.ok(setup.knows(ANN));
  assert.deepEqual(setup.observed, []);
});

Deno.test("an error of the store that is not an outage is reported once", async () => {
  const store = new SharedStore();
  store.error = new Error("NOPERM");
  using setup = new Setup(store);
  await until("it has tried again", () => store.looks >= 3);
  assert.deepEqual(setup.observed.map(({ kind }) => kind), ["error"]);
});

Deno.test("what the store has lost is stored again by a node that knows it, and reaches the others", async () => {
  const store = new SharedStore();
  using a = new Setup(store);
  await until("it has loaded", () => a.revocations.isLoaded);
  await a.revoker.revoke(ANN);
  await a.revoker.revoke(BOB);
  store.store = new MemoryRevocationStore();
  const eve = { ...ANN, name: "eve" };
  await store.store.restore([{ ...ANN, at: ANN.at - 1 }]);
  await store.store.restore([eve]);
  await store.store.restore([eve]);
  using b = new Setup(store);
  await until("the other node has loaded", () => b.revocations.isLoaded);
  a.receive();
  await until(
    "it is stored again",
    () =>
      a.observed.some((seen) =>
        seen.kind === "revocations_restored" && seen.count === 2
      ),
  );
  b.receive();
  await until("the other node knows it", () => b.knows(ANN) && b.knows(BOB));
  assert.ok(a.knows(eve));
});

Deno.test("revoke() rejects if it could not be stored, and nothing is revoked", async () => {
  const store = new SharedStore();
  using setup = new Setup(store);
  await until("it has loaded", () => setup.revocations.isLoaded);
  store.error = OUTAGE;
  await assert.rejects(setup.revoker.revoke(ANN), OUTAGE);
  assert.ok(!setup.knows(ANN));
  assert.deepEqual(setup.sent, []);
});
