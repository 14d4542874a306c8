/**
 * Subscribers of one room, some of which never read, and their publisher, in one process of their own:
 *
 *     deno run -A bench/slow_load.ts <port> <clients> <slow> <messages a second> <bytes> <seconds>
 *
 * The slow ones answer pings, unasked, and read nothing until the end; then they come back with what they got last, as
 * a stock client does. Prints `{}` when all are in, and at the end a line of JSON, {@linkcode Outcome}.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints its findings
import { RawClient } from "../tests/support/raw_client.ts";
import { until } from "../tests/support/wait.ts";
import { CONNECT, PONG, REQUEST } from "./wire.ts";

/** What came of a load. */
export interface Outcome {
  /** Latencies of deliveries to those who read, from the moment before the publish, in ms. */
  readonly p50: number;
  readonly p99: number;
  /** Deliveries to those who read, how many there had to be, and how many of them were not cut off. */
  readonly deliveries: number;
  readonly expected: number;
  readonly whole: number;
  /** Slow ones that came back at the end: with all they had missed, and with a gap. */
  readonly recovered: number;
  readonly gaps: number;
}

const [port = 0, clients = 0, slow = 0, rate = 0, bytes = 0, seconds = 0] = Deno
  .args.map(Number);
const PONG_MS = 10_000;
const COMING_MAX = 50;
const UNDER_WAY_MAX = 32;
/** A connection's share of the process' memory. */
const READ_BYTES = 16 << 10;
/** Latencies kept at most, evenly spread over all deliveries. */
const SAMPLES_MAX = 1 << 20;
const latin1 = new TextDecoder("latin1");

/** When each message was published. */
const published: number[] = [];
const samples: number[] = [];
const every = Math.max(1, Math.ceil(clients * rate * seconds / SAMPLES_MAX));
let deliveries = 0;

/**
 * A subscriber that reads and keeps nothing: it steps from frame to frame, and takes those of a message's size for the
 * messages, in order. What it is and not how it is decoded costs time at a hundred thousand deliveries a second.
 */
class Reader {
  received = 0;
  closed = false;
  /** Bytes of the frame under way that are to come. */
  #left = 0;
  #head: number[] = [];

  async enter(): Promise<void> {
    const connection = await Deno.connect({ port });
    const buffer = new Uint8Array(READ_BYTES);
    const text = async (end: string): Promise<void> => {
      for (let all = ""; !all.includes(end);) {
        const length = await connection.read(buffer) ?? 0;
        all += latin1.decode(buffer.subarray(0, length));
      }
    };
    await connection.write(REQUEST);
    await text('0{"sid"');
    await connection.write(CONNECT);
    await text('42["joined"');
    void this.#read(connection, buffer);
  }

  async #read(connection: Deno.Conn, buffer: Uint8Array): Promise<void> {
    try {
      for (;;) {
        const length = await connection.read(buffer);
        if (length === null) break;
        if (this.#take(buffer, length)) await connection.write(PONG);
      }
    } catch {
      // Cut off: it is counted.
    }
    this.closed = true;
  }

  /** Answers whether there was a ping. */
  #take(buffer: Uint8Array, length: number): boolean {
    let ping = false;
    for (let at = 0; at < length;) {
      if (this.#left === 0) {
        this.#head.push(buffer[at++] ?? 0);
        const size = sizeOf(this.#head);
        if (size === undefined) continue;
        this.#head = [];
        this.#left = size;
        ping ||= size === 1;
        if (size >= bytes) this.#got();
      } else {
        const step = Math.min(this.#left, length - at);
        this.#left -= step;
        at += step;
      }
    }
    return ping;
  }

  #got(): void {
    const start = published[this.received++];
    if (++deliveries % every === 0 && start !== undefined) {
      samples.push(performance.now() - start);
    }
  }
}

/** The size that a frame's head tells, once there is enough of it. */
function sizeOf(head: readonly number[]): number | undefined {
  const [, short = NaN, high = 0, low = NaN] = head;
  if (short < 126) return short;
  return short === 126 && head.length === 4 ? high << 8 | low : undefined;
}

function quantile(part: number): number {
  return Math.round((samples[Math.floor(samples.length * part)] ?? NaN) * 10) /
    10;
}

async function publish(message: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/publish`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ room: "chat", message }),
  });
  if (response.status !== 200) throw new Error(await response.text());
  await response.body?.cancel();
}

const readers = Array.from({ length: clients - slow }, () => new Reader());
let coming = 0;
await Promise.all(Array.from({ length: COMING_MAX }, async () => {
  for (let reader; (reader = readers[coming++]);) await reader.enter();
}));
const sleepers = Array.from(
  { length: slow },
  () => new RawClient(["chat"]),
);
for (const sleeper of sleepers) sleeper.connect(port);
await until("the slow ones are in", () => sleepers.every((c) => c.joined > 0));
for (const sleeper of sleepers) sleeper.pause();
console.log("{}");
const pongs = setInterval(() => {
  for (const sleeper of sleepers) sleeper.pong();
}, PONG_MS);

/** Posts that have no answer yet: the rate is kept also where each takes longer than until the next. */
const underWay = new Set<Promise<void>>();
const padding = "x".repeat(bytes);
const start = performance.now();
for (let n = 0; n < rate * seconds; n++) {
  const wait = start + n * 1000 / rate - performance.now();
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  while (underWay.size >= UNDER_WAY_MAX) await Promise.race(underWay);
  published.push(performance.now());
  const done = publish(padding).finally(() => underWay.delete(done));
  underWay.add(done);
}
await Promise.all(underWay);
await until(
  "those who read have all, or were cut off",
  () => readers.every((r) => r.closed || r.received === published.length),
);
clearInterval(pongs);
for (const sleeper of sleepers) sleeper.resume();
await until(
  "the slow ones are back",
  () => sleepers.every((c) => c.joined > 1 || c.received === published.length),
);
samples.sort((a, b) => a - b);
const outcome: Outcome = {
  p50: quantile(0.5),
  p99: quantile(0.99),
  deliveries,
  expected: readers.length * published.length,
  whole: readers.filter(({ closed }) => !closed).length,
  recovered: sleepers.filter(({ recovered }) => recovered).length,
  gaps: sleepers.filter(({ gaps }) => gaps.length > 0).length,
};
console.log(JSON.stringify(outcome));
Deno.exit(0);
