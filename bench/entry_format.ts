// deno-lint-ignore-file no-console -- a table on stdout is what a benchmark is for
/**
 * What a message costs in the log and on its way out, in two formats of entry:
 *
 * - the adapter's: `uid, nsp, type, data`, where `data` is the packet and its options as JSON. Decoded as
 *   `@socket.io/redis-streams-adapter` and the adapter below it do: `JSON.parse` of `data`, the id put behind the
 *   arguments, socket.io-parser's `Encoder`, ws' `Sender.frame`;
 * - ours: `room, message`. Decoded as `lib/redis_log/redis_log.ts` and `lib/delivery/fanout.ts` do: `JSON.parse` to see that it is JSON,
 *   the packet put together as text around it, `textFrame`.
 *
 * Both are done once a message and node, however many clients there are. Neither includes the writing to sockets.
 *
 *     deno run -A bench/entry_format.ts
 *
 * Needs redis-server (or valkey-server) on PATH; starts one of its own.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import process from "node:process";
import { createClient } from "redis";
import { encodeTextFrame } from "../lib/websocket/frame.ts";
import { timestampOf } from "../lib/log/position.ts";
import { Redis } from "../tests/support/redis.ts";

/** Entries of a stream that is weighed. */
const ENTRIES = 10_000;
/** Messages of one round of decoding, rounds that count, and rounds before them. */
const MESSAGES = 20_000;
const ROUNDS = 15;
const WARM_UP_ROUNDS = 3;

const ROOM = "chat";
/** An entry's id and fields as Redis gives them. */
type Entry = readonly [id: string, fields: Readonly<Record<string, string>>];

/** A way to write an entry and to read it. */
interface Format {
  readonly name: string;
  /** The fields of a message's entry. `json` is the message. */
  readonly fields: (json: string) => Readonly<Record<string, string>>;
  /** What goes out on a WebSocket for an entry, in one or more pieces. */
  readonly frame: (entry: Entry) => readonly Buffer[];
}

/** The parts of Socket.IO's own dependencies that are used here. */
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

// The very versions that Socket.IO uses, found from its own place.
const fromSocketIo = createRequire(import.meta.resolve("socket.io"));
const { Encoder } = fromSocketIo("socket.io-parser") as Parser;
const { Sender } = createRequire(fromSocketIo.resolve("socket.io-adapter"))(
  "ws",
) as WebSocketLibrary;
const encoder = new Encoder();

const adapters: Format = {
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

const ours: Format = {
  name: "ours",
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

/** A message of about `bytes` bytes of JSON, as a backend would send one: an object with a few kinds of fields. */
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

/** Bytes an entry takes in Redis: those of a stream of {@linkcode ENTRIES}, evenly shared. */
async function weigh(
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
 * Microseconds of CPU that making the frame of one entry takes, for each format: the median of some rounds. The
 * formats take turns, so that whatever else the machine does meets both.
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
  if (pieces === 0) throw new Error("Cannot measure: nothing was made");
  return runs.map(({ rounds }) =>
    rounds.sort((a, b) => a - b)[ROUNDS >> 1] ?? NaN
  );
}

/** Bytes of an entry's fields: what every node reads for it, lengths and id aside. */
function bytesOf(fields: Readonly<Record<string, string>>): number {
  return Buffer.byteLength(Object.entries(fields).flat().join(""));
}

/** Both formats have to put the same event on the wire, or there is nothing to compare. */
function compare(bytes: number): void {
  const [a, b] = [adapters, ours].map(({ fields, frame }) =>
    Buffer.concat(frame(["1763831234567-0", fields(message(bytes, 1))]))
  );
  if (a === undefined || b === undefined || !a.equals(b)) {
    throw new Error("Cannot compare: the two formats give different frames");
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
const formats = [adapters, ours];
for (const bytes of [50, 300, 1000]) {
  compare(bytes);
  const times = time(formats, bytes);
  for (const [index, format] of formats.entries()) {
    const json = message(bytes, ENTRIES / 2);
    rows.push([
      String(json.length),
      format.name,
      String(bytesOf(format.fields(json))),
      (await weigh(redis, format, bytes)).toFixed(0),
      (times[index] ?? NaN).toFixed(1),
    ]);
  }
}
for (const row of rows) {
  console.log(row.map((cell) => cell.padStart(22)).join(""));
}
