/**
 * Makes the load of `bench/slow.ts` in a process of its own: runs subscribers of one room, some of which are slow and
 * never read, and their publisher.
 *
 *     deno run -A bench/slow_load.ts <port> <clients> <slow> <messages per second> <bytes> <seconds>
 *
 * Slow clients send pongs without waiting for pings and read nothing until the end. Then they reconnect with the last
 * id that they have received, as a stock client does. Prints `{}` when all clients are connected, and an {@linkcode
 * Outcome} as a line of JSON at the end.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { RawClient } from "../tests/support/raw_client.ts";
import { until } from "../tests/support/wait.ts";
import { CONNECT, PONG, REQUEST } from "./wire.ts";

/** The result of a run. */
export interface Outcome {
  /**
   * Median of the latencies of deliveries to clients that read, in ms, from just before the publish until the receipt.
   */
  readonly p50: number;
  /** 99th percentile of these latencies, in ms. */
  readonly p99: number;
  /** Number of deliveries to clients that read. */
  readonly deliveries: number;
  /** Number of deliveries to clients that read, if no message is lost. */
  readonly expected: number;
  /** Number of clients that read and stayed connected until the end. */
  readonly whole: number;
  /** Number of slow clients that recovered all messages at the end. */
  readonly recovered: number;
  /** Number of slow clients that received a gap at the end. */
  readonly gaps: number;
}

const [port = 0, clients = 0, slow = 0, rate = 0, bytes = 0, seconds = 0] = Deno
  .args.map(Number);
const PONG_MS = 10_000;
const CONNECTING_MAX = 50;
const IN_FLIGHT_MAX = 32;
/** Size of the read buffer of a connection, in bytes. */
const READ_BYTES = 16 << 10;
/** Maximum number of latencies that are stored. They are spread evenly over all deliveries. */
const SAMPLES_MAX = 1 << 20;
const latin1 = new TextDecoder("latin1");

/** The time at which each message was published, by the message's number. */
const published: number[] = [];
const samples: number[] = [];
const every = Math.max(1, Math.ceil(clients * rate * seconds / SAMPLES_MAX));
let deliveries = 0;

/**
 * A subscriber that reads but stores nothing. It skips from frame to frame and counts each frame that is at least as
 * large as a message. Decoding the frames would be too slow at 100,000 deliveries per second.
 */
class Reader {
  received = 0;
  closed = false;
  /** Number of bytes of the current frame that have not arrived yet. */
  #left = 0;
  #head: number[] = [];

  async connect(): Promise<void> {
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
      // The server has disconnected this client, which `closed` counts.
    }
    this.closed = true;
  }

  /** Counts the messages in received bytes. Returns whether the bytes contain a ping. */
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

/** Returns the length of the payload, as the head of a frame states it; undefined if the head is not complete yet. */
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
let next = 0;
await Promise.all(Array.from({ length: CONNECTING_MAX }, async () => {
  for (let reader; (reader = readers[next++]);) await reader.connect();
}));
const sleepers = Array.from(
  { length: slow },
  () => new RawClient(["chat"]),
);
for (const sleeper of sleepers) sleeper.connect(port);
await until(
  "the slow clients have joined",
  () => sleepers.every((c) => c.joined > 0),
);
for (const sleeper of sleepers) sleeper.pause();
console.log("{}");
const pongs = setInterval(() => {
  for (const sleeper of sleepers) sleeper.pong();
}, PONG_MS);

/**
 * The POST requests that have no response yet. Messages are posted at a constant rate, even if earlier requests are
 * still in flight.
 */
const inFlight = new Set<Promise<void>>();
const padding = "x".repeat(bytes);
const start = performance.now();
for (let n = 0; n < rate * seconds; n++) {
  const wait = start + n * 1000 / rate - performance.now();
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  while (inFlight.size >= IN_FLIGHT_MAX) await Promise.race(inFlight);
  published.push(performance.now());
  const done = publish(padding).finally(() => inFlight.delete(done));
  inFlight.add(done);
}
await Promise.all(inFlight);
await until(
  "the clients that read have everything or are disconnected",
  () => readers.every((r) => r.closed || r.received === published.length),
);
clearInterval(pongs);
for (const sleeper of sleepers) sleeper.resume();
await until(
  "the slow clients have recovered",
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
