/** Publishes numbered messages on Redis channels while connections and nodes are killed, suspended and restarted. */
import { createClient } from "@redis/client";
import type { RedisClient } from "../../lib/redis/connection.ts";
import { type Reply, TestNode } from "./node.ts";
import { Redis } from "./redis.ts";
import { pauseFor, soon, until } from "./wait.ts";

/** A program that knows nothing of Roomcast and runs `PUBLISH` at a fixed rate. */
export class Producer {
  /** All published messages, in order. */
  readonly sent: string[] = [];
  readonly #client: RedisClient;
  readonly #timer: ReturnType<typeof setInterval>;
  #pending = new Set<Promise<unknown>>();

  private constructor(
    client: RedisClient,
    perSecond: number,
    channelOf: (index: number) => string,
  ) {
    this.#client = client;
    const start = performance.now();
    this.#timer = setInterval(() => {
      const due = (performance.now() - start) * perSecond / 1000;
      while (this.sent.length < due) {
        this.#publish(channelOf(this.sent.length));
      }
    }, 2);
  }

  /** Starts publishing. Of each 60 messages, the first ten are equal, and the others are different numbers. */
  static async start(
    redis: Redis,
    perSecond: number,
    channelOf: (index: number) => string = () => "chat",
  ): Promise<Producer> {
    const client = createClient({
      url: redis.url,
      RESP: 2,
      socket: { reconnectStrategy: false },
    }) as RedisClient;
    client.on("error", () => {});
    await soon(client.connect(), "the producer connects");
    return new Producer(client, perSecond, channelOf);
  }

  /** Stops publishing, and waits until Redis has executed every `PUBLISH`. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#pending);
    this.#client.destroy();
  }

  #publish(channel: string): void {
    const index = this.sent.length;
    const payload = index % 60 < 10 ? "hello" : String(index);
    this.sent.push(payload);
    const replied = this.#client.publish(channel, payload).catch(() => {})
      .finally(() => this.#pending.delete(replied));
    this.#pending.add(replied);
  }
}

/** Returns all messages of a room's history, oldest first. */
export async function readRoom(
  node: TestNode,
  room = "chat",
): Promise<{ messages: unknown[]; complete: boolean }> {
  const { entries, complete } = await readEntries(node, room);
  return { messages: entries.map(({ message }) => message), complete };
}

/** Returns all messages of a room's history with their ids, oldest first. */
export async function readEntries(
  node: TestNode,
  room: string,
): Promise<
  { entries: { id: string; message: unknown }[]; complete: boolean }
> {
  const entries: { id: string; message: unknown }[] = [];
  let complete = true, since = "";
  for (;;) {
    const body = await readPage(
      node,
      `/rooms/${room}/history?limit=1000${since && `&since=${since}`}`,
    );
    complete &&= body.complete;
    entries.push(...body.messages);
    if (body.messages.length < 1000) return { entries, complete };
    since = body.messages.at(-1).id;
  }
}

/** Reads a page of history from a node, and retries while the node has no connection to Redis. */
async function readPage(node: TestNode, path: string): Promise<Reply["body"]> {
  let reply: Reply | undefined;
  await until("the history can be read", async () => {
    reply = await node.get(path);
    return reply.status === 200;
  });
  return reply?.body;
}

/** Returns how many of these nodes report that their bridge is synchronized. */
export async function synchronizedNodes(
  nodes: readonly TestNode[],
): Promise<number> {
  const states = await Promise.all(
    nodes.map((node) => node.metric("roomcast_bridge_in_step").catch(() => 0)),
  );
  return states.reduce((sum, one) => sum + one, 0);
}

/** The messages that were published, and those that are in the room's history. */
export interface Outcome {
  readonly sent: readonly string[];
  readonly messages: readonly unknown[];
  readonly complete: boolean;
  /** How often each kind of disturbance happened. */
  readonly done: Readonly<Record<string, number>>;
}

/**
 * Runs PUBLISH `perSecond` times a second for `seconds` on three nodes. Meanwhile a subscriber or command connection is
 * killed every few hundred milliseconds, and one node after the other is killed, suspended, or stopped and restarted.
 * Each disturbance begins only when two nodes are synchronized, so that one of them always remains, as the bridge's
 * guarantee requires.
 */
export async function makeChaos(
  { seconds, perSecond }: { seconds: number; perSecond: number },
): Promise<Outcome> {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, HISTORY_SIZE: "1000000" };
  const nodes = await Promise.all([1, 2, 3].map(() => TestNode.start(env)));
  await until(
    "all nodes are synchronized",
    async () => await synchronizedNodes(nodes) === 3,
  );
  const done: Record<string, number> = {};
  const count = (what: string) => done[what] = (done[what] ?? 0) + 1;
  const end = performance.now() + seconds * 1000;
  const producer = await Producer.start(redis, perSecond);
  const twoSynchronized = (running: readonly TestNode[]) =>
    until(
      "two nodes are synchronized",
      async () => await synchronizedNodes(running) >= 2,
    );
  const killOne = async (name: string, running: readonly TestNode[]) => {
    await twoSynchronized(running);
    await killClient(redis, name);
    count(`killed ${name}`);
  };
  try {
    for (let turn = 0; performance.now() < end; turn++) {
      const index = turn % 3;
      const [node] = nodes.splice(index, 1);
      if (node === undefined) break;
      const kind = (["SIGKILL", "SIGSTOP", "SIGTERM"] as const)[
        (turn + Math.floor(turn / 3)) % 3
      ];
      await until(
        "the other nodes are synchronized",
        async () => await synchronizedNodes(nodes) === 2,
      );
      node.signal(kind ?? "SIGKILL");
      count(String(kind));
      const back = performance.now() + 3000;
      const replaced = kind === "SIGSTOP"
        ? undefined
        : node.exited().then(() => TestNode.start(env));
      while (performance.now() < back) {
        await killOne("roomcast-bridge", nodes);
        await pauseFor(100 + Math.random() * 300);
        await killClient(redis, "roomcast-commands");
        count("killed roomcast-commands");
        await pauseFor(100 + Math.random() * 200);
      }
      if (kind === "SIGSTOP") node.signal("SIGCONT");
      nodes.splice(index, 0, await replaced ?? node);
    }
    await producer.stop();
    await until("everything received is in the log", async () => {
      const [first] = nodes;
      return first !== undefined &&
        (await readRoom(first)).messages.length >= producer.sent.length;
    }).catch(() => {});
    const [first] = nodes;
    if (first === undefined) {
      throw new Error("Cannot read the history: no node is left");
    }
    return { sent: producer.sent, done, ...await readRoom(first) };
  } finally {
    await producer.stop();
    for (const node of nodes) await node[Symbol.asyncDispose]();
  }
}

/** Kills a random connection to Redis with this client name. */
export async function killClient(redis: Redis, name: string): Promise<void> {
  const list = String(await redis.command("CLIENT", "LIST"));
  const ids = list.split("\n").filter((line) => line.includes(` name=${name} `))
    .map((line) => /^id=(\d+)/.exec(line)?.[1] ?? "");
  const id = ids[Math.floor(Math.random() * ids.length)];
  if (id !== undefined) await redis.command("CLIENT", "KILL", "ID", id);
}
