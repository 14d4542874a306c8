import assert from "node:assert/strict";
import { type HeadState, LogHead } from "../../../lib/log/head.ts";
import { soon } from "../../support/wait.ts";

type State = { -readonly [K in keyof HeadState]: HeadState[K] };

/** A timeout in ms that never passes in a test that succeeds. */
const LONG = 10_000;

function makeHead(
  id = "5-0",
): { state: State; head: LogHead; moveTo: (id: string) => void } {
  const state: State = {
    epoch: "epoch",
    id,
    began: "1-0",
    confirmed: true,
    lineage: "lineage",
  };
  const head = new LogHead(state);
  return {
    state,
    head,
    moveTo: (id) => {
      state.id = id;
      head.moved();
    },
  };
}

/** Collects the names of promises in the order in which the promises resolve. */
function watch(promises: Record<string, Promise<boolean>>): string[] {
  const settled: string[] = [];
  for (const [name, promise] of Object.entries(promises)) {
    void promise.then((result) => settled.push(`${name} ${result}`));
  }
  return settled;
}

/** Waits until all queued microtasks have run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("LogHead returns the current values of the state object that the constructor was given", () => {
  const { state, head } = makeHead();
  Object.assign(state, { id: "6-0", epoch: "", confirmed: false });
  assert.deepEqual(
    [head.id, head.epoch, head.began, head.confirmed, head.lineage],
    ["6-0", "", "1-0", false, "lineage"],
  );
});

Deno.test("LogHead.reached() resolves to true at once if the id was already delivered", async () => {
  const { head } = makeHead();
  assert.equal(await soon(head.reached("5-0", LONG), "it resolves"), true);
  assert.equal(await soon(head.reached("4-9", LONG), "it resolves"), true);
});

Deno.test("LogHead.reached() resolves to true at the first call of moved() after the id was delivered", async () => {
  const { head, state, moveTo } = makeHead();
  const settled = watch({
    six: head.reached("6-0", LONG),
    exact: head.reached("7-1", LONG),
    far: head.reached("9-0", LONG),
  });
  state.id = "6-5";
  await turn();
  assert.deepEqual(settled, [], "a step that is not over wakes nobody");
  head.moved();
  assert.deepEqual(settled, [], "callers go on after the step, not inside it");
  await turn();
  assert.deepEqual(settled, ["six true"]);
  moveTo("7-0");
  moveTo("7-1");
  await turn();
  assert.deepEqual(settled, ["six true", "exact true"]);
  moveTo("9-1");
  await turn();
  assert.deepEqual(settled, ["six true", "exact true", "far true"]);
});

Deno.test("LogHead.reached() resolves to false after the timeout", async () => {
  const { head, moveTo } = makeHead();
  const [short, long] = [head.reached("6-0", 20), head.reached("6-0", LONG)];
  assert.equal(await soon(short, "it resolves"), false);
  moveTo("6-0");
  assert.equal(await soon(long, "it resolves"), true);
});

Deno.test("LogHead.reached() resolves to true at the timeout if the id was delivered but moved() was not called", async () => {
  const { head, state } = makeHead();
  const reached = head.reached("6-0", 20);
  state.id = "6-0";
  assert.equal(await soon(reached, "it resolves"), true);
});

Deno.test("LogHead.moved() wakes a caller that waits for a smaller id while other callers wait for larger ones", async () => {
  const { head, moveTo } = makeHead();
  const names = ["9-0", "7-0", "8-0", "6-0"];
  const settled = watch(
    Object.fromEntries(names.map((id) => [id, head.reached(id, LONG)])),
  );
  for (const id of ["5-1", "6-0", "7-0", "8-0", "9-0"]) {
    moveTo(id);
    await turn();
  }
  assert.deepEqual(
    settled,
    ["6-0 true", "7-0 true", "8-0 true", "9-0 true"],
  );
});

Deno.test("LogHead.whenStarted() and whenConfirmed() resolve to true when moved() is called and their condition is met", async () => {
  const { head, state } = makeHead();
  Object.assign(state, { epoch: "", confirmed: false });
  const settled = watch({
    started: head.whenStarted(LONG),
    confirmed: head.whenConfirmed(LONG),
    id: head.reached("6-0", LONG),
  });
  state.epoch = "epoch";
  head.moved();
  await turn();
  assert.deepEqual(settled, ["started true"]);
  state.confirmed = true;
  head.moved();
  await turn();
  assert.deepEqual(settled, ["started true", "confirmed true"]);
  state.id = "6-0";
  head.moved();
  await turn();
  assert.equal(settled.length, 3);
});

Deno.test("LogHead.whenStarted() and whenConfirmed() resolve to false after the timeout", async () => {
  const { head, state } = makeHead();
  Object.assign(state, { epoch: "", confirmed: false });
  const results = Promise.all([head.whenStarted(10), head.whenConfirmed(10)]);
  assert.deepEqual(await soon(results, "both resolve"), [false, false]);
});

Deno.test("LogHead.moved() reads the state only if a waiting caller's condition can be met", async () => {
  const { state } = makeHead();
  let id = "5-0", reads = 0;
  const head = new LogHead({
    ...state,
    epoch: "",
    get id() {
      reads++;
      return id;
    },
  });
  const readsOfStep = (): number => {
    reads = 0;
    head.moved();
    return reads;
  };
  await soon(head.whenStarted(1), "it resolves");
  await soon(head.reached("6-0", 1), "it resolves");
  assert.equal(readsOfStep(), 0, "nobody waits");
  const waiting = ["6-0", "8-0", "9-0"].map((id) => head.reached(id, 50));
  assert.equal(readsOfStep(), 1, "only the smallest id is compared");
  id = "6-0";
  head.moved();
  assert.equal(readsOfStep(), 1, "the smallest id is 8-0 now");
  await soon(Promise.all(waiting), "all resolve");
});

Deno.test("LogHead.moved() looks at no caller that goes on waiting, however many there are", async () => {
  const { state } = makeHead();
  let id = "5-0", reads = 0;
  const head = new LogHead({
    ...state,
    get id() {
      reads++;
      return id;
    },
  });
  const far = Array.from(
    { length: 1000 },
    (_, i) => head.reached(`${9 + i % 10}-0`, 50),
  );
  for (const next of ["6-0", "7-0", "8-0"]) {
    const near = head.reached(next, LONG);
    id = next;
    reads = 0;
    head.moved();
    assert.ok(reads <= 2, `it has read the id ${reads} times`);
    assert.equal(await soon(near, "it resolves"), true);
  }
  assert.ok((await Promise.all(far)).every((isMet) => !isMet));
  reads = 0;
  head.moved();
  assert.equal(reads, 0, "nobody waits any more");
});
