/** Sends malformed data of every kind to a real node, and checks that the node survives and lets nothing through. */
import fc, { type Arbitrary } from "fast-check";
import { Buffer } from "node:buffer";
import { TestNode } from "../node.ts";
import { Redis } from "../redis.ts";
import { SECRET } from "../tokens.ts";
import { pauseFor, until } from "../wait.ts";
import { Canary, type CanaryReport } from "./canary.ts";
import { ACCEPTED, type Case } from "./case.ts";
import { KEY, requests, tokens } from "./requests.ts";
import { CONNECTED, frames, packets, polls } from "./sockets.ts";
import { tokenOf } from "./tokens.ts";

/** The kinds of cases. A case's number decides its kind, in turn. */
const KINDS: Readonly<Record<string, Arbitrary<Case>>> = {
  frames,
  packets,
  polls,
  tokens,
  requests,
};

/** Number of clients that work at the same time. */
const PARALLEL = 64;
/** How many cases before a failure are shown, and tried again, if it is not known which of them has caused it. */
const SUSPECTS = 128;
/** How long a step that waits for an answer waits, in ms. */
const ANSWER_MS = 1000;
/** How long a case may take in all, in ms. Refusals may be delayed by a second. */
const CASE_MS = 20_000;
/** Maximum bytes of what a node sends to one client that are kept. */
const RECEIVED_MAX = 1 << 20;
/** What no node may ever send: an internal error, or a stack trace. */
const FORBIDDEN =
  /HTTP\/1\.1 500|"internal"|node_modules|\bext:\w|file:\/\/\/|\bat .+:\d+:\d+/;

/** Options of {@linkcode fuzz}. */
export interface FuzzOptions {
  readonly seed: number;
  readonly count: number;
  /** The number of the first case; 0 by default. */
  readonly first?: number;
  /** How long a good client and a good publisher may wait, in ms. */
  readonly hangMs: number;
  /** Maximum resident memory of the node's process, in bytes. */
  readonly memoryMax: number;
  /** Whether to wait until the node has forgotten all clients, which takes 45 s. */
  readonly waitsForEnd: boolean;
  /** Called now and then with the number of cases that are done. */
  readonly onProgress?: (done: number) => void;
}

/** What a run of the fuzzer has found. */
export interface FuzzResult {
  /** Sentences about what must not happen, each with the numbers of the cases that may be the cause. */
  readonly wrong: readonly { readonly why: string; readonly cases: number[] }[];
  readonly canary: CanaryReport;
  /** Number of responses with each HTTP status, by the kind of case and the status. */
  readonly statuses: ReadonlyMap<string, number>;
  /** Number of connections that the node has accepted as clients. */
  readonly connected: number;
  /** The resident memory of the node's process at the beginning, at most, and at the end, in bytes. */
  readonly memory: readonly [start: number, most: number, end: number];
}

/** Returns a case, which depends on nothing but these numbers. */
export function caseOf(seed: number, number: number): Case & { kind: string } {
  const kinds = Object.keys(KINDS);
  const kind = kinds[number % kinds.length] ?? "";
  const arbitrary = KINDS[kind];
  if (arbitrary === undefined) throw new Error(`There is no kind ${kind}`);
  const [made] = fc.sample(arbitrary, {
    // fast-check takes 32 bits.
    seed: (Math.imul(seed, 0x9e3779b1) + number) | 0,
    numRuns: 1,
  });
  if (made === undefined) throw new Error("There is no case");
  return { kind, ...made };
}

/** Runs cases against a new node with tokens, publish keys and Redis. Stops at the first failure. */
export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const { seed, count, first = 0, hangMs, memoryMax, waitsForEnd } = options;
  const secret = crypto.randomUUID();
  const canaryKey = `canary-${secret}`;
  await using redis = await Redis.start();
  await using node = await TestNode.start({
    REDIS_URL: redis.url,
    TOKEN_SECRET: SECRET,
    PUBLISH_KEYS: `fuzz:${KEY},canary:${canaryKey}`,
    PUBLISH_KEY_ROOMS: "fuzz=fuzz.*,canary=canary",
  });
  using canary = await Canary.start({
    url: node.url,
    room: "canary",
    rooms: ["canary", "chat", "vip"],
    token: tokenOf({
      sub: `canary-${secret}`,
      caps: [{ rooms: ["canary", "chat", "vip"], allow: ["sub"] }],
    }),
    key: canaryKey,
    text: `canary ${secret} `,
  });
  const run = new Run(node, secret);
  const memoryAtStart = await node.memory();
  let memoryAtMost = memoryAtStart;
  const watch = setInterval(async () => {
    memoryAtMost = Math.max(memoryAtMost, await node.memory().catch(() => 0));
    options.onProgress?.(run.done);
  }, 1000);
  let next = first;
  const work = async (): Promise<void> => {
    while (next < first + count && run.wrong.length === 0) {
      await run.case(seed, next++);
    }
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL }, work));
    const report = await canary.report();
    // What the last cases have caused may come later.
    await pauseFor(300);
    run.check();
    for (const why of report.wrong) run.fails(why);
    if (report.worstMs > hangMs) {
      run.fails(`a good client or publisher waited ${report.worstMs} ms`);
    }
    if (waitsForEnd) {
      // Polling clients that have not said goodbye are gone after a missed ping.
      await until(
        "all clients are gone",
        async () => await node.metric("roomcast_clients") === 0,
        60_000,
      ).catch((error) => run.fails(String(error)));
    }
    const memoryAtEnd = await node.memory();
    memoryAtMost = Math.max(memoryAtMost, memoryAtEnd);
    if (memoryAtMost > memoryMax) {
      run.fails(`the node has used ${memoryAtMost} bytes of memory`);
    }
    return {
      wrong: run.wrong,
      canary: report,
      statuses: run.statuses,
      connected: run.connected,
      memory: [memoryAtStart, memoryAtMost, memoryAtEnd],
    };
  } finally {
    clearInterval(watch);
  }
}

/** Runs cases against one node, and checks after each of them what the node has done. */
class Run {
  readonly wrong: { why: string; cases: number[] }[] = [];
  readonly statuses = new Map<string, number>();
  connected = 0;
  done = 0;
  readonly #node: TestNode;
  readonly #secret: string;
  /** The numbers of the last cases, and of those in flight. */
  readonly #recent: number[] = [];
  #linesChecked = 0;

  /** `secret` is in all that the canary sends and receives. */
  constructor(node: TestNode, secret: string) {
    this.#node = node;
    this.#secret = secret;
  }

  /** Records a failure. */
  fails(why: string, cases: number[] = [...this.#recent]): void {
    this.wrong.push({ why, cases });
  }

  /** Checks what the node has printed. */
  check(): void {
    const { items } = this.#node.log;
    for (; this.#linesChecked < items.length; this.#linesChecked++) {
      const line = items[this.#linesChecked];
      if (line?.level === "error" || line?.kind === "error") {
        this.fails(`the node logged ${JSON.stringify(line)}`);
      }
    }
    const other = this.#node.output.split("\n").find((line) =>
      line !== "" && !line.startsWith("{")
    );
    if (other !== undefined) this.fails(`the node printed ${other}`);
  }

  /** Returns whether a complete head lacks the header that every response has. */
  #withoutHeader(received: string): boolean {
    return [...received.matchAll(/HTTP\/1\.1 [2-5]\d\d [^]*?\r\n\r\n/g)].some((
      [head],
    ) => !/\r\nx-content-type-options: nosniff\r\n/i.test(head));
  }

  /** Runs one case. */
  async case(seed: number, number: number): Promise<void> {
    this.#recent.push(number);
    if (this.#recent.length > SUSPECTS) this.#recent.shift();
    const made = caseOf(seed, number);
    const client = new CaseClient(this.#node.port);
    try {
      const received = await client.run(made);
      for (const [, status = ""] of received.matchAll(/HTTP\/1\.1 (\d{3})/g)) {
        const key = `${made.kind} ${status}`;
        this.statuses.set(key, (this.statuses.get(key) ?? 0) + 1);
      }
      if (received.includes(CONNECTED)) this.connected++;
      const found = FORBIDDEN.exec(received)?.[0];
      if (found !== undefined) {
        this.fails(`the node sent ${JSON.stringify(received)}`, [number]);
      }
      if (this.#withoutHeader(received)) {
        this.fails(`a response may be sniffed: ${JSON.stringify(received)}`, [
          number,
        ]);
      }
      if (received.includes(this.#secret)) {
        this.fails("a message of the canary was sent to the fuzzer", [number]);
      }
      if (made.refused && ACCEPTED.test(received)) {
        this.fails(
          `the node did not refuse: ${JSON.stringify(received)}`,
          [number],
        );
      }
    } catch (error) {
      this.fails(String(error), [number]);
    }
    this.done++;
    if (this.#node.log.items.length > this.#linesChecked) this.check();
  }
}

/** The TCP connections of one case, and what the node has sent on them. */
class CaseClient {
  readonly #port: number;
  readonly #connections: Deno.TcpConn[] = [];
  readonly #reading: Promise<void>[] = [];
  #received = "";
  #closed = 0;
  #wake = (): void => {};

  constructor(port: number) {
    this.#port = port;
  }

  /** Runs the steps of a case. Resolves to all bytes received. Rejects if that takes too long. */
  async run({ steps, ending }: Case): Promise<string> {
    const timeout = setTimeout(() => this.#close(), CASE_MS);
    const start = performance.now();
    try {
      for (const step of steps) {
        if ("until" in step) await this.#until(step.until);
        else await this.#send(step.send, step.on ?? 0);
      }
      if (ending !== "destroy") await this.#quiet(50);
      if (ending === "end") {
        for (const connection of this.#connections) {
          await connection.closeWrite().catch(() => {});
        }
        await this.#quiet(30);
      }
    } finally {
      clearTimeout(timeout);
      this.#close();
      await Promise.all(this.#reading);
    }
    if (performance.now() - start > CASE_MS) {
      throw new Error("the node did not read what was sent");
    }
    return this.#received;
  }

  async #send(text: string, on: number): Promise<void> {
    const sid = /"sid":"([^"]+)"/.exec(this.#received)?.[1] ?? "none";
    const bytes = Buffer.from(text.replaceAll("{sid}", sid), "latin1");
    const connection = this.#connections[on] ??= await this.#open();
    try {
      for (let at = 0; at < bytes.length;) {
        at += await connection.write(bytes.subarray(at));
      }
    } catch {
      // The node has closed the connection, which is its right.
    }
  }

  async #open(): Promise<Deno.TcpConn> {
    const connection = await Deno.connect({ port: this.#port });
    this.#reading.push(this.#read(connection));
    return connection;
  }

  async #read(connection: Deno.TcpConn): Promise<void> {
    const chunk = new Uint8Array(16_384);
    try {
      for (;;) {
        const length = await connection.read(chunk);
        if (length === null) break;
        if (this.#received.length < RECEIVED_MAX) {
          this.#received += Buffer.from(chunk.subarray(0, length)).toString(
            "latin1",
          );
        }
        this.#wake();
      }
    } catch {
      // The node has reset the connection, or it was closed here.
    }
    this.#closed++;
    this.#wake();
  }

  /** Waits until `text` has arrived, the connections are closed, or the node refuses. */
  async #until(text: string): Promise<void> {
    const end = performance.now() + ANSWER_MS;
    while (
      !this.#received.includes(text) && this.#closed < this.#reading.length &&
      !/HTTP\/1\.1 [45]|44\{/.test(this.#received)
    ) {
      const left = end - performance.now();
      if (left <= 0 || !await this.#news(left)) return;
    }
  }

  /** Waits until nothing has arrived for `ms`, or the connections are closed. */
  async #quiet(ms: number): Promise<void> {
    const end = performance.now() + ANSWER_MS;
    while (
      this.#closed < this.#reading.length && performance.now() < end &&
      await this.#news(ms)
    );
  }

  /** Resolves to whether something has arrived within `ms`. */
  #news(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  #close(): void {
    for (const connection of this.#connections) {
      try {
        connection.close();
      } catch {
        // It is closed already.
      }
    }
  }
}
