import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { roomcast } from "../../static/roomcast.js";
import { stateLoads } from "../../static/roomcast_state.js";
import { TestApp } from "../support/app.ts";
import { catchErrors } from "../support/catch_errors.ts";
import { makeToken, SECRET } from "../support/tokens.ts";
import { Inbox, TIMEOUT_MS, until } from "../support/wait.ts";

type GetState = NonNullable<Parameters<typeof roomcast>[1]["getState"]>;
type Settings = Partial<Parameters<typeof roomcast>[1]>;

/** An embedded node. */
class Setup implements AsyncDisposable {
  private constructor(readonly app: TestApp, readonly url: string) {}

  static async start(settings: Record<string, string> = {}): Promise<Setup> {
    const app = new TestApp(settings);
    return new Setup(app, `http://127.0.0.1:${await app.serve()}`);
  }

  async publish(message: unknown, room = "a"): Promise<string> {
    const { status, body } = await this.app.post("/publish", { room, message });
    assert.equal(status, 200);
    return body.id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app[Symbol.asyncDispose]();
  }
}

/** A page with the client module that records all calls in order; `await using` closes it. */
class Page implements AsyncDisposable {
  readonly calls = new Inbox<string>();
  readonly cast;

  constructor(url: string, settings: Settings) {
    this.cast = roomcast(io, {
      url,
      rooms: ["a"],
      storage: { getItem: () => null, setItem: () => {} },
      options: { transports: ["websocket"], reconnectionDelay: 10 },
      onLoaded: (state, { room }) => this.calls.push(`${room} state ${state}`),
      onLoading: ({ room, status, error }) =>
        this.calls.push(
          `${room} ${status}${error ? `: ${error.message}` : ""}`,
        ),
      onMessage: (message, { room }) => this.calls.push(`${room} ${message}`),
      onGap: ({ room, reason }) => this.calls.push(`${room} gap ${reason}`),
      onJoined: ({ room }) => this.calls.push(`${room} joined`),
      onRefused: (error, room) =>
        this.calls.push(`${room} refused ${error.data?.code ?? error.code}`),
      ...settings,
    });
  }

  async has(...calls: string[]): Promise<void> {
    await this.calls.have(calls.length);
    assert.deepEqual(this.calls.items, calls);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { engine } = this.cast.socket.io;
    this.cast.close();
    await until("closed", () => !engine || engine.readyState === "closed");
  }
}

Deno.test("onLoaded gets the state of getState, and then every message after the position that getState got", async () => {
  await using setup = await Setup.start();
  await setup.publish("before");
  const positions: string[] = [];
  const getState: GetState = async ({ room, position, signal }) => {
    assert.equal(room, "a");
    assert.equal(signal.aborted, false);
    positions.push(position);
    await setup.publish("during 1");
    await setup.publish("during 2");
    return "of the backend";
  };
  await using page = new Page(setup.url, { getState, last: 10 });
  await page.calls.have(5);
  await setup.publish("after");
  await page.has(
    "a loading",
    "a state of the backend",
    "a during 1",
    "a during 2",
    "a joined",
    "a after",
  );
  const { body } = await setup.app.request("/rooms/a/history?limit=1");
  assert.deepEqual(positions.map((position) => position.split(".")[1]), [
    body.messages[0].id,
  ]);
});

Deno.test("getState is not called again after a reconnect that recovers every message, with or without the session", async () => {
  await using setup = await Setup.start();
  let called = 0;
  await using page = new Page(setup.url, { getState: () => ++called });
  await page.has("a loading", "a state 1", "a joined");
  const { socket } = page.cast;
  for (
    const reconnect of [
      () => socket.io.engine.close(),
      () => socket.disconnect().connect(),
    ]
  ) {
    const before = page.calls.items.length;
    reconnect();
    await setup.publish("missed");
    await page.calls.have(before + 2);
    assert.deepEqual(page.calls.items.slice(before), ["a missed", "a joined"]);
  }
  assert.equal(called, 1);
});

Deno.test("a connection that breaks while getState is running loses no message, and getState is not called again", async () => {
  await using setup = await Setup.start();
  const { promise, resolve } = Promise.withResolvers<string>();
  await using page = new Page(setup.url, { getState: () => promise });
  await page.has("a loading");
  await setup.publish(1);
  const { socket } = page.cast;
  for (
    const reconnect of [
      () => socket.io.engine.close(),
      () => socket.disconnect().connect(),
    ]
  ) {
    reconnect();
    await setup.publish(2);
    await until("the client is connected", () => socket.connected);
    await setup.publish(3);
  }
  socket.disconnect();
  resolve("loaded");
  await promise;
  await setup.publish(4);
  socket.connect();
  await page.has(
    "a loading",
    "a state loaded",
    ...[1, 2, 3, 2, 3, 4].map((message) => `a ${message}`),
    "a joined",
  );
});

Deno.test("leave() and close() while getState is running abort its signal, and nothing is called afterwards", async () => {
  await using setup = await Setup.start();
  for (const how of ["leave", "close"] as const) {
    const started = new Inbox<AbortSignal>();
    const { promise, resolve } = Promise.withResolvers<string>();
    await using page = new Page(setup.url, {
      getState: ({ signal }) => {
        started.push(signal);
        return promise;
      },
    });
    await started.have(1);
    page.cast[how]("a");
    assert.equal(started.items[0]?.aborted, true);
    resolve("too late");
    await promise;
    await setup.publish("unwanted");
    if (how === "leave") {
      await page.cast.socket.emitWithAck("leave", { room: "a" });
      assert.equal(page.cast.socket.connected, true);
    }
    await page.has("a loading");
  }
});

Deno.test("a room that is left and joined again while getState is running calls getState again when the first call has ended", async () => {
  await using setup = await Setup.start();
  const calls: PromiseWithResolvers<string>[] = [];
  await using page = new Page(setup.url, {
    getState: () => {
      const call = Promise.withResolvers<string>();
      calls.push(call);
      return call.promise;
    },
  });
  await until("getState is called", () => calls.length === 1);
  page.cast.leave("a");
  page.cast.join("a");
  await page.cast.socket.emitWithAck("leave", { room: "b" });
  assert.equal(calls.length, 1);
  calls[0]?.resolve("old");
  await until("getState is called again", () => calls.length === 2);
  calls[1]?.resolve("new");
  await page.has("a loading", "a loading", "a state new", "a joined");
});

Deno.test("join() with getState loads the state of one room, and reload() loads it again", async () => {
  await using setup = await Setup.start();
  await setup.publish("history", "b");
  let version = 0;
  await using page = new Page(setup.url, { last: 5 });
  await page.has("a joined");
  const getState = () => `version ${++version}`;
  page.cast.join("b", { getState });
  await page.calls.have(4);
  await setup.publish("live", "b");
  await page.calls.have(5);
  page.cast.reload("b");
  // These have no state to load.
  page.cast.reload("a");
  page.cast.reload("unknown");
  await page.calls.have(8);
  await setup.publish("later", "b");
  await page.has(
    "a joined",
    "b loading",
    "b state version 1",
    "b joined",
    "b live",
    "b loading",
    "b state version 2",
    "b joined",
    "b later",
  );
});

Deno.test("getState that fails is called again, with a position of its own", async () => {
  await using setup = await Setup.start();
  const positions: string[] = [];
  await using page = new Page(setup.url, {
    getState: async ({ position }) => {
      positions.push(position);
      if (positions.length > 1) return "loaded";
      await setup.publish("in the second state");
      throw new Error("the database is down");
    },
  });
  await page.has(
    "a loading",
    "a retrying: the database is down",
    "a loading",
    "a state loaded",
    "a joined",
  );
  assert.notEqual(positions[0], positions[1]);
});

Deno.test("getState works for rooms of the token, for rooms with room tokens, and not for rooms that are refused", async () => {
  await using setup = await Setup.start({ TOKEN_SECRET: SECRET });
  const token = await makeToken({
    sub: "ann",
    rooms: ["user.ann"],
    caps: [{ rooms: ["user.ann"], allow: ["sub"] }],
  });
  await using page = new Page(setup.url, {
    rooms: [],
    getState: ({ room }) => `of ${room}`,
    options: { transports: ["websocket"], auth: { token } },
  });
  await page.has(
    "user.ann loading",
    "user.ann state of user.ann",
    "user.ann joined",
  );
  page.cast.join("b", {
    token: () => makeToken({ caps: [{ rooms: ["b"], allow: ["sub"] }] }),
  });
  await page.calls.have(6);
  page.cast.join("c");
  await page.calls.have(7);
  assert.deepEqual(page.calls.items.slice(3), [
    "b loading",
    "b state of b",
    "b joined",
    "c refused forbidden",
  ]);
});

Deno.test("an error that onLoaded throws is reported, and the messages after the state are delivered", async () => {
  await using setup = await Setup.start();
  using errors = catchErrors();
  await using page = new Page(setup.url, {
    getState: () => setup.publish("during"),
    onLoaded: () => {
      throw new Error("it cannot be shown");
    },
  });
  await page.has("a loading", "a during", "a joined");
  await until("the error is reported", () => errors.messages.length > 0);
  assert.deepEqual(errors.messages, ["it cannot be shown"]);
});

Deno.test("an error that onGap throws is reported, and the state is loaded again", async () => {
  await using setup = await Setup.start();
  using errors = catchErrors();
  let states = 0;
  await using page = new Page(setup.url, {
    getState: () => ++states,
    onGap: () => {
      throw new Error("it cannot be shown");
    },
  });
  await page.has("a loading", "a state 1", "a joined");
  // The handler of the gap, as socket.io-client calls it.
  const gap = { room: "a", reason: "epoch", since: null };
  const [handler] = page.cast.socket.listeners("gap");
  setTimeout(() => handler(gap, "1-0"));
  await page.calls.have(6);
  assert.deepEqual(page.calls.items.slice(3), [
    "a loading",
    "a state 2",
    "a joined",
  ]);
  assert.deepEqual(errors.messages, ["it cannot be shown"]);
});

/**
 * Runs `run` while timers wait only a thousandth of their time, apart from the time limits of tests. Resolves to the
 * delays of the timers.
 */
async function withFastTimers(run: () => Promise<void>): Promise<number[]> {
  const { setTimeout } = globalThis;
  const delays: number[] = [];
  globalThis.setTimeout = ((call: () => void, ms: number) => {
    if (ms === TIMEOUT_MS) return setTimeout(call, ms);
    delays.push(ms);
    return setTimeout(call, ms / 1000);
  }) as unknown as typeof setTimeout;
  try {
    await run();
  } finally {
    globalThis.setTimeout = setTimeout;
  }
  return delays;
}

/** Loads whose positions are known at once. Returns them with what they report. */
function quickLoads(): {
  loads: ReturnType<typeof stateLoads>;
  reports: Inbox<string>;
} {
  const reports = new Inbox<string>();
  const loads = stateLoads(
    (room) => {
      const request = loads.request(room);
      if (request?.since) reports.push("joins");
      else if (request) loads.positioned(room, "e.1-0");
    },
    ({ status, error }) => reports.push(error ? `${status}: ${error}` : status),
  );
  return { loads, reports };
}

Deno.test("stateLoads() gives up after ten failures, with growing delays, and can be started again", async () => {
  let calls = 0;
  let fails = true;
  const getState = () => {
    calls++;
    if (fails) throw new Error("down");
    return "up";
  };
  const { loads, reports } = quickLoads();
  const delays = await withFastTimers(async () => {
    loads.start("a", getState);
    await reports.where(() => reports.items.at(-1) === "failed: Error: down");
  });
  assert.equal(calls, 10);
  assert.equal(loads.phase("a"), "failed");
  assert.equal(loads.request("a"), undefined);
  const waits = delays.filter((ms) => ms < 30_000);
  for (const [i, ms] of waits.slice(0, 5).entries()) {
    assert.ok(ms >= 500 * 2 ** i && ms <= 1000 * 2 ** i, `${ms}`);
  }
  fails = false;
  loads.start("a", getState);
  await reports.where(() => reports.items.at(-1) === "joins");
  assert.deepEqual(loads.finish("a"), { state: "up", position: "e.1-0" });
  assert.equal(loads.phase("a"), undefined);
});

Deno.test("stateLoads() aborts a call of getState that takes longer than 30 s, and counts it as failed", async () => {
  let aborted = false;
  const { loads, reports } = quickLoads();
  const delays = await withFastTimers(async () => {
    loads.start("a", ({ signal }: { signal: AbortSignal }) => {
      signal.addEventListener("abort", () => aborted = true);
      return new Promise(() => {});
    });
    await reports.have(2);
    loads.stop("a");
  });
  assert.equal(delays[0], 30_000);
  assert.ok(aborted);
  assert.deepEqual(reports.items, [
    "loading",
    "retrying: Error: getState has not returned within 30000 ms",
  ]);
});

Deno.test("stateLoads() waits after a gap, and longer after each gap in the join that follows a state", async () => {
  const { loads, reports } = quickLoads();
  const delays = await withFastTimers(async () => {
    loads.start("a", () => "state", { isGap: true });
    await reports.where(() => reports.items.at(-1) === "joins");
    loads.start("a", () => "state", { isGap: true });
    await reports.where(() => reports.items.at(-1) === "joins");
    loads.start("a", () => "state", { isGap: true });
    await reports.where(() => reports.items.at(-1) === "joins");
    loads.finish("a");
  });
  const [first = 0, second = 0, third = 0] = delays.filter((ms) => ms < 30_000);
  assert.ok(first <= 1000);
  assert.ok(second >= 500 && second <= 1000);
  assert.ok(third >= 1000 && third <= 2000);
});
