// deno-lint-ignore-file no-console -- a table on stdout is what a benchmark is for
/**
 * What a message costs in the log and on its way out, in two formats of entry:
 *
 * - the adapter's: `uid, nsp, type, data`, where `data` is the packet and its options as JSON. Decoded as
 *   `@socket.io/redis-streams-adapter` and the adapter below it do: `JSON.parse` of `data`, the id put behind the
 *   arguments, socket.io-parser's `Encoder`, ws' `Sender.frame`;
 * - ours: `room, message`. Decoded as `lib/log_redis.ts` and `lib/fanout.ts` do: `JSON.parse` to see that it is JSON,
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
import { textFrame } from "../lib/fanout.ts";
import { atOf } from "../lib/position.ts";
import { Redis } from "../tests/support/redis.ts";

/** Entries of a stream that is weighed. */
const ENTRIES = 10_000;
/** Messages of one round of decoding, rounds that count, and rounds before them. */
const MESSAGES = 20_000;
const ROUNDS = 9;
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
    packet.data[2].at = atOf(id);
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
    const frame = textFrame(
      `42["msgReceived",${message},{"room":${JSON.stringify(room)},"at":${
        atOf(id)
      }},"${id}"]`,
    );
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

/** Microseconds of CPU that making the frame of one entry takes: the median of some rounds. */
function time(format: Format, bytes: number): number {
  const entries: Entry[] = Array.from({ length: MESSAGES }, (_, i) => [
    `1763831234567-${i}`,
    format.fields(message(bytes, i)),
  ]);
  const rounds: number[] = [];
  let written = 0;
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    const before = process.cpuUsage();
    for (const entry of entries) written += format.frame(entry).length;
    const { user, system } = process.cpuUsage(before);
    if (round >= WARM_UP_ROUNDS) rounds.push((user + system) / MESSAGES);
  }
  if (written === 0) throw new Error("Cannot measure: nothing was written");
  return rounds.sort((a, b) => a - b)[ROUNDS >> 1] ?? NaN;
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
  "bytes/entry in Redis",
  "CPU µs/message",
]];
for (const bytes of [50, 1000]) {
  compare(bytes);
  for (const format of [adapters, ours]) {
    rows.push([
      String(message(bytes, ENTRIES / 2).length),
      format.name,
      (await weigh(redis, format, bytes)).toFixed(0),
      time(format, bytes).toFixed(2),
    ]);
  }
}
for (const row of rows) {
  console.log(row.map((cell) => cell.padStart(22)).join(""));
}
