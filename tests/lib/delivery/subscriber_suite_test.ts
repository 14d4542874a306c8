/** Tests that every implementation of Subscriber must pass, on real connections of each protocol. */
import assert from "node:assert/strict";
import { FanOut } from "../../../lib/delivery/fanout.ts";
import type { Entry } from "../../../lib/log/log.ts";
import { compareIds } from "../../../lib/log/position.ts";
import type { Observation } from "../../../lib/observer.ts";
import {
  type Protocol,
  PROTOCOLS,
  type TestClient,
} from "../../support/subscriber_protocols.ts";
import { AWKWARD_EVENTS } from "../../support/event_names.ts";
import { until } from "../../support/wait.ts";

const BUFFER_BYTES_MAX = 100_000;
/**
 * The text of a large message. Large messages fill the kernel's buffers of a connection, which have a few MB, in little
 * time.
 */
const LARGE = "x".repeat(40_000);
/** Number of large messages that exceeds the kernel's buffers of one connection on any system. */
const LARGE_COUNT_MAX = 1500;

/** A server of one protocol with its clients, and a fan-out with its observations. */
class Setup implements AsyncDisposable {
  readonly observed: Observation[] = [];
  readonly fanOut = new FanOut({
    clientBufferBytesMax: BUFFER_BYTES_MAX,
    latestOnly: (room) => room.startsWith("latest"),
    observe: (observation) => this.observed.push(observation),
  });
  readonly #stack = new AsyncDisposableStack();
  #last = 0;

  /** Starts a server and connects one client for each list of rooms. */
  static async start<const T extends readonly (readonly string[])[]>(
    { start }: Protocol,
    ...rooms: T
  ): Promise<[Setup, ...{ [K in keyof T]: TestClient }]> {
    const setup = new Setup();
    const server = setup.#stack.use(await start());
    const clients: TestClient[] = [];
    for (const names of rooms) {
      const client = setup.#stack.use(await server.connect());
      for (const room of names) setup.fanOut.join(client.subscriber, room);
      clients.push(client);
    }
    return [setup, ...clients as { [K in keyof T]: TestClient }];
  }

  /** Creates a message with the next id. */
  entry(room: string, message: unknown = "small"): Entry {
    const id = `1000-${++this.#last}`;
    return { id, room, json: JSON.stringify(message) };
  }

  /** Delivers one message to each of `rooms`, all in one batch. Returns the messages' ids. */
  deliver(...rooms: string[]): string[] {
    const entries = rooms.map((room) => this.entry(room));
    this.fanOut.deliver(entries);
    return entries.map(({ id }) => id);
  }

  /** Delivers large messages, each in a batch of its own, until `condition()` is true. Returns the messages' ids. */
  async deliverLarge(
    room: string,
    condition: () => boolean,
  ): Promise<string[]> {
    const ids: string[] = [];
    while (!condition()) {
      assert.ok(ids.length < LARGE_COUNT_MAX, "the kernel buffers everything");
      const entry = this.entry(room, LARGE);
      this.fanOut.deliver([entry]);
      ids.push(entry.id);
      await turn();
    }
    return ids;
  }

  /** Counts the observations of a kind. */
  count(kind: Observation["kind"]): number {
    return this.observed.filter((observation) => observation.kind === kind)
      .length;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/**
 * Resolves in the next turn of the event loop, so that batches are delivered in separate turns, as they arrive from the
 * log.
 */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** Waits until a client has received the events with these ids, in this order and no others. */
async function receives(client: TestClient, ids: readonly string[]) {
  await until(
    "the client has everything",
    () => client.received.length >= ids.length,
  );
  assert.deepEqual(client.ids, ids);
}

for (const protocol of PROTOCOLS) {
  const test = (what: string, run: () => Promise<void>) =>
    Deno.test(`a subscriber of ${protocol.name} ${what}`, run);

  test("receives a batch of its rooms in the log's order, in one write", async () => {
    const [setup, both, one, other] = await Setup.start(
      protocol,
      ["a", "b"],
      ["b"],
      ["other"],
    );
    await using _ = setup;
    const [a1, b2, , a4, b5] = setup.deliver("a", "b", "nobody", "a", "b");
    await receives(both, [a1, b2, a4, b5] as string[]);
    await receives(one, [b2, b5] as string[]);
    assert.deepEqual([both.reads, one.reads], [1, 1]);
    assert.deepEqual(both.received[1], {
      event: "msgReceived",
      room: "b",
      id: b2,
      message: "small",
      ...(protocol.name.startsWith("Socket.IO") ? {} : { at: 1000 }),
    });
    const [last] = setup.deliver("other");
    await receives(other, [last as string]);
    assert.equal(setup.count("error"), 0);
  });

  test("receives any message unchanged", async () => {
    const [setup, client] = await Setup.start(protocol, ["a", 'r"1 é']);
    await using _ = setup;
    const messages = [
      null,
      "",
      "line\nbreak\r\n\n and \u2028",
      { "€😀": [1, { deep: "x".repeat(70_000) }] },
    ];
    const entries = messages.map((message) => setup.entry('r"1 é', message));
    setup.fanOut.deliver(entries.slice(0, 1));
    setup.fanOut.deliver(entries.slice(1));
    await receives(client, entries.map(({ id }) => id));
    assert.deepEqual(client.received.map(({ message }) => message), messages);
    assert.equal(client.received[0]?.room, 'r"1 é');
  });

  test("receives a message as the event whose name the message has, alone, in a batch and in a replay", async () => {
    const [setup, client] = await Setup.start(protocol, ["a", "b"]);
    await using _ = setup;
    const entries = [undefined, ...AWKWARD_EVENTS].map((event, i) => ({
      ...setup.entry(i % 2 === 0 ? "a" : "b", i),
      ...(event !== undefined && { meta: { event } }),
    }));
    setup.fanOut.deliver(entries);
    setup.fanOut.replay(client.subscriber, entries);
    for (const entry of entries) setup.fanOut.deliver([entry]);
    const names = entries.map(({ meta }) => meta?.event ?? "msgReceived");
    await until(
      "all arrive",
      () => client.received.length > 3 * names.length - 1,
    );
    assert.deepEqual(
      client.received.map(({ event, message }) => [event, message]),
      [1, 2, 3].flatMap(() => names.map((name, i) => [name, i])),
    );
  });

  test("receives every message once and in order if its client stops reading now and then", async () => {
    const [setup, client] = await Setup.start(protocol, ["a", "b"]);
    await using _ = setup;
    const ids: string[] = [];
    for (let i = 0; i < 300; i++) {
      if (i % 30 === 0) client.pause();
      const entries = [setup.entry("a", i % 3 === 0 ? LARGE : i)];
      if (i % 2 === 0) entries.push(setup.entry("b", i));
      setup.fanOut.deliver(entries);
      ids.push(...entries.map(({ id }) => id));
      await turn();
      if (i % 30 === 20) {
        client.resume();
        await until("all is read", () => client.received.length === ids.length);
      }
    }
    client.resume();
    await receives(client, ids);
    assert.equal(client.subscriber.disconnectedAsSlow, false);
    await until("it is idle", () => client.subscriber.idle);
    assert.equal(client.subscriber.bufferedBytes, 0);
  });

  test("is disconnected if too many bytes are buffered for it, while other subscribers receive every message", async () => {
    const [setup, slow, quick] = await Setup.start(protocol, ["a"], ["a"]);
    await using _ = setup;
    slow.pause();
    let most = 0;
    const ids = await setup.deliverLarge("a", () => {
      most = Math.max(most, slow.subscriber.bufferedBytes);
      return slow.subscriber.disconnectedAsSlow;
    });
    // The limit is checked before a write, so that one more message may be buffered.
    assert.ok(most > BUFFER_BYTES_MAX, `${most} bytes`);
    assert.ok(most < BUFFER_BYTES_MAX + 2 * LARGE.length, `${most} bytes`);
    const [observation] = setup.observed.filter(({ kind }) =>
      kind === "slow_client_disconnected"
    );
    assert.ok(observation && "waitingBytes" in observation);
    assert.ok(observation.waitingBytes > BUFFER_BYTES_MAX);
    // No further bytes are buffered or counted.
    ids.push(...setup.deliver("a", "a"));
    assert.equal(slow.subscriber.bufferedBytes, 0);
    assert.equal(setup.count("slow_client_disconnected"), 1);
    slow.resume();
    await until("the slow client is disconnected", () => slow.closed);
    assert.ok(slow.received.length < ids.length);
    assert.deepEqual(slow.ids, ids.slice(0, slow.received.length));
    await receives(quick, ids);
    assert.equal(setup.count("error"), 0);
  });

  test("buffers only the newest message of a latest-only room while the subscriber is not idle", async () => {
    const [setup, slow] = await Setup.start(protocol, ["latest", "latest2"]);
    await using _ = setup;
    slow.pause();
    await setup.deliverLarge("latest", () => !slow.subscriber.idle);
    const before = setup.count("skipped");
    for (let i = 0; i < 50; i++) {
      setup.fanOut.deliver([
        setup.entry("latest", LARGE),
        setup.entry("latest2", LARGE),
      ]);
    }
    assert.ok(setup.count("skipped") - before >= 49);
    assert.ok(slow.subscriber.bufferedBytes < 20 * LARGE.length);
    assert.equal(slow.subscriber.disconnectedAsSlow, false);
    const newest = setup.deliver("latest", "latest2");
    const delivered = setup.observed.length;
    slow.resume();
    await until(
      "the newest messages arrive",
      () => newest.every((id) => slow.ids.includes(id)),
    );
    assert.ok(slow.received.length < delivered);
    assert.deepEqual(slow.ids, slow.ids.toSorted(compareIds));
    assert.deepEqual(slow.ids.slice(-2), newest);
  });

  test("receives a large replay in order before later messages, and is not disconnected as slow", async () => {
    const [setup, slow, quick] = await Setup.start(protocol, ["a"], ["a"]);
    await using _ = setup;
    slow.pause();
    // 16 MB, many times the limit of buffered bytes.
    const missed = Array.from(
      { length: 400 },
      (_, i) => setup.entry(i % 2 === 0 ? "a" : "b", LARGE),
    );
    for (const { subscriber } of [slow, quick]) {
      setup.fanOut.replay(subscriber, missed);
      assert.equal(subscriber.bufferedBytes, 0);
      setup.fanOut.replay(subscriber, []);
    }
    assert.equal(slow.subscriber.idle, false);
    const ids = [...missed.map(({ id }) => id), ...setup.deliver("a", "a")];
    assert.ok(slow.subscriber.bufferedBytes < 2000);
    ids.push(...setup.deliver("a"));
    await receives(quick, ids);
    assert.equal(slow.subscriber.disconnectedAsSlow, false);
    slow.resume();
    await receives(slow, ids);
    await until("it is idle", () => slow.subscriber.idle);
    assert.equal(setup.count("error"), 0);
  });

  test("tells how a replay gets on, and that it has ended once the client has read all but the last bytes", async () => {
    const [setup, client] = await Setup.start(protocol, ["a"]);
    await using _ = setup;
    client.pause();
    const missed = Array.from({ length: 400 }, () => setup.entry("a", LARGE));
    let parts = 0, ends = 0;
    const watcher = {
      progressed: () => void parts++,
      finished: () => void ends++,
    };
    setup.fanOut.replay(client.subscriber, [], watcher);
    assert.deepEqual([parts, ends], [0, 1]);
    setup.fanOut.replay(client.subscriber, missed, watcher);
    await turn();
    const before = parts;
    assert.ok(before > 0 && ends === 1);
    client.resume();
    await until("it has ended", () => ends === 2);
    assert.ok(parts > before);
    await receives(client, missed.map(({ id }) => id));
    assert.equal(client.subscriber.closed, false);
    client.subscriber.disconnect();
    await until("it is closed", () => client.subscriber.closed);
    assert.deepEqual(ends, 2);
  });

  test("is disconnected during a replay if too many bytes of later messages are buffered", async () => {
    const [setup, slow] = await Setup.start(protocol, ["a"]);
    await using _ = setup;
    slow.pause();
    const missed = Array.from({ length: 400 }, () => setup.entry("a", LARGE));
    setup.fanOut.replay(slow.subscriber, missed);
    const ids = await setup.deliverLarge(
      "a",
      () => slow.subscriber.disconnectedAsSlow,
    );
    assert.ok(ids.length < 10, `${ids.length} messages`);
    slow.resume();
    await until("the client is disconnected", () => slow.closed);
  });

  test("receives a gap after earlier messages and before later messages", async () => {
    const [setup, client, other] = await Setup.start(protocol, ["a"], ["b"]);
    await using _ = setup;
    const [first] = setup.deliver("a");
    setup.fanOut.gap("ingress", "1000-7", "1000-5", (room) => room === "a");
    const [last] = setup.deliver("a", "b");
    await receives(client, [first, "1000-7", last] as string[]);
    assert.deepEqual(client.received[1], {
      event: "gap",
      id: "1000-7",
      room: "a",
      reason: "ingress",
      since: "1000-5",
    });
    await until(
      "the other client has its message",
      () => other.received.length === 1,
    );
    setup.fanOut.gap("epoch", "1000-9", "1000-8");
    await until(
      "both have the gap",
      () => client.ids.includes("1000-9") && other.ids.includes("1000-9"),
    );
  });

  test("counts the bytes of an answer in requestedBytes until its client has read them", async () => {
    const [setup, client] = await Setup.start(protocol, ["a"]);
    await using _ = setup;
    client.pause();
    await setup.deliverLarge("a", () => !client.subscriber.idle);
    const { subscriber } = client;
    const before = subscriber.bufferedBytes;
    subscriber.respond(() => {
      subscriber.write(subscriber.encoder.messages([setup.entry("a", LARGE)]));
    });
    assert.ok(subscriber.requestedBytes >= LARGE.length);
    assert.ok(subscriber.requestedBytes < LARGE.length + 1000);
    assert.equal(subscriber.bufferedBytes, before);
    client.resume();
    await until("all is read", () => subscriber.idle);
    assert.deepEqual([subscriber.requestedBytes, subscriber.bufferedBytes], [
      0,
      0,
    ]);
  });

  test("ignores writes without an error after it was disconnected", async () => {
    const [setup, gone, other] = await Setup.start(protocol, ["a"], ["a"]);
    await using _ = setup;
    await gone[Symbol.asyncDispose]();
    const ids: string[] = [];
    for (let i = 0; i < 20; i++) {
      ids.push(...setup.deliver("a", "a"));
      setup.fanOut.gap("trimmed", `2000-${i}`, "1000-0");
      ids.push(`2000-${i}`);
      setup.fanOut.replay(gone.subscriber, [setup.entry("a")]);
      await turn();
    }
    await receives(other, ids);
    assert.equal(gone.subscriber.bufferedBytes, 0);
    setup.fanOut.leave(gone.subscriber, "a");
    assert.equal(gone.subscriber.roomCount, 0);
    assert.equal(setup.count("error"), 0);
  });
}

Deno.test("FanOut.deliver() writes the same messages to subscribers of different protocols in the same rooms", async () => {
  await using stack = new AsyncDisposableStack();
  const [setup] = await Setup.start(PROTOCOLS[0] as Protocol);
  stack.use(setup);
  const clients: TestClient[] = [];
  for (const { start } of PROTOCOLS) {
    const server = stack.use(await start());
    const client = stack.use(await server.connect());
    setup.fanOut.join(client.subscriber, "a");
    setup.fanOut.join(client.subscriber, "b");
    clients.push(client);
  }
  const ids = setup.deliver("a", "b", "a");
  setup.fanOut.gap("epoch", "1000-4", "1000-3", (room) => room === "a");
  ids.push("1000-4");
  for (const client of clients) await receives(client, ids);
  assert.equal(setup.observed.length, 1);
});
