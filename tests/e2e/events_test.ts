/** Streams of Server-Sent Events: with `curl`, with an `EventSource` in Chromium, behind nginx, and many of them. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { compareIds } from "../../lib/log/position.ts";
import { launch, open } from "../support/browser.ts";
import { Subscriber } from "../support/client.ts";
import { CurlStream } from "../support/curl_stream.ts";
import { EventStream } from "../support/event_stream.ts";
import { find } from "../support/install.ts";
import { TestNode } from "../support/node.ts";
import { ProxiedNodes } from "../support/proxied_nodes.ts";
import { RawStream } from "../support/raw_stream.ts";
import { Redis } from "../support/redis.ts";
import { RestartingNodes } from "../support/restarting_nodes.ts";
import { pauseFor, until } from "../support/wait.ts";

/** Number of streams, and of sockets beside them. `STREAMS=1000` runs the test with 1,000 of each. */
const STREAMS = Number(Deno.env.get("STREAMS") ?? 50);
const MESSAGES = 40;
/** How long nodes are killed and drained while streams are open, in s; more with `CHAOS_SECONDS`. */
const CHAOS_SECONDS = Number(Deno.env.get("CHAOS_SECONDS") ?? 3);
const curl = await find("curl");
const nginx = await find("nginx");

/** What an `EventSource` in a page has received. */
interface PageEvents {
  readonly messages: unknown[];
  readonly gaps: unknown[];
  /** How often it was opened, also by a stream that ended at once because of a temporary error. */
  readonly opened: number;
  /** How often a stream has begun, which tells its position. */
  readonly begun: number;
  readonly readyState: number;
}

/** Opens an `EventSource` in a page, without any code of Roomcast. */
async function openEventSource(page: Page, path: string): Promise<void> {
  await page.evaluate(`{
    const source = new EventSource(${JSON.stringify(path)});
    const found = window.found = { messages: [], gaps: [], opened: 0, begun: 0 };
    source.addEventListener("msgReceived", ({ data }) => found.messages.push(JSON.parse(data).message));
    source.addEventListener("gap", ({ data }) => found.gaps.push(JSON.parse(data)));
    source.addEventListener("open", () => found.opened++);
    source.addEventListener("position", () => found.begun++);
    window.source = source;
  }`);
}

async function eventsOf(page: Page): Promise<PageEvents> {
  return await page.evaluate(
    "({ ...window.found, readyState: window.source.readyState })",
  ) as PageEvents;
}

Deno.test({
  name:
    "curl and an EventSource in Chromium miss nothing if their node is killed, stopped, or Redis restarts",
  ignore: curl === undefined,
  async fn() {
    await using redis = await Redis.start();
    await using nodes = await RestartingNodes.start(2, {
      REDIS_URL: redis.url,
      DRAIN_SECONDS: "1",
    });
    const path = "/events?rooms=a,b";
    await using browser = await launch();
    await using opened = await open(
      browser,
      `${nodes.url(0)}/livez`,
      {},
      false,
    );
    const { page } = opened;
    await openEventSource(page, path);
    await using command = new CurlStream(nodes.url(0) + path);
    await until(
      "both have begun",
      async () =>
        (await eventsOf(page)).begun === 1 &&
        command.parser.lastEventId !== "",
    );
    const published: string[] = [];
    const publish = async (): Promise<void> => {
      const messages = Array.from({ length: 20 }, (_, i) => {
        const message = `message ${published.length + i}`;
        return { room: i % 2 === 0 ? "a" : "b", message, key: message };
      });
      await nodes.publish(messages);
      published.push(...messages.map(({ message }) => message));
    };
    const arrived = async (): Promise<void> => {
      await until(
        "everything has arrived",
        async () =>
          (await eventsOf(page)).messages.length >= published.length &&
          command.messages.length >= published.length,
      );
      const { messages, gaps } = await eventsOf(page);
      assert.deepEqual(messages, published);
      assert.deepEqual(command.messages, published);
      assert.deepEqual([...gaps, ...command.gaps], []);
    };
    await publish();
    await arrived();
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      nodes.nodes[0]?.signal(signal);
      await nodes.nodes[0]?.exited();
      await publish();
      await nodes.revive(0);
      await publish();
      await arrived();
    }
    const { opened: before } = await eventsOf(page);
    await redis.kill("SIGTERM");
    await redis.restart();
    await publish();
    await arrived();
    const { opened: after, begun } = await eventsOf(page);
    // They stay connected while Redis is away.
    assert.equal(after, before);
    // It may have been opened once more, if the browser came back to a node that was still stopping.
    assert.equal(begun, 3);
  },
});

Deno.test("an EventSource in Chromium that is refused for now comes back by itself", async () => {
  await using node = await TestNode.start({ CONNECTS_PER_SECOND_MAX: "1" });
  await using browser = await launch();
  await using opened = await open(browser, `${node.url}/livez`, {}, false);
  const { page } = opened;
  await until("the only place is taken", async () => {
    await using stream = await EventStream.open(`${node.url}/events`);
    return stream.response.status === 503;
  });
  await openEventSource(page, "/events");
  await until(
    "it was refused and has come back",
    async () => (await eventsOf(page)).opened >= 2,
  );
  await until("it is connected", async () => {
    await node.publish("hello");
    return (await eventsOf(page)).messages.includes("hello");
  });
  assert.equal((await eventsOf(page)).readyState, 1);
});

Deno.test(`${STREAMS} streams get the same messages as ${STREAMS} sockets`, async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using stack = new AsyncDisposableStack();
  const streams = Array.from(
    { length: STREAMS },
    () => new RawStream(["a", "b"]),
  );
  for (let i = 0; i < STREAMS; i += 100) {
    for (const stream of streams.slice(i, i + 100)) {
      stream.ids = [];
      stream.connect(node.port);
      stack.defer(() => stream.cut());
    }
    await until(
      "the streams have begun",
      () => streams.slice(0, i + 100).every(({ joined }) => joined === 1),
    );
  }
  const sockets: Subscriber[] = [];
  for (let i = 0; i < STREAMS; i++) {
    sockets.push(
      stack.use(
        await Subscriber.connect(node.url, {
          transports: ["websocket"],
          auth: { rooms: ["a", "b"] },
        }),
      ),
    );
  }
  assert.equal(await node.metric("roomcast_clients"), 2 * STREAMS);
  assert.equal(await node.metric("roomcast_streams"), STREAMS);
  const ids = await Promise.all(
    Array.from(
      { length: MESSAGES },
      (_, i) => node.publish(i, i % 3 === 0 ? "a" : "b"),
    ),
  );
  await Promise.all(sockets.map(({ messages }) => messages.have(MESSAGES)));
  await until(
    "the streams have everything",
    () => streams.every(({ received }) => received >= MESSAGES),
  );
  const [first] = sockets;
  assert.deepEqual(first?.ids.toSorted(), ids.toSorted());
  for (const { ids } of [...sockets, ...streams]) {
    assert.deepEqual(ids, first?.ids);
  }
});

Deno.test("streams miss nothing while their nodes are killed and drained again and again", async () => {
  await using redis = await Redis.start();
  await using nodes = await RestartingNodes.start(2, {
    REDIS_URL: redis.url,
    DRAIN_SECONDS: "1",
  });
  const streams = Array.from({ length: 20 }, () => new RawStream(["a", "b"]));
  const ids: string[] = [];
  let isOver = false;
  const ports = [0, 1].map((index) => Number(new URL(nodes.url(index)).port));
  const running = streams.map(async (stream, i) => {
    stream.ids = [];
    for (; !isOver; i++) {
      stream.connect(ports[i % 2] ?? 0);
      await until("it is closed", () => stream.isClosed || isOver, 600_000);
      await pauseFor(Math.random() * 100);
    }
    stream.cut();
  });
  await until(
    "all have begun",
    () => streams.every(({ joined }) => joined > 0),
  );
  const end = performance.now() + CHAOS_SECONDS * 1000;
  const disturbing = nodes.disturb(end, 500);
  while (performance.now() < end) {
    const from = ids.length;
    ids.push(
      ...await nodes.publish(
        Array.from({ length: 10 }, (_, i) => ({
          room: i % 2 === 0 ? "a" : "b",
          message: from + i,
          key: `${from + i}`,
        })),
      ),
    );
    await pauseFor(20);
  }
  await disturbing;
  await until(
    "all have everything",
    () => streams.every(({ received }) => received >= ids.length),
  );
  isOver = true;
  await Promise.all(running);
  assert.ok(streams.some(({ joined }) => joined > 1), "none had to reconnect");
  ids.sort(compareIds);
  for (const { ids: received, gaps, disordered } of streams) {
    assert.deepEqual([gaps, disordered], [0, 0]);
    assert.deepEqual(received, ids);
  }
});

Deno.test("a stream that is not read is cut, and resumes without a gap", async () => {
  await using node = await TestNode.start({
    CLIENT_BUFFER_BYTES_MAX: "200000",
    MESSAGE_BYTES_MAX: "100000",
  });
  const stream = new RawStream(["a"]);
  stream.ids = [];
  stream.connect(node.port);
  await until("it has begun", () => stream.joined === 1);
  stream.pause();
  const ids: string[] = [];
  const text = "x".repeat(60_000);
  await until("it is cut", async () => {
    for (let i = 0; i < 20; i++) ids.push(await node.publish(text, "a"));
    return await node.metric("roomcast_streams") === 0;
  });
  assert.equal(
    await node.metric("roomcast_slow_clients_disconnected_total"),
    1,
  );
  assert.ok(ids.length < 1000, "the history has everything");
  stream.resume();
  await until("it is closed", () => stream.isClosed);
  assert.ok(stream.received < ids.length);
  stream.connect(node.port);
  await until("it has everything", () => stream.received >= ids.length);
  assert.deepEqual(stream.ids, ids);
  assert.deepEqual([stream.gaps, stream.disordered], [0, 0]);
  stream.cut();
});

Deno.test("a stream is told that the log was emptied, and goes on in the new epoch", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  const url = `${node.url}/events?rooms=a,b`;
  await using stream = await EventStream.start(url);
  await node.publish("before", "a");
  await stream.events.have(1);
  await redis.command("FLUSHALL");
  await stream.events.have(3);
  const reasons = (events: typeof stream.events.items) =>
    events.filter(({ event }) => event === "gap")
      .map(({ data }) => `${data.room} ${data.reason}`).sort();
  assert.deepEqual(reasons(stream.events.items), ["a epoch", "b epoch"]);
  // The stream stays at its last message, so that the gap would be told again.
  const [first] = stream.events.items;
  const { lastEventId = "" } = first ?? {};
  assert.equal(stream.parser.lastEventId, lastEventId);
  await using behind = await EventStream.start(url, { lastEventId });
  assert.deepEqual(reasons(behind.events.items), ["a epoch", "b epoch"]);
  const { lastEventId: begun } = behind.parser;
  await node.publish("after", "b");
  await stream.events.have(4);
  assert.deepEqual(stream.messages, ["before", "after"]);
  assert.notEqual(
    stream.parser.lastEventId.split(".")[0],
    lastEventId.split(".")[0],
  );
  await using next = await EventStream.start(url, { lastEventId: begun });
  await next.events.have(1);
  assert.deepEqual(next.messages, ["after"]);
});

Deno.test("SIGTERM ends streams evenly, and they do not hold up the end of the process", async () => {
  await using node = await TestNode.start({ DRAIN_SECONDS: "1" });
  await using stack = new AsyncDisposableStack();
  const streams: EventStream[] = [];
  for (let i = 0; i < 20; i++) {
    streams.push(stack.use(await EventStream.start(`${node.url}/events`)));
  }
  const start = performance.now();
  const ends = streams.map(async (stream) => {
    await stream.ended();
    return performance.now() - start;
  });
  node.signal("SIGTERM");
  assert.equal(await node.exited(), 0);
  const took = performance.now() - start;
  assert.ok(took < 2000, `it took ${took} ms`);
  const [first = 0, ...others] = await Promise.all(ends);
  // At 50 in a second, the last of 20 ends after 380 ms.
  assert.ok(Math.max(...others) - first > 200);
  for (const { error } of streams) assert.equal(error, undefined);
  const [stopping] = node.log.items.filter(({ kind }) => kind === "stopping");
  assert.equal(stopping?.clients, 20);
});

Deno.test({
  name:
    "a stream behind nginx, configured as in docs/deploy/nginx.md, is not buffered, and goes on at another node",
  ignore: nginx === undefined,
  async fn() {
    await using site = await ProxiedNodes.start(nginx ?? "");
    const url = `${site.proxy.url}/rooms/chat/events`;
    const stream = await EventStream.start(url);
    for (let i = 0; i < 3; i++) {
      // nginx would wait for 4 KiB of such messages if it buffered them.
      await site.nodes[0].publish(i);
      await stream.events.have(i + 1);
    }
    const [dead, left] = await site.byClients();
    dead.signal("SIGKILL");
    await stream.ended();
    const { lastEventId } = stream.parser;
    await left.publish(3);
    await using next = await EventStream.start(url, { lastEventId });
    await left.publish(4);
    await next.events.have(2);
    assert.deepEqual([...stream.messages, ...next.messages], [0, 1, 2, 3, 4]);
  },
});
