/**
 * Watches, in a thread of its own, that a node serves a good client and a good publisher while the fuzzer runs.
 *
 * The thread publishes a message every {@linkcode INTERVAL_MS} and measures how long the node takes to answer, and to
 * deliver the message to a client with each transport. Every second it also connects a new client.
 */
import { Subscriber } from "../client.ts";

/** What the thread is started with. */
export interface CanaryOptions {
  readonly url: string;
  /** The room that only the canary may read and write. A message of it that anybody else receives is a leak. */
  readonly room: string;
  /** A token with the right to subscribe to the rooms in `rooms`. */
  readonly token: string;
  /** The rooms whose messages the clients watch: messages of others must not reach them. */
  readonly rooms: readonly string[];
  /** The secret of a publish key for `room`. */
  readonly key: string;
  /** The text of all messages, followed by a number. */
  readonly text: string;
}

/** What the thread has seen. The times are in ms. */
export interface CanaryReport {
  readonly published: number;
  /** The longest time in which a publish was answered, delivered to all clients, or a new client was connected. */
  readonly worstMs: number;
  /** Sentences about what must not happen. */
  readonly wrong: readonly string[];
}

/** How long the thread waits between two messages, in ms. */
const INTERVAL_MS = 100;
/** How long the thread waits for anything, in ms. */
const WAIT_MS = 15_000;

/** What the thread receives: its options at first, and later a request for a report, after which it ends. */
type Order = { readonly start: CanaryOptions } | { readonly end: true };

/** The side of the fuzzer; `await using` ends the thread. */
export class Canary {
  readonly #worker: Worker;

  private constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** Starts the thread. Resolves when its clients are connected. */
  static async start(options: CanaryOptions): Promise<Canary> {
    const worker = new Worker(import.meta.url, { type: "module" });
    const canary = new Canary(worker);
    await canary.#order({ start: options });
    return canary;
  }

  /** Ends the watch, and resolves to what was seen. */
  report(): Promise<CanaryReport> {
    return this.#order({ end: true }) as Promise<CanaryReport>;
  }

  #order(order: Order): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => resolve(data);
      this.#worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(`Cannot watch the node: ${event.message}`));
      };
      this.#worker.postMessage(order);
    });
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

/** The side of the thread. */
class Watch {
  #published = 0;
  #worstMs = 0;
  readonly #wrong: string[] = [];
  readonly #clients: Subscriber[];
  #ended = false;
  #running: Promise<unknown>;

  constructor(readonly options: CanaryOptions) {
    this.#clients = ["websocket", "polling"].map((transport) =>
      this.#connect(transport)
    );
    this.#running = Promise.resolve();
  }

  async start(): Promise<void> {
    for (const client of this.#clients) {
      await client.joined.have(this.options.rooms.length);
    }
    this.#running = Promise.all([this.#publish(), this.#reconnect()]);
    this.#running.catch((error) => this.#wrong.push(String(error)));
  }

  async end(): Promise<CanaryReport> {
    this.#ended = true;
    await this.#running.catch(() => {});
    for (const [index, client] of this.#clients.entries()) {
      const { messages, gaps } = client;
      const name = index === 0 ? "WebSocket" : "polling";
      for (const { message, room } of messages.items) {
        if (String(message).startsWith(this.options.text)) continue;
        this.#wrong.push(
          `a client received ${JSON.stringify(message)} in ${room}`,
        );
      }
      if (messages.items.length !== this.#published) {
        this.#wrong.push(
          `the client with ${name} received ${messages.items.length} of ${this.#published} messages`,
        );
      }
      if (gaps.items.length > 0) {
        this.#wrong.push(`the client with ${name} received a gap`);
      }
      await client[Symbol.asyncDispose]();
    }
    return {
      published: this.#published,
      worstMs: Math.round(this.#worstMs),
      wrong: this.#wrong,
    };
  }

  #connect(transport: string): Subscriber {
    const { url, token, rooms } = this.options;
    const client = new Subscriber(url, {
      auth: { token, rooms },
      transports: [transport],
    });
    client.socket.on("disconnect", (reason, details) => {
      if (reason === "io client disconnect") return;
      const { message, context } = details as unknown as {
        message?: string;
        context?: { status?: number; responseText?: string };
      } ?? {};
      this.#wrong.push(
        `the client with ${transport} was disconnected: ${reason}, ${message}, ${context?.status} ${context?.responseText}`,
      );
    });
    return client;
  }

  async #publish(): Promise<void> {
    const { url, room, key, text } = this.options;
    while (!this.#ended) {
      const start = performance.now();
      const response = await fetch(`${url}/publish?room=${room}`, {
        method: "POST",
        headers: {
          "authorization": `Bearer ${key}`,
          "content-type": "text/plain",
        },
        body: `${text}${this.#published}`,
        signal: AbortSignal.timeout(WAIT_MS),
      });
      if (response.status !== 200) {
        throw new Error(
          `a good publish was answered with ${response.status}: ${await response
            .text()}`,
        );
      }
      await response.body?.cancel();
      this.#published++;
      for (const { messages } of this.#clients) {
        await messages.have(this.#published, WAIT_MS);
      }
      this.#measure(start);
      await pause(INTERVAL_MS);
    }
  }

  async #reconnect(): Promise<void> {
    while (!this.#ended) {
      const start = performance.now();
      await using client = this.#connect("websocket");
      await client.joined.have(1, WAIT_MS);
      this.#measure(start);
      await pause(1000);
    }
  }

  #measure(start: number): void {
    this.#worstMs = Math.max(this.#worstMs, performance.now() - start);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Handles the orders of the fuzzer in the thread. */
function listen(): void {
  let watch: Watch;
  const thread = self as unknown as {
    onmessage: (event: MessageEvent<Order>) => Promise<void>;
    postMessage: (message: unknown) => void;
  };
  thread.onmessage = async ({ data: order }) => {
    if ("start" in order) {
      watch = new Watch(order.start);
      await watch.start();
      thread.postMessage("started");
    } else thread.postMessage(await watch.end());
  };
}

if ("WorkerGlobalScope" in globalThis) listen();
