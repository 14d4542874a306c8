import assert from "node:assert/strict";
import type { Entry } from "../../../lib/log/log.ts";
import {
  HEARTBEAT,
  SseEncoder,
  type SseFrame,
} from "../../../lib/sse/encoder.ts";
import { AWKWARD_EVENTS } from "../../support/event_names.ts";
import { type StreamEvent, StreamParser } from "../../support/event_stream.ts";

const EPOCH = "0123456789abcdef";

function entry(sequence: number, facts: Partial<Entry> = {}): Entry {
  return { id: `1700-${sequence}`, room: "chat", json: '"hello"', ...facts };
}

function textOf(frame: SseFrame): string {
  return frame.body.toString();
}

function allOf(frames: Iterator<SseFrame>): SseFrame[] {
  return [...Iterator.from(frames)];
}

/** Returns the events that a client reads in frames. */
function eventsIn(...frames: SseFrame[]): StreamEvent[] {
  const events: StreamEvent[] = [];
  const parser = new StreamParser((event) => events.push(event));
  for (const frame of frames) parser.read(textOf(frame));
  return events;
}

Deno.test("SseEncoder.messages() encodes a position, the name of the event, and the message with its room, id, time and publisher", () => {
  const encoder = new SseEncoder({ epoch: EPOCH });
  const frame = encoder.messages([
    entry(1),
    entry(2, { json: '{"a":[1]}', meta: { event: "order.paid", from: "ann" } }),
  ]);
  assert.equal(
    textOf(frame),
    `id: ${EPOCH}.1700-1\nevent: msgReceived\n` +
      'data: {"message":"hello","room":"chat","id":"1700-1","at":1700}\n\n' +
      `id: ${EPOCH}.1700-2\nevent: order.paid\n` +
      'data: {"message":{"a":[1]},"room":"chat","id":"1700-2","at":1700,"from":"ann"}\n\n',
  );
});

Deno.test("a frame has its events as one chunk of HTTP/1.1, and without it", () => {
  const encoder = new SseEncoder({ epoch: EPOCH });
  const { chunk, body } = encoder.messages([
    entry(1, { json: JSON.stringify("é€😀".repeat(1000)) }),
  ]);
  const expected = `${body.length.toString(16)}\r\n${body}\r\n`;
  assert.equal(chunk.toString(), expected);
  assert.equal(HEARTBEAT.chunk.toString(), "3\r\n:\n\n\r\n");
});

Deno.test("every valid name of an event is read as it was published", () => {
  const encoder = new SseEncoder({ epoch: EPOCH });
  const frame = encoder.messages(
    AWKWARD_EVENTS.map((event, i) => entry(i, { meta: { event } })),
  );
  assert.deepEqual(eventsIn(frame).map(({ event }) => event), AWKWARD_EVENTS);
});

Deno.test("a message that another program has written on several lines arrives whole", () => {
  const encoder = new SseEncoder({ epoch: EPOCH });
  const frame = encoder.messages([
    entry(1, { json: '{\r\n  "a": "b",\n\n"c":\r1}' }),
    entry(2),
  ]);
  const [first, second] = eventsIn(frame);
  assert.deepEqual(first?.data.message, { a: "b", c: 1 });
  assert.equal(second?.data.id, "1700-2");
});

Deno.test("a gap, left and token_expiring do not move the position of the client", () => {
  const encoder = new SseEncoder({ epoch: EPOCH });
  const events = eventsIn(
    encoder.messages([entry(1)]),
    encoder.gap({
      room: "chat",
      reason: "trimmed",
      since: "1700-1",
      id: "1800-0",
    }),
    encoder.event("left", { room: "chat", reason: "revoked" }),
    encoder.event("token_expiring", { expiresAt: 5 }),
  );
  assert.deepEqual(
    events.map(({ lastEventId }) => lastEventId),
    Array(4).fill(`${EPOCH}.1700-1`),
  );
  assert.deepEqual(events.slice(1).map(({ event, data }) => [event, data]), [
    ["gap", { room: "chat", reason: "trimmed", since: "1700-1", id: "1800-0" }],
    ["left", { room: "chat", reason: "revoked" }],
    ["token_expiring", { expiresAt: 5 }],
  ]);
});

for (const hasData of [false, true]) {
  const how = hasData ? "as an event" : "without an event";
  Deno.test(`SseEncoder.opening() sets the position and the time to reconnect, ${how}`, () => {
    const encoder = new SseEncoder({ epoch: EPOCH });
    const position = `${EPOCH}.1700-9`;
    const events: StreamEvent[] = [];
    const parser = new StreamParser((event) => events.push(event));
    parser.read(textOf(encoder.opening(position, 1234, hasData)));
    assert.equal(parser.lastEventId, position);
    assert.equal(parser.retryMs, 1234);
    assert.deepEqual(
      events,
      hasData
        ? [{ event: "position", lastEventId: position, data: { position } }]
        : [],
    );
  });
}

Deno.test("SseEncoder.replay() encodes in chunks, and shares the first chunk within an epoch", () => {
  const head = { epoch: EPOCH };
  const encoder = new SseEncoder(head);
  const json = JSON.stringify("x".repeat(100_000));
  const entries = Array.from({ length: 7 }, (_, i) => entry(i, { json }));
  const frames = allOf(encoder.replay(entries));
  assert.equal(frames.length, 3);
  assert.deepEqual(
    eventsIn(...frames).map(({ data }) => data.id),
    entries.map(({ id }) => id),
  );
  const [again] = allOf(encoder.replay(entries));
  assert.equal(again, frames[0]);
  head.epoch = "fedcba9876543210";
  const [other] = allOf(encoder.replay(entries));
  assert.ok(other && textOf(other).startsWith("id: fedcba9876543210.1700-0\n"));
});

Deno.test("SseEncoder.replay() names the epoch of its messages in each chunk, also if another epoch begins meanwhile", () => {
  const head = { epoch: EPOCH };
  const encoder = new SseEncoder(head);
  const json = JSON.stringify("x".repeat(100_000));
  const entries = Array.from({ length: 7 }, (_, i) => entry(i, { json }));
  const frames = encoder.replay(entries);
  head.epoch = "fedcba9876543210";
  assert.deepEqual(
    eventsIn(...allOf(frames)).map(({ lastEventId }) => lastEventId),
    entries.map(({ id }) => `${EPOCH}.${id}`),
  );
});
