/** Real nodes, each with its own address of the master, and clients and publishers that record what happens. */
import assert from "node:assert/strict";
import { readEntries } from "./bridge_chaos.ts";
import { Servers } from "./failover.ts";
import {
  judgeFailover,
  type Message,
  type Published,
  type Verdict,
} from "./failover_judge.ts";
import { RestartingNodes, wanderer } from "./restarting_nodes.ts";
import { Random } from "./random.ts";
import { pauseFor, until } from "./wait.ts";
import { publishKeyed, Witness } from "./witness.ts";

/**
 * Maximum time from the last fault until a client is notified of a loss, in ms. A node may need 8 s to decide that
 * another node will not return, and the machine that runs the tests may be busy.
 */
const NOTIFIED_TIMEOUT_MS = 12_000;

/** The index of no node, for a client that has to stay disconnected. */
export const NOWHERE = -1;

/** The node to which a client reconnects: its index, or {@linkcode NOWHERE}. */
export interface Home {
  node: number;
}

/** The servers, nodes and clients of a test; `await using` ends all of them. */
export class Stage {
  readonly servers: Servers;
  readonly nodes: RestartingNodes;
  readonly published: Published[] = [];
  readonly witnesses: Witness[] = [];
  readonly #stack: AsyncDisposableStack;
  #keys = 0;

  private constructor(
    servers: Servers,
    nodes: RestartingNodes,
    stack: AsyncDisposableStack,
  ) {
    this.servers = servers;
    this.nodes = nodes;
    this.#stack = stack;
  }

  /** Starts a master, a replica unless `replica` is false, and `count` nodes with the settings `env`. */
  static async start(
    count: number,
    { replica = true, args = [], env = {} }: {
      replica?: boolean;
      args?: readonly string[];
      env?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<Stage> {
    await using stack = new AsyncDisposableStack();
    const servers = stack.use(
      await Servers.start({ addresses: count, replica, args }),
    );
    const nodes = stack.use(
      await RestartingNodes.start(count, (index) => ({
        REDIS_URL: servers.url(index),
        // When Redis restarts, rooms of channels always get a gap with the reason `ingress`.
        CHANNELS: "bridged",
        HISTORY_SIZE: "100000",
        DRAIN_SECONDS: "1",
        ...env,
      })),
    );
    return new Stage(servers, nodes, stack.move());
  }

  /** Connects a client to `rooms`. Each time the client connects, it uses the node that `home` names at that moment. */
  async client(
    rooms: readonly string[],
    home: Home,
    transports: string[] = ["websocket"],
  ): Promise<Witness> {
    const witness = new Witness(
      `client ${this.witnesses.length}`,
      wanderer({ transports, auth: { rooms } }, () => this.#urlOf(home)),
    );
    this.witnesses.push(witness);
    await witness.subscriber.joined.have(rooms.length);
    return witness;
  }

  /**
   * Publishes `count` messages into `room`, in turn through the nodes with these indexes and `paceMs` apart. Retries
   * each message until it is acknowledged. Resolves to the keys of all messages.
   */
  async publish(
    room: string,
    count: number,
    nodes: readonly number[],
    paceMs = 0,
  ): Promise<string[]> {
    const publishing: Promise<Published>[] = [];
    for (let i = 0; i < count; i++) {
      const node = nodes[i % nodes.length] ?? 0;
      const url = this.nodes.url(node);
      const key = `${room} #${this.#keys++} by ${node}`;
      const end = performance.now() + NOTIFIED_TIMEOUT_MS;
      const giveUp = (): boolean => performance.now() > end;
      publishing.push(publishKeyed(() => url, room, key, giveUp));
      if (paceMs > 0) await pauseFor(paceMs);
    }
    const published = await Promise.all(publishing);
    this.published.push(...published);
    const refused = published.find(({ acknowledged }) => !acknowledged);
    if (refused !== undefined) {
      throw new Error(
        `Cannot publish ${refused.key}: it was never acknowledged; look at the nodes' logs`,
      );
    }
    return published.map(({ key }) => key);
  }

  /**
   * Publishes one more message on each node into each room, then compares what the clients recorded with the log. If
   * something is wrong, compares again until `NOTIFIED_TIMEOUT_MS` has passed. The log is read from the first node,
   * without the rooms in `unknown`, whose histories are incomplete.
   */
  async judge(
    rooms: readonly string[],
    nodes: readonly number[],
    { unknown = new Set(), nothingLost = false }: {
      unknown?: ReadonlySet<string>;
      nothingLost?: boolean;
    } = {},
  ): Promise<Verdict> {
    const end = performance.now() + NOTIFIED_TIMEOUT_MS;
    const known = rooms.filter((room) => !unknown.has(room));
    await until(
      "all clients are connected",
      () => this.witnesses.every(({ connected }) => connected),
    );
    for (const room of rooms) await this.publish(room, nodes.length, nodes);
    for (;;) {
      const verdict = judgeFailover({
        published: this.published,
        timelines: this.witnesses,
        // The log is read each time, because the node may still be connected to another server.
        log: await this.#readLogs(known, nodes[0] ?? 0),
        nothingLost,
      });
      if (verdict.wrong.length === 0 || performance.now() > end) {
        return verdict;
      }
      await pauseFor(200);
    }
  }

  /** Closes the clients and clears the list of published messages, for the next repetition of a scene. */
  async forget(): Promise<void> {
    for (const witness of this.witnesses.splice(0)) {
      await witness[Symbol.asyncDispose]();
    }
    this.published.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const witness of this.witnesses) {
      await witness[Symbol.asyncDispose]();
    }
    await this.#stack.disposeAsync();
  }

  #urlOf({ node }: Home): string {
    return node === NOWHERE ? "http://127.0.0.1:1" : this.nodes.url(node);
  }

  async #readLogs(
    rooms: readonly string[],
    node: number,
  ): Promise<Map<string, Message[]>> {
    const log = new Map<string, Message[]>();
    for (const room of rooms) {
      const running = this.nodes.nodes[node];
      if (running === undefined) continue;
      const { entries } = await readEntries(running, room);
      log.set(
        room,
        entries.map(({ id, message }) => ({ id, key: String(message) })),
      );
    }
    return log;
  }
}

/**
 * Runs a scene on one stage as often as the environment variable `FAILOVER_REPEATS` says, by default once. The first
 * run has no random delays (`random` is undefined), all others have. The scene has to restore the stage, and to resolve
 * to its errors. Rejects if any run had an error.
 */
export async function repeat(
  start: () => Promise<Stage>,
  scene: (
    stage: Stage,
    random: Random | undefined,
    index: number,
  ) => Promise<readonly string[]>,
): Promise<void> {
  const times = Number(Deno.env.get("FAILOVER_REPEATS") ?? 1);
  const wrong: string[] = [];
  const stage = await start();
  try {
    for (let i = 0; i < times; i++) {
      const found = await scene(stage, i === 0 ? undefined : new Random(i), i);
      wrong.push(...found.map((what) => `repetition ${i}: ${what}`));
    }
  } catch (error) {
    wrong.push(`a repetition failed: ${stackOf(error)}`);
  }
  wrong.push(...await end(stage));
  assert.deepEqual(wrong, []);
}

/**
 * Ends a stage, and resolves to the errors that occur meanwhile. If `await using` threw such an error, it would hide
 * the error that ended the test.
 */
export async function end(stage: Stage): Promise<string[]> {
  try {
    await stage[Symbol.asyncDispose]();
    return [];
  } catch (error) {
    return [`the stage did not end: ${stackOf(error)}`];
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? String(error.stack) : String(error);
}
