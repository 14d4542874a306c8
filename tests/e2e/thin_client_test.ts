import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { roomcast } from "../../static/roomcast.js";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { Inbox, until } from "../support/wait.ts";

const FAST = { reconnectionDelay: 20, reconnectionDelayMax: 100 };

/** Storage that survives a page load, like `sessionStorage`. */
class Tab {
  readonly kept = new Map<string, string>();
  broken = false;

  getItem(key: string): string | null {
    if (this.broken) throw new Error("no storage here");
    return this.kept.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    if (this.broken) throw new Error("no storage here");
    this.kept.set(key, value);
  }
}

/** A page with the thin client; `await using` unloads it. */
class Page {
  readonly messages = new Inbox<{ message: unknown; room: string }>();
  readonly gaps = new Inbox<{ room: string; reason: string }>();
  readonly joined = new Inbox<
    { room: string; position: string; recovered: boolean }
  >();
  readonly states: string[] = [];
  readonly whys = new Inbox<{ code: string; message: string } | undefined>();
  readonly refused = new Inbox<string>();
  readonly cast;

  constructor(
    url: string,
    rooms: string[],
    storage: Tab,
    last?: number,
    options: Record<string, unknown> = {},
  ) {
    this.cast = roomcast(io, {
      url,
      rooms,
      storage,
      ...last === undefined ? {} : { last },
      options: { ...FAST, ...options },
      onMessage: (message, { room }) => this.messages.push({ message, room }),
      onGap: (gap) => this.gaps.push(gap),
      onJoined: (joined) => this.joined.push(joined),
      onState: (state, why) => {
        this.states.push(state);
        this.whys.push(why);
      },
      onRefused: (error) => this.refused.push(error.data?.code ?? error.code),
    });
  }

  in(room: string): unknown[] {
    return this.messages.items.filter((item) => item.room === room).map((
      { message },
    ) => message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { engine } = this.cast.socket.io;
    this.cast.close();
    engine?.close();
    await until(
      "the page is unloaded",
      () => engine === undefined || engine.readyState === "closed",
    );
  }
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

Deno.test("the thin client delivers each message once and in order over several page loads", async () => {
  await using redis = await Redis.start();
  for (const env of [{}, { REDIS_URL: redis.url }]) {
    await using node = await TestNode.start(env);
    const tab = new Tab();
    const seen: Record<string, unknown[]> = { a: [], b: [] };
    for (let i = 1; i <= 10; i++) await node.publish(i, "a");
    for (let round = 1; round <= 3; round++) {
      {
        await using page = new Page(node.url, ["a", "b"], tab, 4);
        await page.joined.have(2);
        await node.publish(round * 10 + 1, "a");
        await node.publish(round * 10 + 1, "b");
        await page.messages.where(() =>
          page.in("a").at(-1) === round * 10 + 1 &&
          page.in("b").at(-1) === round * 10 + 1
        );
        assert.equal(page.gaps.items.length, 0);
        assert.deepEqual(
          page.joined.items.map(({ recovered }) => recovered),
          [round > 1, round > 1],
        );
        seen.a?.push(...page.in("a"));
        seen.b?.push(...page.in("b"));
      }
      for (let i = 2; i <= 10; i++) {
        await node.publish(round * 10 + i, "b");
        await node.publish(round * 10 + i, "a");
      }
    }
    assert.deepEqual(seen.a, numbers(7, 31));
    assert.deepEqual(seen.b, numbers(11, 31));
  }
});

Deno.test("the thin client delivers each message once and in order while the page reloads and changes nodes", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using one = await TestNode.start(env);
  await using two = await TestNode.start(env);
  await using proxy = await Proxy.start(one.port);
  const tab = new Tab();
  const seen: unknown[] = [];
  let published = 0;
  let over = false;
  let page = new Page(proxy.url, ["a"], tab, 50);
  try {
    await page.joined.have(1);
    const publishing = (async () => {
      while (!over) await one.publish(++published, "a");
    })();
    for (let round = 0; round < 6; round++) {
      await page.messages.have(30);
      if (round % 2 === 0) {
        proxy.targets = [(round % 4 ? one : two).port];
        proxy.cut();
        await page.messages.have(60);
      }
      await page[Symbol.asyncDispose]();
      seen.push(...page.in("a"));
      page = new Page(proxy.url, ["a"], tab, 50);
    }
    await page.messages.have(30);
    over = true;
    await publishing;
    await page.messages.where(() => page.in("a").at(-1) === published);
    seen.push(...page.in("a"));
    assert.deepEqual(seen, numbers(1, published));
    assert.equal(page.gaps.items.length, 0);
  } finally {
    over = true;
    await page[Symbol.asyncDispose]();
  }
});

Deno.test("the thin client saves positions at pagehide, and works without saved positions if the storage fails", async () => {
  await using node = await TestNode.start();
  const tab = new Tab();
  await using page = new Page(node.url, ["a"], tab);
  await page.joined.have(1);
  await until("the position is written", () => tab.kept.size === 1);
  const [key = ""] = tab.kept.keys();
  assert.equal(key, `roomcast:${node.url}`);
  const id = await node.publish("x", "a");
  await page.messages.have(1);
  dispatchEvent(new Event("pagehide"));
  const [[room, position]] = JSON.parse(tab.kept.get(key) ?? "");
  assert.equal(room, "a");
  assert.ok(position.endsWith(`.${id}`));

  tab.broken = true;
  await node.publish("y", "a");
  await page.messages.have(2);
  dispatchEvent(new Event("pagehide"));
  await using other = new Page(node.url, ["a"], tab, 5);
  await other.messages.have(2);

  for (
    const garbage of [
      "",
      "{",
      "7",
      '{"a":1}',
      '[["a",7]]',
      '[["a",null]]',
      "[7]",
    ]
  ) {
    const full = new Tab();
    full.kept.set(key, garbage);
    await using load = new Page(node.url, ["a"], full);
    await load.joined.have(1);
    const sent = await node.publish(garbage, "a");
    await load.messages.have(1);
    assert.deepEqual(load.in("a"), [garbage], sent);
  }
});

Deno.test("the thin client reports a gap once, whether the client is connected or disconnected while messages are lost", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, HISTORY_SIZE: "10" };
  const tab = new Tab();
  // One address for all nodes, because the tab stores positions by address.
  await using proxy = await Proxy.start();
  const load = (): Page => new Page(proxy.url, ["a"], tab);
  {
    await using node = await TestNode.start(env);
    proxy.targets = [node.port];
    {
      await using page = load();
      await page.joined.have(1);
      await node.publish(0, "a");
      await page.messages.have(1);
    }
    const messages = numbers(1, 500).map((message) => ({ room: "a", message }));
    await node.post("/publish/batch", { messages });
    // The batch is one entry of the log; each of these is an entry of its own.
    for (const message of numbers(501, 505)) await node.publish(message, "a");
    await redis.command("XTRIM", "roomcast:{roomcast}:log", "MAXLEN", "3");
  }
  await using node = await TestNode.start(env);
  proxy.targets = [node.port];
  const expected = [["trimmed"], [], ["epoch"], []];
  for (const [round, reasons] of expected.entries()) {
    if (round === 2) {
      await redis.command("FLUSHALL");
      await node.log.where(() =>
        node.log.items.some(({ kind }) => kind === "epoch_changed")
      );
    }
    await using page = load();
    await page.joined.have(1);
    await node.publish(`live ${round}`, "a");
    await page.messages.have(1);
    assert.deepEqual(page.in("a"), [`live ${round}`]);
    assert.deepEqual(page.gaps.items.map(({ reason }) => reason), reasons);
  }
  {
    await using page = load();
    await page.joined.have(1);
    await redis.command("FLUSHALL");
    const [gap] = await page.gaps.have(1);
    assert.deepEqual([gap?.room, gap?.reason], ["a", "epoch"]);
    await node.publish("after", "a");
    await page.messages.have(1);
  }
  await node.publish("away", "a");
  await using page = load();
  await page.messages.have(1);
  await page.joined.have(1);
  assert.deepEqual(page.in("a"), ["away"]);
  assert.equal(page.gaps.items.length, 0);
});

Deno.test("join and leave of the thin client take effect at once while the client is connected, and otherwise when it connects", async () => {
  await using node = await TestNode.start({ ROOMS_PER_CLIENT_MAX: "2" });
  await using proxy = await Proxy.start(node.port);
  await node.publish(1, "b");
  const tab = new Tab();
  await using page = new Page(proxy.url, ["a"], tab, 5);
  await page.joined.have(1);
  page.cast.join("b");
  await page.messages.have(1);
  await page.joined.have(2);
  await node.publish(2, "b");
  await page.messages.have(2);
  proxy.targets = [];
  proxy.cut();
  await until("the client is disconnected", () => !page.cast.socket.connected);
  page.cast.leave("a");
  page.cast.join("c");
  await node.publish(3, "b");
  await node.publish("for no room of the client", "a");
  await node.publish("history", "c");
  proxy.targets = [node.port];
  await page.messages.have(4);
  await node.publish("live", "c");
  await page.messages.have(5);
  assert.deepEqual(page.in("c"), ["history", "live"]);
  assert.deepEqual(page.in("a"), []);
  assert.deepEqual(page.in("b"), [1, 2, 3]);
  page.cast.join("d");
  assert.deepEqual(
    await page.refused.where(() =>
      page.refused.items.includes("too_many_rooms")
    ),
    undefined,
  );
  assert.equal(page.states[0], "connecting");
  assert.equal(page.states.at(-1), "connected");
  assert.ok(page.states.includes("reconnecting"));
});

Deno.test("the thin client joins a room once if join is called directly after connecting", async () => {
  await using node = await TestNode.start();
  await using page = new Page(node.url, ["a"], new Tab(), 5, {
    transports: ["websocket"],
  });
  await page.joined.have(1);
  const connected = performance.now();
  page.cast.join("b");
  await page.joined.have(2);
  // By then the module has checked for rooms it is not in (CHECK_MS).
  await until(
    "the check is over",
    () => performance.now() > connected + 2_500,
  );
  assert.equal(page.joined.items.length, 2);
});

Deno.test("while Redis is down, the thin client reports why it cannot connect, and it connects when Redis is up", async () => {
  await using redis = await Redis.start();
  await redis.kill();
  const env = { REDIS_URL: redis.url };
  await using node = await TestNode.start(env, { ready: false });
  await using stack = new AsyncDisposableStack();
  const pages: Page[] = [];
  for (const transports of [["websocket"], ["polling"]]) {
    pages.push(
      stack.use(new Page(node.url, ["a"], new Tab(), 0, { transports })),
    );
  }
  await using stock = new Subscriber(node.url, {
    ...FAST,
    transports: ["websocket"],
  });
  for (const { whys, states, refused } of pages) {
    await whys.where(() => whys.items.at(-1) !== undefined);
    assert.deepEqual(whys.items.at(-1), {
      code: "log_unreachable",
      message:
        "Cannot connect: this node has not reached its log yet; connect again later",
    });
    assert.equal(states.at(-1), "connecting");
    assert.deepEqual(refused.items, []);
  }
  await stock.disconnects.have(1);
  const metric = "roomcast_clients_refused_total";
  assert.ok(await node.metric(metric) >= 3);
  const line = node.log.items.find(({ kind }) =>
    kind === "clients_turned_away"
  );
  assert.equal(line?.code, "log_unreachable");
  assert.match(`${line?.why}`, /^Cannot connect: this node has not reached/);
  await redis.restart();
  await Promise.all(pages.map(({ joined }) => joined.have(1)));
  await stock.joined.have(1);
  for (const { states, whys } of pages) {
    assert.equal(states.at(-1), "connected");
    assert.equal(whys.items.at(-1), undefined);
  }
  await node.publish("hello", "a");
  await Promise.all(pages.map(({ messages }) => messages.have(1)));
});

Deno.test("the thin client reports a room that is rejected at connect and does not retry", async () => {
  await using node = await TestNode.start();
  // A poll in flight when the page is unloaded would outlive the test.
  const options = { transports: ["websocket"] };
  await using page = new Page(node.url, ["a\nb"], new Tab(), 0, options);
  await page.refused.have(1);
  assert.equal(page.refused.items[0], "invalid_room");
  assert.equal(page.states.at(-1), "disconnected");
});

Deno.test("the thin client stays away when a backend has disconnected it, and does not ask for a room again out of which it was taken", async () => {
  await using node = await TestNode.start();
  await using page = new Page(node.url, ["a", "b"], new Tab(), 0, {
    transports: ["websocket"],
  });
  await page.joined.have(2);
  const { socket } = page.cast;
  const left = new Inbox<{ room: string; reason: string }>();
  socket.on(
    "left",
    (event: { room: string; reason: string }) => left.push(event),
  );
  const client = { client: socket.id };
  assert.equal((await node.post("/rooms/a/leave", client)).status, 200);
  assert.deepEqual(await left.have(1), [{ room: "a", reason: "removed" }]);
  assert.equal((await node.post("/disconnect", client)).status, 200);
  await page.whys.where(() => page.states.at(-1) === "disconnected");
  assert.equal(socket.active, false);
  socket.connect();
  await page.joined.have(3);
  await node.publish(1, "a");
  await node.publish(2, "b");
  assert.deepEqual(await page.messages.have(1), [{ message: 2, room: "b" }]);
});

Deno.test("the files of the thin client are smaller than 10,000 bytes gzipped", async () => {
  let bytes = 0;
  const folder = new URL("../../static/", import.meta.url);
  for await (const { name } of Deno.readDir(folder)) {
    if (!/^roomcast.*\.js$/.test(name)) continue;
    const file = await Deno.open(new URL(name, folder));
    const gzipped = file.readable.pipeThrough(new CompressionStream("gzip"));
    bytes += (await new Response(gzipped).arrayBuffer()).byteLength;
  }
  assert.ok(bytes > 0 && bytes < 10_000, `${bytes} bytes`);
});
