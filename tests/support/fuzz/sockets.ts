/** Malformed WebSocket frames, packets of Engine.IO and Socket.IO, and bodies of polling clients. */
import fc, { type Arbitrary } from "fast-check";
import { Buffer } from "node:buffer";
import { frameOf, type FrameParts } from "./frames.ts";
import { anyToken, VALID } from "./tokens.ts";
import {
  changed,
  json,
  jsonOf,
  numberText,
  room,
  split,
  utf8,
  word,
} from "./values.ts";
import type { Case, Step } from "./case.ts";

const ENGINE = "/socket.io/?EIO=4&transport=";

/** The request with which a client opens a WebSocket. */
export const UPGRADE =
  `GET ${ENGINE}websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/** How the answer to a valid CONNECT packet begins. */
export const CONNECTED = '40{"sid"';

const position = fc.oneof<Arbitrary<unknown>[]>(
  fc.constantFrom("0-0", "a.0-0", "x.1-1", "$", ""),
  word,
  json,
);

/** What a client asks for when it joins. */
const joinRequest: Arbitrary<unknown> = fc.oneof(
  room,
  fc.record({
    room: fc.oneof<Arbitrary<unknown>[]>(room, json),
    since: position,
    last: fc.oneof<Arbitrary<unknown>[]>(fc.integer(), fc.double(), json),
    token: anyToken,
    presence: json,
    extra: json,
  }, { requiredKeys: [] }),
  json,
);

/** The name of an event and its arguments. */
const event: Arbitrary<unknown[]> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(
      fc.constantFrom(
        "join",
        "join",
        "leave",
        "refresh",
        "publish",
        "presence",
      ),
      fc.oneof<Arbitrary<unknown>[]>(
        joinRequest,
        fc.record({
          room,
          event: word,
          message: json,
          key: word,
          info: json,
          token: anyToken,
        }, { requiredKeys: [] }),
        json,
      ),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.oneof<Arbitrary<unknown>[]>(word, json),
      json,
      json,
    ),
  },
  { weight: 1, arbitrary: fc.array(json, { maxLength: 4 }) },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constant("join"),
      fc.record({
        _placeholder: fc.oneof<Arbitrary<unknown>[]>(fc.constant(true), json),
        num: fc.oneof<Arbitrary<unknown>[]>(
          fc.integer({ min: -2, max: 9 }),
          json,
        ),
      }),
    ),
  },
);

/** What a client sends when it connects. */
const hello: Arbitrary<unknown> = fc.oneof(
  fc.record({
    token: anyToken,
    rooms: fc.oneof<Arbitrary<unknown>[]>(
      fc.array(joinRequest, { maxLength: 3 }),
      json,
    ),
    pid: fc.oneof<Arbitrary<unknown>[]>(word, json),
    offset: position,
    room: json,
    __proto__: json,
  }, { requiredKeys: [] }),
  json,
);

/** A packet of Socket.IO, after the type of Engine.IO's packet. Attachments, namespace and id may be anything. */
const socketPacket: Arbitrary<string> = fc.tuple(
  fc.constantFrom(..."2222223333010456789x".split(""), ""),
  fc.oneof(
    { weight: 8, arbitrary: fc.constant("") },
    {
      weight: 1,
      arbitrary: fc.constantFrom("0-", "1-", "2-", "11-", "99999999-", "-1-"),
    },
    { weight: 1, arbitrary: numberText.map((number) => `${number}-`) },
  ),
  fc.oneof(
    { weight: 8, arbitrary: fc.constant("") },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        "/,",
        "/admin,",
        "/__proto__,",
        "/a?b=c,",
        "/",
      ),
    },
    { weight: 1, arbitrary: word.map((text) => `/${utf8(text)},`) },
  ),
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom("", "0", "1", "17") },
    { weight: 1, arbitrary: numberText },
  ),
  fc.oneof(jsonOf(event), jsonOf(hello)),
).map((parts) => parts.join(""));

/** The text of an Engine.IO packet. Bytes that are no valid UTF-8 are possible. */
export const packet: Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: socketPacket.map((text) => `4${text}`) },
  { weight: 2, arbitrary: changed(socketPacket.map((text) => `4${text}`)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...["0", "1", "2", "2probe", "3", "3probe", "5", "6", "7", "", "41", "4"],
      ...["40", "40{}", "b", "bAAAA", "b====", "4b", "\x1e", "\x1e\x1e"],
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary" }).map(utf8) },
);

/** How a case's client connects: with its token, with anything, or not at all. */
const opening: Arbitrary<Step[]> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constant<Step[]>([
      {
        send: frameOf({
          payload: `40${
            JSON.stringify({ token: VALID, rooms: ["fuzz.a", "fuzz.b"] })
          }`,
        }),
      },
      { until: CONNECTED },
    ]),
  },
  {
    weight: 1,
    arbitrary: jsonOf(hello).map((text): Step[] => [
      { send: frameOf({ payload: `40${text}` }) },
      { until: CONNECTED },
    ]),
  },
  { weight: 1, arbitrary: fc.constant<Step[]>([]) },
);

const ending = fc.constantFrom("end", "destroy", "wait" as const);

/** A frame of which every part may be wrong. */
const frame: Arbitrary<string> = fc.record({
  payload: fc.oneof(
    packet,
    fc.string({ unit: "binary", maxLength: 200 }).map(utf8),
    fc.uint8Array({ maxLength: 300 }).map((bytes) =>
      Buffer.from(bytes).toString("latin1")
    ),
  ),
  opcode: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(1, 1, 2, 0, 8, 9, 10) },
    { weight: 1, arbitrary: fc.nat(15) },
  ),
  fin: fc.oneof(
    { weight: 3, arbitrary: fc.constant(true) },
    { weight: 1, arbitrary: fc.constant(false) },
  ),
  reserved: fc.oneof(
    { weight: 9, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.nat(7) },
  ),
  masked: fc.oneof(
    { weight: 9, arbitrary: fc.constant(true) },
    { weight: 1, arbitrary: fc.constant(false) },
  ),
  form: fc.constantFrom<NonNullable<FrameParts["form"]>[]>(
    ...["shortest", "shortest", 7, 16, 64] as const,
  ),
  declared: fc.option(
    fc.oneof(
      fc.nat(200),
      fc.constantFrom(65_535, 65_536, 131_073, 2 ** 31, 2 ** 32, 2 ** 53),
    ),
    { freq: 8, nil: undefined },
  ),
}).map(frameOf);

/** A valid text or binary message in many frames. */
const fragments: Arbitrary<string> = fc.tuple(
  fc.oneof(packet, fc.integer({ min: 1, max: 2000 }).map((n) => "4".repeat(n))),
  fc.integer({ min: 1, max: 300 }),
  fc.constantFrom(1, 2),
).map(([payload, size, opcode]) => {
  const frames: string[] = [];
  for (let at = 0; at < payload.length || at === 0; at += size) {
    frames.push(frameOf({
      payload: payload.slice(at, at + size),
      opcode: at === 0 ? opcode : 0,
      fin: at + size >= payload.length,
    }));
  }
  return frames.slice(0, 400).join("");
});

/** Frames of a client that has opened a WebSocket. */
export const frames: Arbitrary<Case> = fc.tuple(
  fc.oneof(
    { weight: 9, arbitrary: fc.constant(UPGRADE) },
    { weight: 1, arbitrary: changed(fc.constant(UPGRADE)) },
  ),
  opening,
  split(
    changed(
      fc.array(fc.oneof(frame, fragments), { minLength: 1, maxLength: 5 })
        .map((frames) => frames.join("")),
    ),
  ),
  ending,
).map(([upgrade, opening, chunks, ending]) => ({
  steps: [
    { send: upgrade },
    ...opening,
    ...chunks.map((send) => ({ send })),
  ],
  ending,
}));

/** Packets in valid frames of a client that has opened a WebSocket. */
export const packets: Arbitrary<Case> = fc.tuple(
  opening,
  fc.array(
    fc.tuple(packet, fc.constantFrom(1, 1, 1, 1, 2)),
    { minLength: 1, maxLength: 8 },
  ),
  ending,
).map(([opening, packets, ending]) => ({
  steps: [
    { send: UPGRADE },
    ...opening,
    {
      send: packets.map(([payload, opcode]) => frameOf({ payload, opcode }))
        .join(""),
    },
  ],
  ending,
}));

/** The `{sid}` stands for the id of the connection that the case has opened. */
const pollQuery: Arbitrary<string> = fc.oneof(
  { weight: 5, arbitrary: fc.constant("EIO=4&transport=polling&sid={sid}") },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constantFrom("4", "3", "5", "", "4&EIO=3", "__proto__"),
      fc.constantFrom(
        ...["polling", "websocket", "webtransport", "__proto__", "", "flash"],
      ),
      fc.oneof(
        fc.constantFrom("{sid}", "__proto__", "constructor", "{sid}&sid={sid}"),
        word.map(encodeURIComponentSafely),
      ),
      fc.constantFrom("", "&j=0", "&b64=1", "&t=%00", "&rooms=a", "&[]=1"),
    ).map(([eio, transport, sid, rest]) =>
      `EIO=${eio}&transport=${transport}&sid=${sid}${rest}`
    ),
  },
);

/** Encodes a text for a URL, also if it has half a surrogate pair. */
export function encodeURIComponentSafely(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

/** One request of a polling client. */
const pollRequest: Arbitrary<string> = fc.tuple(
  fc.constantFrom("POST", "POST", "POST", "GET", "OPTIONS", "PUT", "DELETE"),
  pollQuery,
  fc.array(packet, { maxLength: 6 }).map((packets) => packets.join("\x1e")),
  fc.constantFrom(
    "text/plain;charset=UTF-8",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "",
  ),
  fc.oneof(
    { weight: 8, arbitrary: fc.constant<number | undefined>(undefined) },
    {
      weight: 1,
      arbitrary: fc.constantFrom<number>(-1, 0, 1, 131_073, 10 ** 9, 2 ** 53),
    },
  ),
).map(([method, query, body, type, length]) =>
  `${method} /socket.io/?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
  (type === "" ? "" : `Content-Type: ${type}\r\n`) +
  (method === "GET" && length === undefined
    ? "\r\n"
    : `Content-Length: ${length ?? body.length}\r\n\r\n${body}`)
);

/** A polling client, which opens a connection and then sends requests on two TCP connections. */
export const polls: Arbitrary<Case> = fc.tuple(
  fc.constantFrom(true, true, true, false),
  fc.array(
    fc.tuple(
      fc.oneof(pollRequest, changed(pollRequest)),
      fc.constantFrom(0, 1),
    ),
    { minLength: 1, maxLength: 4 },
  ),
  ending,
).map(([connects, requests, ending]) => ({
  steps: [
    { send: `GET ${ENGINE}polling HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n` },
    { until: '"sid"' },
    ...(connects
      ? [
        {
          send: post(
            `40${
              JSON.stringify({ token: VALID, rooms: ["fuzz.a", "fuzz.c"] })
            }`,
          ),
        },
        { until: "\r\n\r\nok" },
      ]
      : []),
    ...requests.map(([send, on]) => ({ send, on })),
  ],
  ending,
}));

function post(body: string): string {
  return `POST ${ENGINE}polling&sid={sid} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
    `Content-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}
