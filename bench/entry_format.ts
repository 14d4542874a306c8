// deno-lint-ignore-file no-console -- a benchmark prints its results
/**
 * Measures how much memory a log entry takes in Redis, and how much CPU time a node needs to make a WebSocket frame of
 * the entry, in two formats:
 *
 * - the format of `@socket.io/redis-streams-adapter`: `uid, nsp, type, data`, where `data` is the packet and its
 *   options as JSON. A frame is made as the adapter makes it: `JSON.parse` of `data`, the id appended to the arguments,
 *   socket.io-parser's `Encoder`, ws' `Sender.frame`;
 * - Roomcast's format: `room, message`. A frame is made as Roomcast makes it: `JSON.parse` to check the message, the
 *   packet built as text around it, `textFrame`.
 *
 * A node makes one frame for each message, however many clients it has. The time to write to sockets is not measured.
 *
 *     deno run -A bench/entry_format.ts
 *
 * Needs redis-server (or valkey-server) on PATH and starts its own.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import process from "node:process";
import { createClient } from "@redis/client";
import { encodeTextFrame } from "../lib/websocket/frame.ts";
import { timestampOf } from "../lib/log/position.ts";
import { Redis } from "../tests/support/redis.ts";

/** Number of entries in the Redis stream whose memory is measured. */
const ENTRIES = 10_000;
/** Number of messages in each measured round. */
const MESSAGES = 20_000;
/** Number of measured rounds. */
const ROUNDS = 15;
/** Number of rounds that are not measured, before the measured rounds. */
const WARM_UP_ROUNDS = 3;

const ROOM = "chat";
/** An entry's id and fields as Redis returns them. */
type Entry = readonly [id: string, fields: Readonly<Record<string, string>>];

/** A format of log entries: how entries are written and read. */
interface Format {
  readonly name: string;
  /** Returns the fields of the entry for a message, which is given as JSON. */
  readonly fields: (json: string) => Readonly<Record<string, string>>;
  /** Returns the WebSocket frame of an entry's message, in one or more pieces. */
  readonly frame: (entry: Entry) => readonly Buffer[];
}

/** The parts of Socket.IO's dependencies that this benchmark uses. */
interface Encoder {
  encode(packet: unknown): (string | Buffer)[];
}
interface Parser {
  readonly Encoder: new () => Encoder;
}
interface WebSocketLibrary {
  readonly Sender: {
    frame(data: Buffer, options: Record<string, unknown>): Buffer[];
  };
}

// Resolve the packages from Socket.IO's own location, so that their versions are the ones it uses.
const fromSocketIo = createRequire(import.meta.resolve("socket.io"));
const { Encoder } = fromSocketIo("socket.io-parser") as Parser;
const { Sender } = createRequire(fromSocketIo.resolve("socket.io-adapter"))(
  "ws",
) as WebSocketLibrary;
const encoder = new Encoder();

const adapterFormat: Format = {
  name: "adapter",
  fields: (json) => ({
    uid: "0123456789abcdef",
    nsp: "/",
    type: "3",
    data:
      `{"packet":{"type":2,"data":["msgReceived",${json},{"room":"${ROOM}"}]},` +
      `"opts":{"rooms":["${ROOM}"],"except":[],"flags":{}}}`,
  }),
  frame: ([id, { data = "" }]) => {
    const { packet } = JSON.parse(data);
    packet.data[2].at = timestampOf(id);
    packet.data.push(id);
    packet.nsp = "/";
    const [text = ""] = encoder.encode(packet);
    return Sender.frame(Buffer.from(`4${text}`), {
      readOnly: false,
      mask: false,
      rsv1: false,
      opcode: 1,
      fin: true,
    });
  },
};

const roomcastFormat: Format = {
  name: "roomcast",
  fields: (json) => ({ room: ROOM, message: json }),
  frame: ([id, { room = "", message = "" }]) => {
    JSON.parse(message);
    const frame = encodeTextFrame(
      `42["msgReceived",${message},{"room":${JSON.stringify(room)},"at":${
        timestampOf(id)
      }},"${id}"]`,
    );
    return [frame];
  },
};

/** Returns a message, as JSON of about `bytes` bytes: an object with fields of several kinds. */
function message(bytes: number, index: number): string {
  const record: Record<string, unknown> = { n: index };
  const values = ["some words of text", 21.5, true, null, "2025-11-22", 1234];
  let i = 0;
  while (JSON.stringify(record).length < bytes) {
    record[`field${i}`] = values[i % values.length];
    i++;
  }
  return JSON.stringify(record);
}

/** Resolves to the memory of one entry in Redis, in bytes: the mean over a stream of {@linkcode ENTRIES} entries. */
async function measureMemory(
  redis: Redis,
  format: Format,
  bytes: number,
): Promise<number> {
  const client = createClient({ url: redis.url, RESP: 2 });
  await client.connect();
  try {
    const key = `${format.name}:${bytes}`;
    for (let start = 0; start < ENTRIES; start += 1000) {
      await Promise.all(
        Array.from({ length: 1000 }, (_, i) =>
          client.sendCommand([
            "XADD",
            key,
            "*",
            ...Object.entries(format.fields(message(bytes, start + i))).flat(),
          ])),
      );
    }
    const used = await client.sendCommand([
      "MEMORY",
      "USAGE",
      key,
      "SAMPLES",
      "0",
    ]);
    return Number(used) / ENTRIES;
  } finally {
    client.destroy();
  }
}

/**
 * Returns for each format the CPU time to make the frame of one entry, in microseconds: the median of several rounds.
 * The formats are measured in turn, so that other work on the machine affects all of them alike.
 */
function time(formats: readonly Format[], bytes: number): number[] {
  const runs = formats.map(({ fields, frame }) => ({
    frame,
    entries: Array.from({ length: MESSAGES }, (_, i): Entry => [
      `1763831234567-${i}`,
      fields(message(bytes, i)),
    ]),
    rounds: [] as number[],
  }));
  let pieces = 0;
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    for (const { frame, entries, rounds } of runs) {
      const before = process.cpuUsage();
      for (const entry of entries) pieces += frame(entry).length;
      const { user, system } = process.cpuUsage(before);
      if (round >= WARM_UP_ROUNDS) rounds.push((user + system) / MESSAGES);
    }
  }
  if (pieces === 0) throw new Error("Cannot measure: no frame was made");
  return runs.map(({ rounds }) =>
    rounds.sort((a, b) => a - b)[ROUNDS >> 1] ?? NaN
  );
}

/** Returns the total size of an entry's field names and values, in bytes. Every node has to read these bytes. */
function bytesOf(fields: Readonly<Record<string, string>>): number {
  return Buffer.byteLength(Object.entries(fields).flat().join(""));
}

/** Checks that both formats result in the same bytes of a WebSocket frame. */
function compare(bytes: number): void {
  const [a, b] = [adapterFormat, roomcastFormat].map(({ fields, frame }) =>
    Buffer.concat(frame(["1763831234567-0", fields(message(bytes, 1))]))
  );
  if (a === undefined || b === undefined || !a.equals(b)) {
    throw new Error(
      "Cannot compare: the two formats result in different frames",
    );
  }
}

await using redis = await Redis.start({ aof: false });
const rows: string[][] = [[
  "message, bytes",
  "format",
  "fields, bytes",
  "in Redis, bytes/entry",
  "CPU, µs/message",
]];
const formats = [adapterFormat, roomcastFormat];
for (const bytes of [50, 300, 1000]) {
  compare(bytes);
  const times = time(formats, bytes);
  for (const [index, format] of formats.entries()) {
    const json = message(bytes, ENTRIES / 2);
    rows.push([
      String(json.length),
      format.name,
      String(bytesOf(format.fields(json))),
      (await measureMemory(redis, format, bytes)).toFixed(0),
      (times[index] ?? NaN).toFixed(1),
    ]);
  }
}
for (const row of rows) {
  console.log(row.map((cell) => cell.padStart(22)).join(""));
}
