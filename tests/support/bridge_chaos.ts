/** Numbered PUBLISHes, while connections are killed and nodes die, stand still and come back. */
import { createClient } from "redis";
import type { RedisClient } from "../../lib/redis/connection.ts";
import { type Reply, TestNode } from "./node.ts";
import { Redis } from "./redis.ts";
import { pauseFor, soon, until } from "./wait.ts";

/** A producer that knows nothing of Roomcast: it PUBLISHes, and goes on. */
export class Producer {
  /** What was published, in order. */
  readonly sent: string[] = [];
  readonly #client: RedisClient;
  readonly #timer: ReturnType<typeof setInterval>;
  #unanswered = new Set<Promise<unknown>>();

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

  /** Starts publishing; every fiftieth number is followed by ten equal payloads. */
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

  /** Stops; all that was sent has been executed. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#unanswered);
    this.#client.destroy();
  }

  #publish(channel: string): void {
    const index = this.sent.length;
    const payload = index % 60 < 10 ? "hello" : String(index);
    this.sent.push(payload);
    const answered = this.#client.publish(channel, payload).catch(() => {})
      .finally(() => this.#unanswered.delete(answered));
    this.#unanswered.add(answered);
  }
}

/** All messages of a room's history, oldest first. */
export async function readRoom(
  node: TestNode,
  room = "chat",
): Promise<{ messages: unknown[]; complete: boolean }> {
  const { entries, complete } = await readEntries(node, room);
  return { messages: entries.map(({ message }) => message), complete };
}

/** The same, with their ids. */
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

/** Reads a page, again while the node has just lost its connection to Redis. */
async function readPage(node: TestNode, path: string): Promise<Reply["body"]> {
  let reply: Reply | undefined;
  await until("the history can be read", async () => {
    reply = await node.get(path);
    return reply.status === 200;
  });
  return reply?.body;
}

/** How many of these nodes say that they are in step. */
export async function inStep(nodes: readonly TestNode[]): Promise<number> {
  const said = await Promise.all(
    nodes.map((node) => node.metric("roomcast_bridge_in_step").catch(() => 0)),
  );
  return said.reduce((sum, one) => sum + one, 0);
}

/** What chaos came to. */
export interface Outcome {
  readonly sent: readonly string[];
  readonly messages: readonly unknown[];
  readonly complete: boolean;
  /** How often which thing was done. */
  readonly done: Readonly<Record<string, number>>;
}

/**
 * Three nodes, `perSecond` PUBLISHes for `seconds`, while a subscriber or command connection is killed every few hundred
 * milliseconds and one node after the other is killed, stopped and started, or made to stand still. Nothing is done to
 * what listens before two nodes are in step, so that one always is: that is what the promise asks for.
 */
export async function makeChaos(
  { seconds, perSecond }: { seconds: number; perSecond: number },
): Promise<Outcome> {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, HISTORY_SIZE: "1000000" };
  const nodes = await Promise.all([1, 2, 3].map(() => TestNode.start(env)));
  await until("all are in step", async () => await inStep(nodes) === 3);
  const done: Record<string, number> = {};
  const count = (what: string) => done[what] = (done[what] ?? 0) + 1;
  const end = performance.now() + seconds * 1000;
  const producer = await Producer.start(redis, perSecond);
  const twoInStep = (running: readonly TestNode[]) =>
    until("two are in step", async () => await inStep(running) >= 2);
  const killOne = async (name: string, running: readonly TestNode[]) => {
    await twoInStep(running);
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
        "the others are in step",
        async () => await inStep(nodes) === 2,
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
    await until("everything heard is in the log", async () => {
      const [first] = nodes;
      return first !== undefined &&
        (await readRoom(first)).messages.length >= producer.sent.length;
    }).catch(() => {});
    const [first] = nodes;
    if (first === undefined) throw new Error("No node is left");
    return { sent: producer.sent, done, ...await readRoom(first) };
  } finally {
    await producer.stop();
    for (const node of nodes) await node[Symbol.asyncDispose]();
  }
}

/** Kills one connection of that name, chosen by chance. */
export async function killClient(redis: Redis, name: string): Promise<void> {
  const list = String(await redis.command("CLIENT", "LIST"));
  const ids = list.split("\n").filter((line) => line.includes(` name=${name} `))
    .map((line) => /^id=(\d+)/.exec(line)?.[1] ?? "");
  const id = ids[Math.floor(Math.random() * ids.length)];
  if (id !== undefined) await redis.command("CLIENT", "KILL", "ID", id);
}
