/** The names of events arrive unchanged, by every way into a node and by every way out of it. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { io, type Manager } from "socket.io-client";
import { keysOf } from "../../lib/redis/keys.ts";
import { type RawEntry, readEntry } from "../../lib/redis_log/entries.ts";
import { roomcast } from "../../static/roomcast.js";
import { launch, open } from "../support/browser.ts";
import { Subscriber } from "../support/client.ts";
import {
  AWKWARD_EVENTS,
  INVALID_EVENTS,
  PUBLISHES,
} from "../support/event_names.ts";
import { EventStream, type StreamEvent } from "../support/event_stream.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { Inbox, soon, until } from "../support/wait.ts";

const KEYS = keysOf("roomcast");
const EVENTS = [...AWKWARD_EVENTS, "msgReceived"];

/** The clients that publish. */
interface Publishers {
  readonly socket: Subscriber;
  readonly cast: Pick<ReturnType<typeof roomcast>, "publish">;
}

/** A message with the name of its event. */
type Named = readonly [event: string, message: unknown];

/** A stock client that records the messages of all events. */
class Listener implements AsyncDisposable {
  readonly received = new Inbox<Named>();
  readonly #client: Subscriber;

  private constructor(client: Subscriber) {
    this.#client = client;
    client.socket.onAny((event, ...args) => {
      if (args.length !== 3) return;
      const [message, info, id] = args;
      assert.deepEqual(info, { room: "a", at: parseInt(id) });
      this.received.push([event, message]);
    });
  }

  static async connect(
    node: TestNode,
    options: Record<string, unknown>,
  ): Promise<Listener> {
    return new Listener(
      await Subscriber.connect(node.url, {
        auth: { rooms: ["a"] },
        reconnectionDelay: 10,
        ...options,
      }),
    );
  }

  /** Breaks the connection, and lets the client recover after `away` has run. */
  async away(run: () => Promise<unknown>): Promise<void> {
    const { socket, connects, disconnects } = this.#client;
    const { io } = socket as unknown as { io: Manager };
    io.reconnection(false);
    io.engine.close();
    await disconnects.have(1);
    await run();
    io.reconnection(true);
    socket.connect();
    await connects.have(2);
    assert.equal(connects.items.at(-1), true, "it has recovered");
  }

  /** Checks that the client receives exactly these messages, in order. */
  async receives(messages: readonly Named[]): Promise<void> {
    await this.received.have(messages.length);
    assert.deepEqual(this.received.items, messages);
  }

  /** Joins the room, and returns the messages of the answer. */
  async join(room: string): Promise<Named[]> {
    const [{ messages }] = await this.#client.ask("join", { room, last: 1000 });
    return messages.map(toNamed);
  }

  /** How often the client has lost its connection. */
  get disconnects(): number {
    return this.#client.disconnects.items.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }
}

function toNamed(
  { event = "msgReceived", message }: { event?: string; message: unknown },
): Named {
  return [event, message];
}

function toNamedEvent({ event, data }: StreamEvent): Named {
  return [event, data.message];
}

/** Publishes with every name by every way. Returns the messages of the room `a`. */
async function publishAll(
  node: TestNode,
  { socket, cast }: Publishers,
): Promise<Named[]> {
  const all: Named[] = [];
  for (const event of EVENTS) {
    const message = `${event}, by socket`;
    const [{ ok }] = await socket.ask("publish", { room: "a", event, message });
    assert.equal(ok, true);
    all.push([event, message]);
  }
  for (const event of EVENTS) {
    const message = `${event}, by the client module`;
    await cast.publish("a", message, { event });
    all.push([event, message]);
  }
  for (const [way, request] of Object.entries(PUBLISHES)) {
    for (const event of EVENTS) {
      const message = `${event}, by ${way}`;
      const { status, text } = await node.request(
        ...request("a", event, message),
      );
      assert.equal(status, 200, text);
      all.push([event, message]);
    }
  }
  // Several messages in one entry of the log, and in one frame.
  const messages = EVENTS.map((event, i) => ({ room: "a", event, message: i }));
  const { status } = await node.post("/publish/batch", { messages });
  assert.equal(status, 200);
  return [...all, ...messages.map(toNamed)];
}

/** The client module, and what it passes to `onMessage` and to the listeners of each name. */
interface Module extends Disposable, Pick<Publishers, "cast"> {
  readonly all: Named[];
  readonly listened: Inbox<Named>;
  readonly joined: Inbox<unknown>;
}

/** Starts the client module. */
function useModule(node: TestNode): Module {
  const all: Named[] = [];
  const listened = new Inbox<Named>(), joined = new Inbox<unknown>();
  const cast = roomcast(io, {
    url: node.url,
    rooms: ["a"],
    storage: { getItem: () => null, setItem: () => {} },
    options: { transports: ["websocket"] },
    onMessage: (message, { event, room }) => {
      assert.equal(room, "a");
      all.push([event, message]);
    },
    onGap: (gap) => assert.fail(JSON.stringify(gap)),
    onJoined: (room) => joined.push(room),
  });
  for (const name of EVENTS) {
    cast.on<string>(name, (message, { event }) => {
      assert.equal(event, name);
      listened.push([event, message]);
    });
    cast.on(name, () => assert.fail("it has been removed"))();
  }
  return { cast, all, listened, joined, [Symbol.dispose]: () => cast.close() };
}

/** Registers a test that does not check for leaks: a stock client that polls leaves timers behind when it is closed. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

for (const log of ["the embedded log", "the log on Redis"]) {
  test(`names of events arrive unchanged by every way in and out, with ${log}`, async () => {
    await using stack = new AsyncDisposableStack();
    const redis = log === "the log on Redis"
      ? stack.use(await Redis.start())
      : undefined;
    const node = stack.use(
      await TestNode.start({
        CHANNELS: "-",
        ...redis && { REDIS_URL: redis.url },
      }),
    );
    const listen = async (
      options: Record<string, unknown>,
    ): Promise<Listener> => stack.use(await Listener.connect(node, options));
    const websocket = await listen({ transports: ["websocket"] });
    const polling = await listen({ transports: ["polling"] });
    const away = await listen({ transports: ["websocket"] });
    const awayPolling = await listen({ transports: ["polling"] });
    const events = stack.use(
      await EventStream.start(`${node.url}/rooms/a/events`),
    );
    const module = stack.use(useModule(node));
    await module.joined.have(1);

    const socket = stack.use(
      await Subscriber.connect(node.url, { transports: ["websocket"] }),
    );
    const publishers = { socket, cast: module.cast };

    let published: Named[] = [];
    await away.away(() =>
      awayPolling.away(async () =>
        published = await publishAll(node, publishers)
      )
    );
    for (const client of [websocket, polling, away, awayPolling]) {
      await client.receives(published);
    }
    await events.events.have(published.length);
    assert.deepEqual(events.events.items.map(toNamedEvent), published);
    const again = stack.use(
      await EventStream.start(`${node.url}/rooms/a/events?last=1000`),
    );
    await again.events.have(published.length);
    assert.deepEqual(again.events.items.map(toNamedEvent), published);
    await module.listened.have(published.length);
    assert.deepEqual(module.listened.items, published);
    assert.deepEqual(module.all, published);

    const { body } = await node.get("/rooms/a/history?limit=1000");
    assert.deepEqual(body.messages.map(toNamed), published);
    assert.equal(
      body.messages.filter(({ event }: { event?: string }) => !event).length,
      published.filter(([event]) => event === "msgReceived").length,
    );
    const other = await listen({ auth: { rooms: ["other"] } });
    assert.deepEqual(await other.join("a"), published);

    for (const [event] of INVALID_EVENTS) {
      for (const request of Object.values(PUBLISHES)) {
        const { status, body } = await node.request(
          ...request("a", event, "m"),
        );
        assert.deepEqual([status, body.error.code], [400, "invalid_event"]);
      }
      const request = { room: "a", event, message: "m" };
      const [{ ok, error }] = await socket.ask("publish", request);
      assert.deepEqual([ok, error.code], [false, "invalid_event"]);
      await assert.rejects(
        module.cast.publish("a", "m", { event }),
        { code: "invalid_event" },
      );
    }
    await node.publish("last", "a");
    await websocket.receives([...published, ["msgReceived", "last"]]);
  });
}

Deno.test("a message whose entry another program has written with a reserved name arrives as msgReceived", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({
    CHANNELS: "-",
    REDIS_URL: redis.url,
  });
  const options = { transports: ["websocket"] };
  await using live = await Listener.connect(node, options);
  await using away = await Listener.connect(node, options);
  await node.publish("by Roomcast", "a");
  const written: Named[] = [["msgReceived", "by Roomcast"]];
  await away.receives(written);
  const write = async (event: string): Promise<void> => {
    const message = `${event} by another program`;
    const line = `0 ${JSON.stringify(message)}\x1f${JSON.stringify({ event })}`;
    const [last] = await redis.command(
      "XREVRANGE",
      KEYS.log,
      "+",
      "-",
      "COUNT",
      "1",
    ) as RawEntry[];
    const total = String((last && readEntry(last).total || 0) + 1);
    const id = await redis.command(
      ...["XADD", KEYS.log, "*", "run", total, "a", line],
    );
    await redis.command(
      ...["XADD", KEYS.history("a"), String(id), "run"],
      ...[String(written.length + 1), "lines", line],
    );
    written.push(["msgReceived", message]);
  };
  await away.away(async () => {
    for (const [event] of INVALID_EVENTS) await write(event);
    await live.receives(written);
  });
  await away.receives(written);
  await using other = await Listener.connect(node, {
    auth: { rooms: ["other"] },
  });
  assert.deepEqual(await other.join("a"), written);
  const { body } = await node.get("/rooms/a/history?limit=1000");
  assert.deepEqual(body.messages.map(toNamed), written);
  // No client has closed its connection.
  assert.deepEqual([live.disconnects, away.disconnects], [0, 1]);
});

/** Returns the rows that the page shows: the name of the event, and the message. */
function rows(page: Page): Promise<string[][]> {
  return page.evaluate(
    `[...document.querySelectorAll(".pane.current .message")].map(
    (row) => [".fact", ".text"].map((part) => row.querySelector(part)?.textContent ?? "none"),
  )`,
  );
}

test("the page shows names of events unchanged, and publishes with them", async () => {
  await using node = await TestNode.start();
  await using browser = await launch();
  await using first = await open(browser, `${node.url}/?room=a`);
  const { page } = first;
  const shown: string[][] = [];
  const showsAll = async (page: Page): Promise<void> => {
    await until(
      "the page shows all messages",
      async () => (await rows(page)).length >= shown.length,
    );
    assert.deepEqual(await rows(page), shown);
  };
  const send = async (event: string, message: string): Promise<void> => {
    await page.fill(".pane.current .event", event);
    await page.fill(".pane.current textarea", message);
    await page.press(".pane.current textarea", "Enter");
    await page.locator(".pane.current .answer code").waitFor();
  };
  for (const [i, event] of EVENTS.entries()) {
    await send(event, `message ${i}`);
    shown.push([event === "msgReceived" ? "none" : event, `message ${i}`]);
    await soon(showsAll(page), "the page shows the message");
  }
  await page.fill(".pane.current .event", "connect");
  await page.fill(".pane.current textarea", "not sent");
  await page.press(".pane.current textarea", "Enter");
  await page.locator(".pane.current .error", { hasText: "reserved for" })
    .waitFor();
  // The message and the name are put back.
  assert.equal(await page.inputValue(".pane.current textarea"), "not sent");
  assert.equal(await page.inputValue(".pane.current .event"), "connect");
  // Another page gets the messages as the answer to its join.
  await using second = await open(browser, `${node.url}/?room=a`);
  await showsAll(second.page);
  assert.deepEqual([...second.errors, ...first.errors.slice(1)], []);
});
