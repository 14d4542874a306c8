/**
 * Disturbs stock clients under load: they stop reading, lose their connections and change nodes, while nodes are killed
 * or drained.
 */
import type { Received, Subscriber } from "./client.ts";
import { oneOf, RestartingNodes } from "./restarting_nodes.ts";
import { Redis } from "./redis.ts";
import { pauseFor, until } from "./wait.ts";

/** A message: its number, the length of its text, and the text, which repeats one letter. */
type Lettered = readonly [number: number, length: number, text: string];

/** The result of a run. */
export interface ClientOutcome {
  readonly published: number;
  readonly disconnects: number;
  /** The errors of all clients, as sentences; empty if the run has passed. */
  readonly wrong: readonly string[];
  /** The number of disturbances of each kind. */
  readonly done: Readonly<Record<string, number>>;
}

/** The private parts of a stock client's WebSocket that {@linkcode disturb} uses. */
interface Raw {
  readonly _socket: { pause(): void; resume(): void; destroy(): void };
  ping(data: string): void;
}

/**
 * Disturbs two nodes and 16 clients, half of them polling, for `seconds`. Clients reconnect to any node. At the
 * end each client must have received every message once, all clients in the same order, and no gap, because the
 * histories hold more messages than a client can miss. No client upgrades from polling, because a client that loses its
 * connection during an upgrade detects the loss only by its ping timeout (engine.io-client 6.6, `_probe`).
 */
export async function disturbClients(
  { seconds, bufferBytesMax }: { seconds: number; bufferBytesMax: number },
): Promise<ClientOutcome> {
  await using redis = await Redis.start();
  await using nodes = await RestartingNodes.start(2, {
    REDIS_URL: redis.url,
    HISTORY_SIZE: "100000",
    DRAIN_SECONDS: "1",
    CLIENT_BUFFER_BYTES_MAX: String(bufferBytesMax),
  });
  const clients: Subscriber[] = [];
  const ledger = new Ledger();
  try {
    for (let i = 0; i < 16; i++) {
      const client = await nodes.connect({
        transports: i % 2 === 0 ? ["polling"] : ["websocket"],
      });
      clients.push(client);
      client.socket.on("msgReceived", () => {
        for (const received of client.messages.items.splice(0)) {
          ledger.note(client, received);
        }
      });
      await client.joined.have(1);
    }
    const end = performance.now() + seconds * 1000;
    const disturbing = (async () => {
      const disturbed: Promise<void>[] = [];
      while (performance.now() < end) {
        disturbed.push(disturb(oneOf(clients), nodes));
        await pauseFor(20);
      }
      await Promise.all(disturbed);
    })();
    let published = 0;
    const publishing = [0, 1, 2].map(async () => {
      while (performance.now() < end) {
        const messages = Array.from(
          { length: oneOf([1, 2, 5, 60]) },
          () => lettered(published++),
        );
        await nodes.publish(messages.map((message) => ({
          room: "chat",
          message,
          key: `key ${message[0]}`,
        })));
        await pauseFor(Math.random() * 30);
      }
    });
    await Promise.all([
      disturbing,
      nodes.disturb(end, 1500),
      ...publishing,
    ]);
    await until(
      "all clients have every message",
      () => clients.every((client) => ledger.count(client) >= published),
      60_000,
    ).catch(() => {});
    return {
      published,
      done: nodes.done,
      wrong: [
        ...ledger.judge(clients, published),
        ...clients.flatMap(({ gaps }) =>
          gaps.items.map(({ reason }) => `a client received a gap: ${reason}`)
        ),
      ],
      disconnects: clients.reduce(
        (sum, { disconnects }) => sum + disconnects.items.length,
        0,
      ),
    };
  } finally {
    for (const client of clients) await client[Symbol.asyncDispose]();
  }
}

/** Breaks a client's connection, or stops the client from reading while it sends pings that the node has to answer. */
async function disturb(
  client: Subscriber,
  nodes: RestartingNodes,
): Promise<void> {
  const { ws } = client.socket.io.engine.transport as unknown as { ws?: Raw };
  // The client is polling, or has no connection at the moment.
  if (!ws?._socket || !client.socket.connected) return;
  if (Math.random() < 0.1) {
    nodes.count("dropped");
    return ws._socket.destroy();
  }
  nodes.count("paused");
  ws._socket.pause();
  for (const data of ["", "ping", "p".repeat(125)]) ws.ping(data);
  await pauseFor(Math.random() * 1000);
  ws._socket?.resume();
}

function lettered(number: number): Lettered {
  const length = Math.floor(Math.random() * oneOf([300, 300, 300, 60_000]));
  return [number, length, letterOf(number).repeat(length)];
}

function letterOf(number: number): string {
  return String.fromCharCode(97 + number % 26);
}

/** What a client has received. */
interface Receipt {
  /** Number of messages that the client has received. */
  count: number;
  /** The first message that was wrong; undefined if there is none. */
  wrong?: string;
}

/**
 * Checks messages when clients receive them. Stores only their ids, because the messages of a few minutes would take
 * gigabytes.
 */
class Ledger {
  /**
   * The ids of all messages, in the order in which a client first received them. Every client has to receive the
   * messages in this order.
   */
  readonly #ids: string[] = [];
  /** The indexes of {@linkcode Ledger.#ids}. */
  readonly #indexes = new Map<string, number>();
  /** The numbers of the messages that were received. */
  readonly #numbers = new Set<number>();
  readonly #receipts = new Map<Subscriber, Receipt>();

  /** Number of messages that a client has received. */
  count(client: Subscriber): number {
    return this.#of(client).count;
  }

  note(client: Subscriber, { message, id }: Received): void {
    const receipt = this.#of(client);
    const index = receipt.count++;
    const [number, length, text] = message as Lettered;
    const before = this.#indexes.get(id);
    if (before === undefined && index === this.#ids.length) {
      if (this.#numbers.has(number)) {
        receipt.wrong ??= `message ${index}, which was already stored`;
      }
      this.#ids.push(id);
      this.#indexes.set(id, index);
      this.#numbers.add(number);
    } else if (before !== index) {
      receipt.wrong ??= `message ${before} as its message ${index}`;
    }
    if (text !== letterOf(number).repeat(length)) {
      receipt.wrong ??= `message ${index} with a damaged text`;
    }
  }

  /** Returns the errors of each client. Each client has to have received `published` messages. */
  judge(clients: readonly Subscriber[], published: number): string[] {
    return clients.flatMap((client, index) => {
      const { count, wrong } = this.#of(client);
      const transport = client.socket.io.opts.transports?.[0];
      return [
        ...wrong === undefined ? [] : [`received ${wrong}`],
        ...count === published
          ? []
          : [`received ${count} of ${published} messages`],
      ].map((error) => `client ${index} (${transport}) ${error}`);
    });
  }

  #of(client: Subscriber): Receipt {
    const receipt = this.#receipts.get(client) ?? { count: 0 };
    this.#receipts.set(client, receipt);
    return receipt;
  }
}
