/** A node with good clients and a publisher, which is attacked by programs of their own. */
import { TestNode } from "./node.ts";
import { RawClient } from "./raw_client.ts";
import { pauseFor, until } from "./wait.ts";

const CLIENTS = 200;
const PUBLISHES_PER_SECOND = 20;

/** The settings of the attacked node. Clients without a token may join every room. */
const SETTINGS = {
  TOKEN_SECRET: "a-secret-of-at-least-thirty-two-bytes",
  PUBLIC_ROOMS: "*",
  PUBLISH_KEYS: "bench:secret-of-bench,abuse:abuse",
  CLIENTS_PER_ADDRESS_MAX: "300",
  CONNECTS_PER_SECOND_MAX: "100",
  ROOMS: "bench",
};

/** What the good clients saw during one phase. */
export interface Phase {
  /** Delivery of a message, from its publish to a client: the 50th and the 99th percentile, in ms. */
  readonly p50: number;
  readonly p99: number;
  readonly deliveries: number;
  /** The longest time for which this process, not the node, did not run, in ms. A high one means that it measured itself. */
  readonly pause: number;
}

/** How often to look whether this process runs. */
const RUNNING_EVERY_MS = 10;

/** A node with 200 clients in one room, into which 20 messages are published per second; `await using` stops all. */
export class AbuseStage {
  readonly node: TestNode;
  readonly #clients = Array.from(
    { length: CLIENTS },
    () => new RawClient(["bench"]),
  );
  /** The time at which each message was published. */
  readonly #sent: number[] = [];
  #delays: number[] = [];
  #publishing: ReturnType<typeof setInterval> | undefined;

  private constructor(node: TestNode) {
    this.node = node;
    for (const client of this.#clients) {
      client.got = () =>
        this.#delays.push(
          performance.now() - (this.#sent[client.received - 1] ?? 0),
        );
    }
  }

  /** Starts the node and connects the clients. */
  static async start(): Promise<AbuseStage> {
    const stage = new AbuseStage(await TestNode.start(SETTINGS));
    for (const client of stage.#clients) client.connect(stage.port);
    await until(
      "the clients have joined",
      () => stage.#clients.every(({ joined }) => joined > 0),
    );
    stage.#publishing = setInterval(
      () => void stage.#publish(),
      1000 / PUBLISHES_PER_SECOND,
    );
    return stage;
  }

  get port(): number {
    return Number(new URL(this.node.url).port);
  }

  /** Measures deliveries for some time. */
  async measure(seconds: number): Promise<Phase> {
    this.#delays = [];
    let [pause, last] = [0, performance.now()];
    const running = setInterval(() => {
      const now = performance.now();
      pause = Math.max(pause, now - last - RUNNING_EVERY_MS);
      last = now;
    }, RUNNING_EVERY_MS);
    await pauseFor(seconds * 1000);
    clearInterval(running);
    const delays = this.#delays.sort((a, b) => a - b);
    this.#delays = [];
    const at = (part: number): number =>
      delays[Math.floor(delays.length * part)] ?? Infinity;
    return { p50: at(0.5), p99: at(0.99), deliveries: delays.length, pause };
  }

  /** Measures deliveries while the node is attacked. Resolves also to what the attack did, as a number. */
  async attack(
    name: string,
    seconds: number,
    command: readonly string[] = [],
  ): Promise<Phase & { readonly done: number }> {
    const [program = "", ...args] = [
      ...command,
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      new URL("abuse_attacks.ts", import.meta.url).pathname,
      name,
      `${this.port}`,
      `${seconds + 1}`,
    ];
    const attacker = new Deno.Command(program, { args, stderr: "inherit" })
      .output();
    await pauseFor(1000);
    const phase = await this.measure(seconds);
    const { stdout } = await attacker;
    return { ...phase, done: Number(new TextDecoder().decode(stdout)) };
  }

  /** Waits until each client has received every message once and in order, then goes on. */
  async settle(): Promise<void> {
    clearInterval(this.#publishing);
    await until(
      `every client has all ${this.#sent.length} messages`,
      () =>
        this.#clients.every(({ received }) => received === this.#sent.length),
    );
    const wrong = this.#clients.filter(({ disordered }) => disordered > 0);
    if (wrong.length > 0) {
      throw new Error(`${wrong.length} clients have disorder`);
    }
    this.#publishing = setInterval(
      () => void this.#publish(),
      1000 / PUBLISHES_PER_SECOND,
    );
  }

  async #publish(): Promise<void> {
    this.#sent.push(performance.now());
    await this.node.publish("hello", "bench", {
      authorization: "Bearer secret-of-bench",
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#publishing);
    for (const client of this.#clients) client.cut();
    await this.node[Symbol.asyncDispose]();
  }
}
