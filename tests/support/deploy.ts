/** A rolling deploy of nodes behind a load balancer, with publishers that retry as the documentation says. */
import { ADDRESS_HEADER } from "./nginx.ts";
import { TestNode } from "./node.ts";
import { pauseFor, soon } from "./wait.ts";

/**
 * Statuses with which a load balancer responds if it cannot pass a request to a node, or gets no response from the
 * node.
 */
const UNSERVED: ReadonlySet<number> = new Set([502, 504]);
/** How long a publisher retries to publish one message, in ms. */
const REPEAT_MS_MAX = 30_000;

/** Options of a publisher. */
export interface KeyedPublisherOptions {
  readonly name: string;
  /** The client address that nginx assumes for the publisher. nginx chooses the publisher's node by this address. */
  readonly address: string;
  /** Pause between two messages, in ms. */
  readonly everyMs: number;
  /** Whether a message's idempotency key is in the header or in the body. nginx can see only the header. */
  readonly keyIn: "header" | "body";
}

/**
 * Publishes one message after another, each with an idempotency key. Retries each message until it is acknowledged;
 * `await using` stops the publisher.
 */
export class KeyedPublisher {
  /** The acknowledged id of each message. */
  readonly acknowledged = new Map<string, string>();
  /** Number of responses by status. `closed` counts the connections that were refused or closed. */
  readonly answers: Record<string, number> = {};
  readonly #options: KeyedPublisherOptions;
  readonly #url: URL;
  readonly #running: Promise<void>;
  #stopped = false;

  /** Starts to publish to the load balancer at `url`. */
  constructor(url: string, options: KeyedPublisherOptions) {
    this.#options = options;
    this.#url = new URL("/publish", url);
    this.#running = this.#run();
    // `stop()` reports a rejection.
    this.#running.catch(() => {});
  }

  /** Number of error responses that the load balancer sent because no node responded. */
  get unserved(): number {
    return [...UNSERVED].reduce(
      (sum, status) => sum + (this.answers[status] ?? 0),
      0,
    );
  }

  /** Stops after the message that is being published is acknowledged. Rejects if a publish has failed permanently. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await soon(
      this.#running,
      "the last message is acknowledged",
      2 * REPEAT_MS_MAX,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#running.catch(() => {});
  }

  async #run(): Promise<void> {
    for (let i = 0; !this.#stopped; i++) {
      const message = `${this.#options.name}-${i}`;
      this.acknowledged.set(message, await this.#publish(message));
      await pauseFor(this.#options.everyMs);
    }
  }

  /** Publishes a message again and again until it is acknowledged. Resolves to the message's id. */
  async #publish(message: string): Promise<string> {
    const end = performance.now() + REPEAT_MS_MAX;
    while (performance.now() < end) {
      const response = await this.#send(message);
      this.#count(response?.status ?? "closed");
      const text = await response?.text();
      if (response?.status === 200) return JSON.parse(text ?? "").id;
      const again = response === undefined || response.status === 503 ||
        UNSERVED.has(response.status);
      if (!again) throw new Error(`Cannot publish: ${response.status} ${text}`);
      const waitSeconds = Number(response?.headers.get("retry-after") ?? 0.1);
      await pauseFor(waitSeconds * 1000);
    }
    throw new Error(
      `Cannot publish: ${message} is not acknowledged after ${REPEAT_MS_MAX} ms`,
    );
  }

  /** Publishes a message once. Resolves to undefined if the connection is refused or closed. */
  #send(message: string): Promise<Response | undefined> {
    const { address, keyIn } = this.#options;
    const headers = {
      "content-type": "application/json",
      [ADDRESS_HEADER]: address,
    };
    const body = { room: "chat", message };
    return fetch(this.#url, {
      method: "POST",
      ...(keyIn === "header"
        ? {
          headers: { ...headers, "idempotency-key": message },
          body: JSON.stringify(body),
        }
        : { headers, body: JSON.stringify({ ...body, key: message }) }),
    }).catch(() => undefined);
  }

  #count(what: number | string): void {
    this.answers[what] = (this.answers[what] ?? 0) + 1;
  }
}

/**
 * Replaces nodes, one after the other, by new nodes on the same ports. Resolves to the new nodes, which `stack` stops
 * at its end.
 */
export async function deploy(
  stack: AsyncDisposableStack,
  nodes: readonly TestNode[],
  env: Readonly<Record<string, string>>,
  signals: readonly Deno.Signal[],
): Promise<TestNode[]> {
  const replacements: TestNode[] = [];
  for (const [index, node] of nodes.entries()) {
    const PORT = String(node.port);
    node.signal(signals[index] ?? "SIGTERM");
    await node.exited();
    const replacement = await TestNode.start({ ...env, PORT });
    replacements.push(stack.use(replacement));
  }
  return replacements;
}
