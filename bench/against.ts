/**
 * Compares the speed of this checkout with the speed of another one. Nodes of both run at the same time and get short
 * slices of load in turn, so that other work on the machine affects both alike.
 *
 *     git worktree add ../before <commit>
 *     deno run -A bench/against.ts ../before [pairs of slices] [loads, as "fanout-50,ingest"] [options]
 *
 * With the option `tokens`, the clients of this checkout have tokens. With the option `streams`, they are streams of
 * Server-Sent Events. Compare this checkout with itself (`.`) to see what either of them costs. The option
 * `other-first` starts the node of the other checkout first.
 *
 * Prints for each load and each version the median number of deliveries (or connects) per second of CPU time. Also
 * prints the median and the quartiles of the ratio between this version and the other one, over all pairs of slices.
 * Throws if a message is lost, repeated or out of order.
 *
 * Needs redis-server (or valkey-server) on PATH and starts its own.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { RawClient } from "../tests/support/raw_client.ts";
import { RawStream } from "../tests/support/raw_stream.ts";
import { TestNode } from "../tests/support/node.ts";
import { Redis } from "../tests/support/redis.ts";
import { makeToken, SECRET } from "../tests/support/tokens.ts";
import { until } from "../tests/support/wait.ts";
import { HttpConnection, post } from "./http_connection.ts";

const SLICE_MS = 1000;
const WARM_UP_SLICES = 3;
const CLIENTS = 1000;
const POSTS_IN_FLIGHT = 64;
const CONNECTS_AT_ONCE = 100;
/** The loads, by name. */
const LOADS: Readonly<Record<string, LoadOptions>> = {
  "fanout-1": { publishers: 1, rooms: 1, clients: CLIENTS, bytes: 20 },
  "fanout-10": { publishers: 10, rooms: 1, clients: CLIENTS, bytes: 20 },
  "fanout-50": { publishers: 50, rooms: 1, clients: CLIENTS, bytes: 20 },
  "fanout-50-700-bytes": {
    publishers: 50,
    rooms: 1,
    clients: CLIENTS,
    bytes: 700,
  },
  "fanout-20-rooms": {
    publishers: 50,
    rooms: 20,
    clients: CLIENTS,
    bytes: 20,
  },
  "fanout-5-rooms-each": {
    publishers: 50,
    rooms: 20,
    roomsEach: 5,
    clients: CLIENTS,
    bytes: 20,
  },
  ingest: { publishers: POSTS_IN_FLIGHT, rooms: 1, clients: 1, bytes: 20 },
  connect: { publishers: 0, rooms: 1, clients: 0, bytes: 20, connects: 1000 },
};

interface LoadOptions {
  /** Number of publishers. Each publisher waits for a response before it posts its next message. */
  readonly publishers: number;
  readonly rooms: number;
  /** Number of rooms that each client joins; 1 if not given. */
  readonly roomsEach?: number;
  readonly clients: number;
  /** Length of each message, in bytes. */
  readonly bytes: number;
  /**
   * Number of clients that connect and disconnect in each slice; nothing is published then. If not given, each slice
   * publishes.
   */
  readonly connects?: number;
}

/** What is special about the clients of this checkout. */
interface ClientOptions {
  /** Their token; undefined if they have none. */
  readonly token?: string | undefined;
  /** Whether they are streams of Server-Sent Events. */
  readonly areStreams?: boolean;
}

/** A node of one version, with its own Redis, clients and publishers. */
class Load implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #node: TestNode;
  readonly #publishers: HttpConnection[] = [];
  readonly #clients: (RawClient | RawStream)[];
  readonly #requests;
  readonly #members: number;
  readonly #makeClient: (rooms: string[]) => RawClient | RawStream;
  readonly #connects: number;
  /** Called when all clients of a message's room have received the message. */
  #delivered = () => {};
  #published = 0;
  #received = 0;

  private constructor(
    stack: AsyncDisposableStack,
    node: TestNode,
    { rooms, roomsEach = 1, clients, bytes, connects = 0 }: LoadOptions,
    { token, areStreams = false }: ClientOptions,
  ) {
    this.#makeClient = (rooms) =>
      areStreams ? new RawStream(rooms, token) : new RawClient(rooms, token);
    this.#stack = stack;
    this.#node = node;
    this.#connects = connects;
    this.#members = clients * roomsEach / rooms;
    this.#requests = Array.from(
      { length: rooms },
      (_, i) =>
        post("/publish", { room: `room-${i}`, message: "x".repeat(bytes) }),
    );
    this.#clients = Array.from(
      { length: clients },
      (_, i) =>
        this.#makeClient(
          Array.from(
            { length: roomsEach },
            (_, j) => `room-${(i + j) % rooms}`,
          ),
        ),
    );
  }

  /**
   * Starts a node of the version in `checkout`, or of this checkout if `checkout` is undefined. Connects all clients
   * and publishers to the node. The clients have tokens, or are streams, if `flags` has `tokens` or `streams`.
   */
  static async start(
    checkout: URL | undefined,
    options: LoadOptions,
    flags: readonly string[] = [],
  ): Promise<Load> {
    const hasTokens = flags.includes("tokens");
    const areStreams = flags.includes("streams");
    const stack = new AsyncDisposableStack();
    const redis = stack.use(await Redis.start());
    const node = stack.use(
      await TestNode.start(
        { REDIS_URL: redis.url, ...hasTokens && { TOKEN_SECRET: SECRET } },
        checkout === undefined ? {} : { checkout },
      ),
    );
    const caps = [{ rooms: ["room-*"], allow: ["sub"] }];
    const token = hasTokens
      ? await makeToken({ sub: "ann", iat: Date.now() / 1000, caps })
      : undefined;
    const load = new Load(stack, node, options, { token, areStreams });
    // A stream tells that it has begun once for all its rooms.
    await load.#connect(areStreams ? { ...options, roomsEach: 1 } : options);
    return load;
  }

  async #connect({ publishers, roomsEach }: LoadOptions): Promise<void> {
    const { port } = this.#node;
    for (let i = 0; i < this.#clients.length; i += 200) {
      for (const client of this.#clients.slice(i, i + 200)) {
        client.connect(port);
      }
      await until(
        "the clients have joined",
        () =>
          this.#clients.slice(0, i + 200).every(({ joined }) =>
            joined >= (roomsEach ?? 1)
          ),
      );
    }
    for (const client of this.#clients) {
      client.got = () => {
        this.#received++;
        if (this.#received % this.#members === 0) this.#delivered();
      };
    }
    for (let i = 0; i < publishers; i++) {
      this.#publishers.push(await HttpConnection.connect(port));
    }
  }

  /** Runs one slice of the load. Resolves to the deliveries, or the connects, per second of the node's CPU time. */
  slice(): Promise<number> {
    return this.#connects > 0 ? this.#connectSlice() : this.#publishSlice();
  }

  /** Connects and disconnects clients, `CONNECTS_AT_ONCE` at a time. Resolves to the connects per second of CPU time. */
  async #connectSlice(): Promise<number> {
    const cpu = await this.#node.cpuSeconds();
    for (let i = 0; i < this.#connects; i += CONNECTS_AT_ONCE) {
      const clients = Array.from(
        { length: CONNECTS_AT_ONCE },
        () => this.#makeClient(["room-0"]),
      );
      for (const client of clients) client.connect(this.#node.port);
      await until(
        "the clients have joined",
        () => clients.every(({ joined }) => joined > 0),
      );
      for (const client of clients) client.cut();
    }
    return this.#connects / (await this.#node.cpuSeconds() - cpu);
  }

  /**
   * Publishes for one slice of time and waits until all messages are delivered. A publisher posts its next message when
   * its last request has succeeded and fewer messages are undelivered than there are publishers.
   */
  async #publishSlice(): Promise<number> {
    const cpu = await this.#node.cpuSeconds();
    const before = this.#received, end = performance.now() + SLICE_MS;
    const waiting: (() => void)[] = [];
    const behind = (): boolean =>
      this.#published * this.#members - this.#received >=
        this.#publishers.length * this.#members;
    this.#delivered = () => {
      while (waiting.length > 0 && !behind()) waiting.pop()?.();
    };
    await Promise.all(this.#publishers.map(async (publisher) => {
      while (performance.now() < end) {
        if (behind()) {
          await new Promise<void>((resolve) => waiting.push(resolve));
          continue;
        }
        const request = this.#requests[
          this.#published++ % this.#requests.length
        ];
        if (request !== undefined) await publisher.request(request);
      }
    }));
    await until(
      "all messages are delivered",
      () => this.#received >= this.#published * this.#members,
    );
    this.#check();
    return (this.#received - before) / (await this.#node.cpuSeconds() - cpu);
  }

  #check(): void {
    const wrong = this.#received - this.#published * this.#members +
      this.#clients.reduce((sum, { disordered }) => sum + disordered, 0);
    if (wrong !== 0) {
      throw new Error(
        `Cannot measure: ${wrong} messages were lost, repeated or out of order`,
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const publisher of this.#publishers) publisher.close();
    for (const client of this.#clients) client.cut();
    await this.#stack.disposeAsync();
  }
}

/** Returns the value below which the share `share` of all values lies; 0.5 gives the median. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length * share)] ?? NaN;
}

const [
  path,
  pairs = "20",
  names = Object.keys(LOADS).join(","),
  ...flags
] = Deno.args;
if (path === undefined) {
  throw new Error("Cannot compare: no other checkout is given; pass its path");
}
const other = new URL(
  `${path.replace(/\/*$/, "")}/`,
  `file://${Deno.cwd()}/`,
);
const rows: Record<string, string | number>[] = [];
for (const name of names.split(",")) {
  const options = LOADS[name];
  if (options === undefined) {
    throw new Error(
      `Cannot measure ${name}: there is no such load; use ${
        Object.keys(LOADS).join(", ")
      }`,
    );
  }
  await using stack = new AsyncDisposableStack();
  const start = async (isOurs: boolean): Promise<Load> =>
    stack.use(
      isOurs
        ? await Load.start(undefined, options, flags)
        : await Load.start(other, options),
    );
  const isOtherFirst = flags.includes("other-first");
  const early = await start(!isOtherFirst), late = await start(isOtherFirst);
  const [ours, theirs] = isOtherFirst ? [late, early] : [early, late];
  const found: [number, number][] = [];
  for (let i = -WARM_UP_SLICES; i < Number(pairs); i++) {
    const first = i % 2 === 0 ? ours : theirs;
    const second = first === ours ? theirs : ours;
    const a = await first.slice(), b = await second.slice();
    if (i >= 0) found.push(first === ours ? [a, b] : [b, a]);
  }
  const ratios = found.map(([a, b]) => a / b);
  rows.push({
    load: name,
    "other per CPU s": Math.round(quantile(found.map(([, b]) => b), 0.5)),
    "this per CPU s": Math.round(quantile(found.map(([a]) => a), 0.5)),
    ratio: quantile(ratios, 0.5).toFixed(3),
    quartiles: [0.25, 0.75].map((share) => quantile(ratios, share).toFixed(3))
      .join(" to "),
  });
}
console.table(rows);
