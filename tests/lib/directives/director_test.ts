import assert from "node:assert/strict";
import type { Cluster, ClusterCommand } from "../../../lib/cluster/cluster.ts";
import {
  type DirectedClients,
  Director,
} from "../../../lib/directives/director.ts";
import {
  type Directive,
  type DirectiveRequest,
  Directives,
} from "../../../lib/directives/directives.ts";
import {
  type DirectiveStore,
  MemoryDirectiveStore,
} from "../../../lib/directives/store.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";
import { pauseFor, until } from "../../support/wait.ts";

const KEPT_MS = 60_000;
const OUTAGE = new ApiError("log_unreachable", "Cannot reach Redis");

function join(name: string, room = "chat"): DirectiveRequest {
  return { kind: "join", target: { by: "user", name }, room };
}

/** A store that several nodes share, and that can fail or be replaced by one that has lost everything. */
class SharedStore implements DirectiveStore {
  store: MemoryDirectiveStore;
  error: Error | undefined;
  /** How often a node has read the directives. */
  looks = 0;

  constructor(store = new MemoryDirectiveStore(KEPT_MS)) {
    this.store = store;
  }

  changes(since: string | undefined) {
    return this.#run(() => {
      this.looks++;
      return this.store.changes(since);
    });
  }

  add(request: DirectiveRequest, floor: string | undefined) {
    return this.#run(() => this.store.add(request, floor));
  }

  restore(directives: readonly Directive[]) {
    return this.#run(() => this.store.restore(directives));
  }

  #run<T>(work: () => Promise<T>): Promise<T> {
    return this.error === undefined ? work() : Promise.reject(this.error);
  }
}

/** The director of one node. Its cluster delivers commands only if the test does. */
class Setup implements Disposable, Cluster, DirectedClients {
  readonly directives = new Directives();
  readonly observed: Observation[] = [];
  readonly sent: ClusterCommand[] = [];
  /** The directives that were passed to the clients, as `user room`. */
  readonly applied: string[] = [];
  /** How often all clients were disconnected. */
  restarts = 0;
  readonly director: Director;
  receive = (): void => {};

  constructor(store: DirectiveStore, retentionMs = KEPT_MS) {
    this.director = new Director({
      store,
      directives: this.directives,
      clients: this,
      cluster: this,
      retentionMs,
      observe: (observation) => void this.observed.push(observation),
    });
  }

  send(command: ClusterCommand): void {
    this.sent.push(command);
  }

  onCommand(kind: string, handle: (command: never) => void): void {
    assert.equal(kind, "directed");
    this.receive = handle as () => void;
  }

  apply(directives: readonly Directive[]): void {
    for (const { kind, target, room } of directives) {
      this.applied.push(`${kind} ${target.name} ${room}`);
    }
  }

  watch(): () => Promise<number> {
    return () => Promise.resolve(this.applied.length);
  }

  restartAll(): number {
    this.restarts++;
    return 12;
  }

  [Symbol.dispose](): void {
    this.director.close();
  }
}

Deno.test("direct() has applied a directive on this node, and another node applies it after the command", async () => {
  const store = new SharedStore();
  using a = new Setup(store);
  using b = new Setup(store);
  await until("both have loaded", () => b.directives.isLoaded);
  assert.equal(await a.director.direct(join("ann")), 1);
  assert.deepEqual(a.applied, ["join ann chat"]);
  assert.deepEqual(a.sent, [{ kind: "directed" }]);
  assert.deepEqual(b.applied, []);
  b.receive();
  await until("the other node knows it", () => b.applied.length > 0, 1000);
});

Deno.test("a directive reaches another node within 2 s without any command", async () => {
  const store = new SharedStore();
  using a = new Setup(store);
  using b = new Setup(store);
  await until("both have loaded", () => b.directives.isLoaded);
  await a.director.direct(join("ann"));
  await until("the other node knows it", () => b.applied.length > 0, 2500);
});

Deno.test("nodes that get different requests at the same time end with the same directive", async () => {
  const store = new SharedStore();
  using a = new Setup(store);
  using b = new Setup(store);
  await until("both have loaded", () => b.directives.isLoaded);
  await Promise.all([
    a.director.direct(join("ann")),
    b.director.direct({ ...join("ann"), kind: "leave" }),
  ]);
  a.receive();
  b.receive();
  const [last] = (await store.changes(undefined)).directives.slice(-1);
  for (const node of [a, b]) {
    await until(
      "the node knows the last one",
      () => node.directives.latest === last?.id,
    );
    assert.deepEqual([...node.directives], [last]);
    assert.equal(node.applied.at(-1), `${last?.kind} ann chat`);
  }
});

Deno.test("a node stores directives again that the store has lost, and they reach the other nodes", async () => {
  const store = new SharedStore();
  using a = new Setup(store);
  await until("it has loaded", () => a.directives.isLoaded);
  await a.director.direct(join("ann", "a"));
  await a.director.direct(join("ann", "b"));
  store.store = new MemoryDirectiveStore(KEPT_MS);
  using b = new Setup(store);
  await until("the other node has loaded", () => b.directives.isLoaded);
  a.receive();
  await until(
    "it is stored again",
    () =>
      a.observed.some((seen) =>
        seen.kind === "directives_restored" && seen.count === 2
      ),
  );
  b.receive();
  await until("the other node knows it", () => b.applied.length === 2);
  assert.deepEqual(b.applied, ["join ann a", "join ann b"]);
  assert.deepEqual(a.applied, b.applied);
  assert.deepEqual([a.restarts, b.restarts], [0, 0]);
});

/** Two nodes with the same directives, of which the second can be cut off from their store. */
async function openCutOff(stack: DisposableStack, retentionMs: number) {
  const store = new MemoryDirectiveStore(retentionMs);
  const cut = new SharedStore(store);
  const a = stack.use(new Setup(store, retentionMs));
  const b = stack.use(new Setup(cut, retentionMs));
  await until("both have loaded", () => b.directives.isLoaded);
  await a.director.direct(join("ann", "a"));
  b.receive();
  await until("both know a directive", () => b.applied.length === 1);
  return { a, b, cut };
}

Deno.test("a node that may have missed directives disconnects its clients once", async () => {
  using stack = new DisposableStack();
  const { a, b, cut } = await openCutOff(stack, 300);
  cut.error = OUTAGE;
  await a.director.direct(join("ann", "b"));
  await pauseFor(310);
  await a.director.direct(join("ann", "c"));
  await pauseFor(310);
  await a.director.direct(join("ann", "d"));
  cut.error = undefined;
  b.receive();
  await until("it has read the rest", () => b.applied.includes("join ann d"));
  assert.ok(!b.applied.includes("join ann b"));
  assert.deepEqual([a.restarts, b.restarts], [0, 1]);
  assert.deepEqual(
    b.observed.filter(({ kind }) => kind === "directives_missed"),
    [{ kind: "directives_missed", clients: 12 }],
  );
  await a.director.direct(join("ann", "e"));
  b.receive();
  await until("it goes on", () => b.applied.includes("join ann e"));
  assert.equal(b.restarts, 1);
});

Deno.test("a node that was cut off for long keeps its clients if no directive was deleted that it has not read", async () => {
  using stack = new DisposableStack();
  const { a, b, cut } = await openCutOff(stack, 300);
  cut.error = OUTAGE;
  await pauseFor(610);
  await a.director.direct(join("ann", "b"));
  cut.error = undefined;
  b.receive();
  await until("it has read the rest", () => b.applied.length === 2);
  assert.deepEqual([a.restarts, b.restarts], [0, 0]);
});

Deno.test("a node without directives keeps its clients after it was cut off for long", async () => {
  const store = new SharedStore(new MemoryDirectiveStore(100));
  using setup = new Setup(store, 100);
  await until("it has loaded", () => setup.directives.isLoaded);
  store.error = OUTAGE;
  await pauseFor(210);
  store.error = undefined;
  setup.receive();
  await until("it has looked again", () => store.looks >= 2);
  await setup.director.direct(join("ann"));
  assert.deepEqual([setup.applied, setup.restarts], [["join ann chat"], 0]);
});

Deno.test("a node that knows no directives keeps its clients after it was cut off for long if it can still read the first one, and only then", async () => {
  const store = new MemoryDirectiveStore(300);
  const cuts = [new SharedStore(store), new SharedStore(store)] as const;
  using a = new Setup(store, 300);
  using b = new Setup(cuts[0], 300);
  using c = new Setup(cuts[1], 300);
  await until("all have loaded", () => c.directives.isLoaded);
  for (const cut of cuts) cut.error = OUTAGE;
  await pauseFor(310);
  await a.director.direct(join("ann", "a"));
  cuts[0].error = undefined;
  b.receive();
  await until("it has read the first one", () => b.applied.length === 1);
  await pauseFor(310);
  await a.director.direct(join("ann", "b"));
  cuts[1].error = undefined;
  c.receive();
  await until("the other one reads both", () => c.applied.length === 2);
  assert.deepEqual([a.restarts, b.restarts, c.restarts], [0, 0, 1]);
});

Deno.test("a directive comes after all that the node knows, also in a store that has lost them and whose clock is behind", async () => {
  const store = new SharedStore();
  using setup = new Setup(store);
  await until("it has loaded", () => setup.directives.isLoaded);
  const id = `${Date.now() + 30_000}-0`;
  setup.directives.add([{ ...join("ann"), kind: "leave", id }]);
  await setup.director.direct(join("ann"));
  assert.deepEqual(setup.applied, ["join ann chat"]);
});

Deno.test("direct() rejects if the directive could not be stored, and nothing is applied", async () => {
  const store = new SharedStore();
  using setup = new Setup(store);
  await until("it has loaded", () => setup.directives.isLoaded);
  store.error = OUTAGE;
  await assert.rejects(setup.director.direct(join("ann")), OUTAGE);
  assert.deepEqual([setup.applied, setup.sent], [[], []]);
  assert.deepEqual(setup.observed, []);
});
