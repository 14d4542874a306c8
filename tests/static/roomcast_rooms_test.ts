import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { roomcast } from "../../static/roomcast.js";
import { TestApp } from "../support/app.ts";
import { HookBackend, json } from "../support/hook_backend.ts";
import { inSeconds, makeToken, SECRET } from "../support/tokens.ts";
import { Inbox, until } from "../support/wait.ts";

/** An embedded node with tokens, and its address. */
class Setup implements AsyncDisposable {
  private constructor(readonly app: TestApp, readonly url: string) {}

  static async start(settings: Record<string, string> = {}): Promise<Setup> {
    const app = new TestApp({ TOKEN_SECRET: SECRET, ...settings });
    return new Setup(app, `http://127.0.0.1:${await app.serve()}`);
  }

  async publish(room: string, message: unknown): Promise<void> {
    const { status } = await this.app.post("/publish", { room, message });
    assert.equal(status, 200);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app[Symbol.asyncDispose]();
  }
}

function caps(...rooms: string[]): { caps: unknown[] } {
  return { caps: [{ rooms, allow: ["sub"] }] };
}

/** A page with the client module; `await using` closes it. */
class Page implements AsyncDisposable {
  /** `room message` for each message. */
  readonly messages = new Inbox<string>();
  readonly joined = new Inbox<string>();
  readonly left = new Inbox<string>();
  readonly refused = new Inbox<string>();
  readonly states = new Inbox<string>();
  readonly cast;

  /** Opens a page whose client sends what `token` returns. */
  constructor(url: string, rooms: string[], token: () => Promise<string>) {
    this.cast = roomcast(io, {
      url,
      rooms,
      storage: { getItem: () => null, setItem: () => {} },
      options: {
        transports: ["websocket"],
        reconnectionDelay: 10,
        auth: (send: (fields: unknown) => void) =>
          void token().then((token) => send({ token })),
      },
      onMessage: (message, { room }) =>
        this.messages.push(`${room} ${message}`),
      onGap: ({ room, reason }) => this.messages.push(`gap ${room} ${reason}`),
      onJoined: ({ room }) => this.joined.push(room),
      onLeft: ({ room, reason }) => this.left.push(`${room} ${reason}`),
      onRefused: (error, room) =>
        this.refused.push(`${room} ${error.data?.code ?? error.code}`),
      onState: (state) => this.states.push(state),
    });
  }

  /** Disconnects the client so that its session ends, and connects it again. */
  reconnect(): void {
    this.cast.socket.disconnect().connect();
  }

  /** Breaks the connection, so that the client resumes its session. */
  async cut(): Promise<void> {
    const { socket } = this.cast;
    socket.io.engine.close();
    await until("the client is back", () => socket.recovered);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { engine } = this.cast.socket.io;
    this.cast.close();
    await until("closed", () => !engine || engine.readyState === "closed");
  }
}

Deno.test("onLeft is called when the server takes the client out of a room, which it then no longer asks for", async () => {
  await using setup = await Setup.start();
  let token = await makeToken({ sub: "ann", ...caps("a", "b") });
  await using page = new Page(
    setup.url,
    ["a", "b"],
    () => Promise.resolve(token),
  );
  await page.joined.have(2);
  token = await makeToken({ sub: "ann", ...caps("a") });
  const { ok } = await page.cast.socket.emitWithAck("refresh", { token });
  assert.equal(ok, true);
  await page.left.have(1);
  assert.deepEqual(page.left.items, ["b revoked"]);
  // If the client still asked for b, the server would refuse it.
  page.reconnect();
  await page.joined.have(3);
  assert.deepEqual(page.refused.items, []);
  // The app can ask again.
  page.cast.join("b");
  await page.refused.have(1);
  assert.deepEqual(page.refused.items, ["b forbidden"]);
});

Deno.test("onRefused is called with the code of a hook, and the client does not try again, whatever the code is", async () => {
  await using backend = await HookBackend.start(
    json({ error: { code: "log_in", message: "Please log in" } }),
  );
  await using setup = await Setup.start({ JOIN_HOOK_URL: backend.url() });
  const token = await makeToken({ sub: "ann", ...caps("a") });
  await using page = new Page(setup.url, ["a"], () => Promise.resolve(token));
  await page.joined.have(1);
  page.cast.join("b");
  await page.refused.have(1);
  assert.deepEqual(page.refused.items, ["b log_in"]);
  await using other = new Page(setup.url, ["b"], () => Promise.resolve(token));
  await other.refused.have(1);
  assert.deepEqual(other.refused.items, ["undefined log_in"]);
  assert.equal(other.states.items.at(-1), "disconnected");
});

Deno.test("the client stays in rooms of its token and receives their messages, until the app leaves them", async () => {
  await using setup = await Setup.start();
  const token = await makeToken({
    sub: "ann",
    rooms: ["user.ann", "all"],
    ...caps("*"),
  });
  await using page = new Page(setup.url, ["a"], () => Promise.resolve(token));
  await page.joined.have(3);
  await setup.publish("user.ann", 1);
  await page.messages.have(1);
  await page.cut();
  await setup.publish("user.ann", 2);
  await page.messages.have(2);
  page.cast.leave("all");
  for (const again of [() => page.reconnect(), () => page.cut()]) {
    const count = page.joined.items.length;
    await again();
    await page.joined.have(count + 2);
    await setup.publish("all", "unwanted");
    await setup.publish("user.ann", 3);
    await page.messages.have(page.messages.items.length + 1);
  }
  assert.ok(!page.messages.items.includes("all unwanted"));
  assert.deepEqual(page.messages.items.slice(0, 2), [
    "user.ann 1",
    "user.ann 2",
  ]);
});

Deno.test("join() with a token asks for one at each join, and again when the server ends the room because it has expired", async () => {
  await using setup = await Setup.start();
  const token = await makeToken({ sub: "ann" });
  await using page = new Page(setup.url, [], () => Promise.resolve(token));
  let asked = 0;
  const roomToken = () => {
    asked++;
    return makeToken(caps("a"));
  };
  page.cast.join("a", { token: roomToken });
  await page.joined.have(1);
  assert.equal(asked, 1);
  // The session has the grant.
  await page.cut();
  assert.equal(asked, 1);
  page.reconnect();
  await page.joined.where(() => asked === 2 && page.joined.items.length >= 2);
  const { socket } = page.cast;
  await socket.emitWithAck("leave", { room: "a" });
  await setup.publish("a", "missed");
  socket.listeners("left")[0]({ room: "a", reason: "expired" });
  await page.messages.have(1);
  assert.deepEqual(page.messages.items, ["a missed"]);
  assert.equal(asked, 3);
  assert.deepEqual([page.left.items, page.refused.items], [[], []]);
});

Deno.test("a room token that cannot be fetched is asked for again, and one that is refused is reported", async () => {
  await using setup = await Setup.start();
  const token = await makeToken({ sub: "ann" });
  await using page = new Page(setup.url, [], () => Promise.resolve(token));
  let isDown = true;
  page.cast.join("a", {
    token: () => {
      if (!isDown) return makeToken(caps("a"));
      isDown = false;
      throw new Error("the backend is down");
    },
  });
  page.cast.join("b", {
    token: () => makeToken({ exp: inSeconds(-60), ...caps("b") }),
  });
  await page.joined.have(1);
  await page.refused.have(1);
  assert.deepEqual(page.joined.items, ["a"]);
  assert.deepEqual(page.refused.items, ["b unauthorized"]);
});

Deno.test("a room that the application leaves in onMessage delivers no further message, and has no position", async () => {
  const app = new TestApp();
  await using _ = app;
  const url = `http://127.0.0.1:${await app.serve()}`;
  for (const message of [1, 2, 3]) {
    await app.post("/publish", { room: "a", message });
  }
  const calls = new Inbox<string>();
  const stored = new Map<string, string>();
  const cast = roomcast(io, {
    url,
    rooms: ["b"],
    last: 3,
    storage: {
      getItem: (key) => stored.get(key),
      setItem: (key, value) => void stored.set(key, value),
    },
    options: { transports: ["websocket"] },
    onMessage: (message, { room }) => {
      calls.push(`${room} ${message}`);
      if (room === "a") cast.leave("a");
    },
    onJoined: ({ room }) => calls.push(`${room} joined`),
  });
  await calls.have(1);
  cast.join("a");
  await calls.have(2);
  cast.join("c");
  await calls.have(3);
  cast.close();
  assert.deepEqual(calls.items, ["b joined", "a 1", "c joined"]);
  const [positions = ""] = stored.values();
  assert.deepEqual(
    JSON.parse(positions).map(([room]: [string]) => room),
    ["b", "c"],
  );
});
