/** Stock clients that stop reading, drop and move, while nodes are killed and drained and messages of all sizes flow. */
import type { Manager } from "socket.io-client";
import { type Received, Subscriber } from "./client.ts";
import { freePort } from "./net.ts";
import { TestNode } from "./node.ts";
import { Redis } from "./redis.ts";
import { until } from "./wait.ts";

/** A message: its number, and as many of its own letter as it says. */
type Lettered = readonly [number: number, length: number, text: string];

/** What chaos came to. */
export interface ClientOutcome {
  readonly published: number;
  readonly disconnects: number;
  /** What any client got wrong, as sentences. */
  readonly wrong: readonly string[];
  /** How often which thing was done. */
  readonly done: Readonly<Record<string, number>>;
}

/** The connection under a stock client, where it is a WebSocket. */
interface Raw {
  readonly _socket: { pause(): void; resume(): void; destroy(): void };
  ping(data: string): void;
}

/**
 * Two nodes, 16 clients, a quarter of them polling, for `seconds`. Clients come back to whichever node, and have to have
 * all in the end, each once, in one order, whole, and without a gap: what is kept is more than anybody can miss. None of
 * them upgrades: who loses its connection in the middle of an upgrade notices by ping timeout only (engine.io-client
 * 6.6, `_probe`).
 */
export async function disturbClients(
  { seconds, bufferBytesMax }: { seconds: number; bufferBytesMax: number },
): Promise<ClientOutcome> {
  await using redis = await Redis.start();
  const ports = [await freePort(), await freePort()];
  const start = (port: number) =>
    TestNode.start({
      REDIS_URL: redis.url,
      HISTORY_SIZE: "100000",
      DRAIN_SECONDS: "1",
      CLIENT_BUFFER_BYTES_MAX: String(bufferBytesMax),
      PORT: String(port),
    });
  const nodes = await Promise.all(ports.map(start));
  const done: Record<string, number> = {};
  const count = (what: string) => done[what] = (done[what] ?? 0) + 1;
  const end = performance.now() + seconds * 1000;
  const clients: Subscriber[] = [];
  const ledger = new Ledger();
  try {
    for (let i = 0; i < 16; i++) {
      const client = await Subscriber.connect(`http://127.0.0.1:${ports[0]}`, {
        transports: i % 4 === 0 ? ["polling"] : ["websocket"],
        reconnectionDelay: 10,
        reconnectionDelayMax: 100,
      });
      clients.push(client);
      client.socket.on("msgReceived", () => {
        for (const received of client.messages.items.splice(0)) {
          ledger.note(client, received);
        }
      });
      await client.joined.have(1);
      const { io } = client.socket as unknown as { io: Manager };
      io.on(
        "reconnect_attempt",
        () => Object.assign(io, { uri: `http://127.0.0.1:${oneOf(ports)}` }),
      );
    }
    const disturbing = (async () => {
      const disturbed: Promise<void>[] = [];
      while (performance.now() < end) {
        disturbed.push(disturb(oneOf(clients), count));
        await pauseFor(20);
      }
      await Promise.all(disturbed);
    })();
    const killing = (async () => {
      while (performance.now() < end) {
        await pauseFor(500 + Math.random() * 2000);
        const index = nodes.indexOf(oneOf(nodes));
        const signal = oneOf(["SIGKILL", "SIGTERM"] as const);
        count(signal);
        nodes[index]?.signal(signal);
        await nodes[index]?.exited();
        nodes[index] = await start(ports[index] ?? 0);
      }
    })();
    let published = 0;
    const publishing = [0, 1, 2].map(async () => {
      while (performance.now() < end) {
        const messages = Array.from(
          { length: oneOf([1, 2, 5, 60]) },
          () => lettered(published++),
        );
        await publish(ports, messages);
        await pauseFor(Math.random() * 30);
      }
    });
    await Promise.all([disturbing, killing, ...publishing]);
    await until(
      "all have all",
      () => clients.every((client) => ledger.count(client) >= published),
      60_000,
    ).catch(() => {});
    return {
      published,
      done,
      wrong: [
        ...ledger.judge(clients, published),
        ...clients.flatMap(({ gaps }) =>
          gaps.items.map(({ reason }) => `a client was told a gap: ${reason}`)
        ),
      ],
      disconnects: clients.reduce(
        (sum, { disconnects }) => sum + disconnects.items.length,
        0,
      ),
    };
  } finally {
    for (const client of clients) await client[Symbol.asyncDispose]();
    for (const node of nodes) await node[Symbol.asyncDispose]();
  }
}

/** Stops a client's reading for a while, with pings that want an answer; or breaks its connection. */
async function disturb(
  client: Subscriber,
  count: (what: string) => void,
): Promise<void> {
  const { ws } = client.socket.io.engine.transport as unknown as { ws?: Raw };
  // Without a connection of its own, or between two.
  if (!ws?._socket || !client.socket.connected) return;
  if (Math.random() < 0.1) {
    count("dropped");
    return ws._socket.destroy();
  }
  count("paused");
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

/** Publishes until every message is answered with an id: a key makes it one message however often it is posted. */
async function publish(
  ports: readonly number[],
  messages: readonly Lettered[],
): Promise<void> {
  let left = messages;
  await until("all are published", async () => {
    const body = left.map((message) => ({
      room: "chat",
      message,
      key: `key ${message[0]}`,
    }));
    try {
      const response = await fetch(
        `http://127.0.0.1:${oneOf(ports)}/publish/batch`,
        {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ messages: body }),
        },
      );
      const { results } = await response.json();
      left = left.filter((_, index) => results?.[index]?.id === undefined);
    } catch {
      // The node is gone: another is asked.
    }
    return left.length === 0;
  });
}

/** What clients got, noted as it comes and not kept: a few minutes of it are gigabytes. */
class Ledger {
  /** The ids in the order in which any client got them first, and the numbers of their messages. */
  readonly #ids: string[] = [];
  readonly #numbers = new Set<number>();
  readonly #counts = new Map<Subscriber, number>();
  readonly #wrong: string[] = [];

  /** How many messages a client got. */
  count(client: Subscriber): number {
    return this.#counts.get(client) ?? 0;
  }

  note(client: Subscriber, { message, id }: Received): void {
    const place = this.count(client);
    this.#counts.set(client, place + 1);
    const [number, length, text] = message as Lettered;
    if (place === this.#ids.length) {
      this.#ids.push(id);
      if (this.#numbers.has(number)) this.#wrong.push(`${number} came twice`);
      this.#numbers.add(number);
    } else if (this.#ids[place] !== id) {
      this.#wrong.push(`a client got ${id} where ${this.#ids[place]} comes`);
    }
    if (text !== letterOf(number).repeat(length)) {
      this.#wrong.push(`a client got ${id} not whole`);
    }
  }

  /** What was wrong, the first few. */
  judge(clients: readonly Subscriber[], published: number): string[] {
    const counts = clients.map((client) => this.count(client));
    return [
      ...counts.filter((count) => count !== published).map((count) =>
        `a client got ${count} of ${published}`
      ),
      ...this.#wrong,
    ].slice(0, 20);
  }
}

function oneOf<T>(things: readonly T[]): T {
  return things[Math.floor(Math.random() * things.length)] as T;
}

/** A pause that is part of what is done, not a wait for something. */
function pauseFor(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
