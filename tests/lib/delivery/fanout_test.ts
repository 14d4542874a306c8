import fc from "fast-check";
import assert from "node:assert/strict";
import { FanOut } from "../../../lib/delivery/fanout.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";
import {
  RecordingEncoder,
  RecordingSubscriber,
} from "../../support/recording_subscriber.ts";

const BUFFER_BYTES_MAX = 1000, MIB = 1 << 20;

/** A fan-out and its observations. Of rooms whose names begin with "latest", only the newest message is buffered. */
class Setup {
  readonly observed: Observation[] = [];
  readonly encoder = new RecordingEncoder();
  readonly fanOut = new FanOut({
    clientBufferBytesMax: BUFFER_BYTES_MAX,
    latestOnly: (room) => room.startsWith("latest"),
    observe: (observation) => this.observed.push(observation),
  });

  /** Creates a subscriber and joins it to `rooms`. */
  subscriber(rooms: readonly string[], encoder = this.encoder) {
    const subscriber = new RecordingSubscriber(encoder);
    for (const room of rooms) this.fanOut.join(subscriber, room);
    return subscriber;
  }

  /** Delivers messages in one batch. Each is given as `room/id`. */
  deliver(...messages: string[]): void {
    this.fanOut.deliver(messages.map((message) => {
      const [room = "", id = ""] = message.split("/");
      return { room, id, json: "1" };
    }));
  }

  /** The kinds of all observations, in order. */
  get kinds(): string[] {
    return this.observed.map(({ kind }) => kind);
  }
}

Deno.test("FanOut.deliver() writes a batch of one room as one frame that all subscribers share", () => {
  const setup = new Setup();
  const a = setup.subscriber(["a"]), b = setup.subscriber(["a"]);
  const other = setup.subscriber(["b"]);
  setup.deliver("a/1", "nobody/2", "a/3");
  assert.deepEqual(a.writes, ["1 3"]);
  assert.equal(a.frames[0], b.frames[0]);
  assert.deepEqual(other.writes, []);
  assert.equal(setup.encoder.frames, 1);
  assert.deepEqual(setup.observed, [{ kind: "delivered", count: 4 }]);
});

Deno.test("FanOut.deliver() does not report `delivered` if no room of the messages has subscribers", () => {
  const setup = new Setup();
  setup.deliver("nobody/1", "nobody/2", "other/3");
  setup.deliver();
  assert.deepEqual(setup.observed, []);
});

Deno.test("FanOut.deliver() writes the messages of all rooms of a subscriber in the log's order, in one write", () => {
  const setup = new Setup();
  const both = setup.subscriber(["b", "a"]);
  const same = setup.subscriber(["a", "b"]);
  const one = setup.subscriber(["a", "quiet"]);
  setup.deliver("a/1", "b/2", "a/3", "c/4", "b/5");
  assert.deepEqual(both.writes, ["1 2 3 5"]);
  assert.equal(both.frames[0], same.frames[0]);
  assert.deepEqual(one.writes, ["1 3"]);
  assert.deepEqual(setup.observed, [{ kind: "delivered", count: 10 }]);
});

Deno.test("FanOut.deliver() shares one frame between all subscribers that are in only one room of a batch", () => {
  const setup = new Setup();
  const alone = setup.subscriber(["a"]);
  const quiet = setup.subscriber(["a", "quiet"]);
  setup.deliver("a/1", "b/2");
  setup.subscriber(["b"]);
  setup.deliver("a/3", "b/4");
  assert.deepEqual(quiet.writes, ["1", "3"]);
  assert.deepEqual(alone.frames, quiet.frames);
  assert.equal(setup.encoder.frames, 3);
});

Deno.test("FanOut.deliver() gives each subscriber its messages once and in order, whatever rooms and encoder the subscriber has", () => {
  const room = fc.constantFrom("a", "b", "c", "d");
  fc.assert(fc.property(
    fc.array(fc.record({ rooms: fc.array(room), second: fc.boolean() })),
    fc.array(fc.array(room, { maxLength: 8 }), { maxLength: 5 }),
    (clients, batches) => {
      const setup = new Setup(), second = new RecordingEncoder();
      const subscribers = clients.map((client) =>
        setup.subscriber(client.rooms, client.second ? second : undefined)
      );
      let n = 0;
      const expected = clients.map((): string[] => []);
      for (const batch of batches) {
        const messages = batch.map((room) => ({ room, id: `${n++}` }));
        setup.deliver(...messages.map(({ room, id }) => `${room}/${id}`));
        for (const [index, { rooms }] of clients.entries()) {
          const ids = messages.filter(({ room }) => rooms.includes(room))
            .map(({ id }) => id);
          if (ids.length > 0) expected[index]?.push(ids.join(" "));
        }
      }
      assert.deepEqual(subscribers.map(({ writes }) => writes), expected);
      for (const { frames, encoder } of subscribers) {
        assert.ok(frames.every((frame) => frame.encoder === encoder));
      }
    },
  ));
});

Deno.test("FanOut.deliver() makes one frame for each encoder", () => {
  const setup = new Setup(), second = new RecordingEncoder();
  setup.subscriber(["a"]);
  setup.subscriber(["a"]);
  const others = [
    setup.subscriber(["a"], second),
    setup.subscriber(["a"], second),
  ];
  setup.deliver("a/1");
  assert.equal(setup.encoder.frames, 1);
  assert.equal(second.frames, 1);
  for (const { frames } of others) assert.equal(frames[0]?.encoder, second);
});

Deno.test("FanOut.leave() removes a subscriber from a room that the subscriber has joined twice", () => {
  const setup = new Setup();
  const subscriber = setup.subscriber(["a", "a", "b"]);
  assert.equal(subscriber.roomCount, 2);
  setup.deliver("a/1");
  setup.fanOut.leave(subscriber, "a");
  setup.fanOut.leave(subscriber, "a");
  setup.fanOut.leave(subscriber, "never joined");
  assert.equal(subscriber.roomCount, 1);
  setup.deliver("a/2", "b/3");
  assert.deepEqual(subscriber.writes, ["1", "3"]);
});

Deno.test("FanOut.leave() keeps a room if subscribers with another encoder are still in it", () => {
  const setup = new Setup(), second = new RecordingEncoder();
  const first = setup.subscriber(["a"]);
  const other = setup.subscriber(["a"], second);
  setup.fanOut.leave(other, "a");
  setup.deliver("a/1");
  assert.deepEqual(first.writes, ["1"]);
  assert.deepEqual(other.writes, []);
});

Deno.test("FanOut.deliver() writes to all remaining subscribers if some leave during the call", () => {
  const setup = new Setup(), second = new RecordingEncoder();
  const leaving = setup.subscriber(["a"]);
  const gone = setup.subscriber(["a"]);
  const stays = setup.subscriber(["a"]);
  const other = setup.subscriber(["a"], second);
  leaving.onWrite = () => {
    setup.fanOut.leave(leaving, "a");
    setup.fanOut.leave(gone, "a");
  };
  setup.deliver("a/1");
  assert.deepEqual(
    [leaving, gone, stays, other].map(({ writes }) => writes),
    [["1"], [], ["1"], ["1"]],
  );
  // If the last subscriber of an encoder's group leaves, the next group still gets the message.
  stays.onWrite = () => setup.fanOut.leave(stays, "a");
  setup.deliver("a/2");
  setup.deliver("a/3");
  assert.deepEqual(stays.writes, ["1", "2"]);
  assert.deepEqual(other.writes, ["1", "2", "3"]);
});

Deno.test("FanOut.deliver() reports an error of one subscriber and serves all others", () => {
  const setup = new Setup();
  const broken = setup.subscriber(["a"]), good = setup.subscriber(["a"]);
  const error = new Error("broken");
  broken.onWrite = () => {
    throw error;
  };
  setup.deliver("a/1");
  assert.deepEqual(good.writes, ["1"]);
  assert.deepEqual(setup.observed, [
    { kind: "error", where: "delivering a message", error },
    { kind: "delivered", count: 2 },
  ]);
  setup.fanOut.replay(broken, [{ room: "a", id: "1", json: "1" }]);
  setup.fanOut.send(broken, setup.encoder.messages([]));
  assert.deepEqual(setup.kinds, ["error", "delivered", "error", "error"]);
});

Deno.test("FanOut disconnects a subscriber only once if several writes follow while too many bytes are buffered", () => {
  const setup = new Setup();
  const subscriber = setup.subscriber(["a"]);
  subscriber.idle = false;
  subscriber.bufferedBytes = BUFFER_BYTES_MAX;
  setup.deliver("a/1");
  subscriber.bufferedBytes++;
  assert.equal(subscriber.disconnects, 0);
  setup.deliver("a/2");
  setup.deliver("a/3");
  setup.fanOut.enforceLimit(subscriber);
  assert.deepEqual(subscriber.writes, ["1"]);
  assert.equal(subscriber.disconnects, 1);
  assert.equal(subscriber.disconnectedAsSlow, true);
  const waitingBytes = BUFFER_BYTES_MAX + 1;
  assert.deepEqual(
    setup.observed.filter(({ kind }) => kind !== "delivered"),
    [{ kind: "slow_client_disconnected", waitingBytes }],
  );
});

Deno.test("FanOut does not read the buffered bytes of an idle subscriber", () => {
  const setup = new Setup();
  const subscriber = setup.subscriber(["a"]);
  subscriber.bufferedBytes = Infinity;
  setup.deliver("a/1");
  assert.deepEqual(subscriber.writes, ["1"]);
  setup.fanOut.enforceLimit(subscriber);
  assert.equal(subscriber.disconnects, 1);
});

Deno.test("FanOut.deliver() writes only the newest message of a latest-only room to a subscriber that is not idle", () => {
  const setup = new Setup();
  const busy = setup.subscriber(["latest", "a"]);
  const idle = setup.subscriber(["latest", "a"]);
  busy.idle = false;
  // The limit is exceeded. It applies to all messages except those of latest-only rooms.
  busy.bufferedBytes = BUFFER_BYTES_MAX;
  setup.deliver("latest/1", "a/2", "latest/3");
  assert.deepEqual(idle.writes, ["1 2 3"]);
  assert.deepEqual(busy.latest, ["1", "3"]);
  assert.deepEqual(busy.writes, ["2"]);
  assert.deepEqual(setup.kinds, ["skipped", "delivered"]);
  busy.bufferedBytes++;
  setup.deliver("latest/4");
  assert.equal(busy.disconnects, 0);
  setup.deliver("latest/5", "a/6");
  assert.equal(busy.disconnects, 1);
  assert.deepEqual(busy.writes, ["2"]);
});

Deno.test("FanOut.deliver() makes one frame of each message for all subscribers of a latest-only room that are not idle", () => {
  const setup = new Setup();
  const busy = [1, 2, 3].map(() => setup.subscriber(["latest", "a"]));
  for (const subscriber of busy) subscriber.idle = false;
  setup.deliver("latest/1", "a/2", "latest/3");
  assert.equal(setup.encoder.frames, 3);
  setup.deliver("latest/4");
  assert.equal(setup.encoder.frames, 4);
  for (const subscriber of busy) {
    assert.deepEqual(subscriber.latest, ["1", "3", "4"]);
    assert.deepEqual(subscriber.writes, ["2"]);
  }
});

Deno.test("FanOut.gap() makes one frame for each affected room and encoder", () => {
  const setup = new Setup(), second = new RecordingEncoder();
  const both = setup.subscriber(["a", "b"]);
  const other = setup.subscriber(["a"], second);
  setup.fanOut.gap("epoch", "7-0", "5-0");
  const gap = { reason: "epoch", id: "7-0", since: "5-0" } as const;
  assert.deepEqual(both.frames.map(({ gap }) => gap), [
    { ...gap, room: "a" },
    { ...gap, room: "b" },
  ]);
  assert.deepEqual(other.frames.map(({ gap }) => gap), [{ ...gap, room: "a" }]);
  setup.fanOut.gap("ingress", "8-0", "7-0", (room) => room === "b");
  assert.deepEqual(both.frames.at(-1)?.gap, {
    room: "b",
    reason: "ingress",
    id: "8-0",
    since: "7-0",
  });
  assert.equal(other.frames.length, 1);
});

Deno.test("FanOut.admitAnswer() disconnects a client that requests a second large answer before it reads the first", () => {
  const setup = new Setup();
  const subscriber = setup.subscriber([]);
  assert.equal(setup.fanOut.admitAnswer(subscriber, 100 * MIB), true);
  subscriber.requestedBytes = 8 * MIB;
  assert.equal(setup.fanOut.admitAnswer(subscriber, MIB), true);
  subscriber.requestedBytes = 9 * MIB;
  // A small answer is always allowed.
  assert.equal(setup.fanOut.admitAnswer(subscriber, BUFFER_BYTES_MAX), true);
  assert.equal(subscriber.disconnects, 0);
  assert.equal(setup.fanOut.admitAnswer(subscriber, MIB), false);
  assert.equal(subscriber.disconnects, 1);
});

Deno.test("FanOut.admitAnswer() returns false if more than clientBufferBytesMax bytes of messages are buffered for the client", () => {
  const setup = new Setup();
  const subscriber = setup.subscriber([]);
  subscriber.bufferedBytes = BUFFER_BYTES_MAX + 1;
  assert.equal(setup.fanOut.admitAnswer(subscriber, 1), false);
  assert.equal(subscriber.disconnects, 1);
});

Deno.test("FanOut.admitAnswer() throws overloaded while the large answers of all clients exceed 64 MiB", () => {
  const setup = new Setup();
  const subscribers = Array.from({ length: 9 }, () => setup.subscriber([]));
  for (const subscriber of subscribers.slice(0, 8)) {
    assert.equal(setup.fanOut.admitAnswer(subscriber, 8 * MIB), true);
    subscriber.requestedBytes = 8 * MIB;
  }
  const [first, last] = [subscribers[0], subscribers[8]];
  assert.ok(first && last);
  assert.throws(
    () => setup.fanOut.admitAnswer(last, MIB),
    (error) => error instanceof ApiError && error.code === "overloaded",
  );
  assert.equal(last.disconnects, 0);
  first.requestedBytes = 0;
  assert.equal(setup.fanOut.admitAnswer(last, MIB), true);
});

Deno.test("FanOut forgets a room when the last subscriber leaves, and a large answer when its subscriber has read the answer", () => {
  const setup = new Setup();
  const visited: string[] = [];
  const visit = (): readonly string[] => {
    visited.length = 0;
    setup.fanOut.gap("ingress", "2-0", "1-0", (room) => {
      visited.push(room);
      return false;
    });
    return visited;
  };
  const a = setup.subscriber(["a", "b"]), b = setup.subscriber(["b"]);
  assert.deepEqual(visit(), ["a", "b"]);
  for (const room of ["a", "b"]) setup.fanOut.leave(a, room);
  assert.deepEqual(visit(), ["b"]);
  setup.fanOut.leave(b, "b");
  assert.deepEqual(visit(), []);
  let questions = 0;
  Object.defineProperty(a, "requestedBytes", { get: () => 0 * ++questions });
  assert.equal(setup.fanOut.admitAnswer(a, MIB), true);
  assert.equal(setup.fanOut.admitAnswer(b, MIB), true);
  const asked = questions;
  assert.equal(setup.fanOut.admitAnswer(b, MIB), true);
  assert.equal(questions, asked, "it is not asked for what it has read");
});
