/**
 * Random runs in which nodes, servers and clients fail while messages are published. At the end every client must have
 * every message, or must have been notified that messages are missing (`failover_judge.ts`). The seed of a run decides
 * what fails (`failover_plan.ts`); the exact times, and therefore the outcome, also depend on the machine.
 */
import {
  describePlan,
  type Fault,
  NODES,
  type Plan,
  planOf,
  ROOMS,
} from "./failover_plan.ts";
import type { Published } from "./failover_judge.ts";
import { end, Stage } from "./failover_stage.ts";
import type { Random } from "./random.ts";
import { pauseFor, until } from "./wait.ts";
import { publishKeyed, type Witness } from "./witness.ts";

const BRIDGED = ROOMS[3];
const CLIENTS = 8;
/** How many runs are executed at the same time; a run spends most of its time waiting. */
const AT_ONCE = 4;
/** HTTP publishers; each publishes one message at a time and pauses at most `PACE_MS` ms. */
const PUBLISHERS = 4;
const PACE_MS = 60;
/** How long messages are published before the first fault and after the last fault, in ms. */
const CALM_MS = 800;
/** How long after the last fault a publisher retries its last message, in ms. */
const GIVE_UP_MS = 8000;
/** How long a `PUBLISH` may take to reach a client after the faults, in ms. */
const BRIDGE_TIMEOUT_MS = 12_000;

/** The result of a run. */
export interface FailoverOutcome {
  readonly seed: number;
  /** A description of the seed's plan. */
  readonly plan: string;
  /** Errors of clients and of the log, as sentences. */
  readonly wrong: readonly string[];
  /**
   * The start of each fault, and the timelines of the clients that `wrong` names; all times are in ms of the same
   * clock.
   */
  readonly evidence: readonly string[];
  /** Number of acknowledged messages, and the counts of the judge's `Verdict`. */
  readonly acknowledged: number;
  readonly notified: number;
  readonly notifiedEarly: number;
  readonly again: number;
  /** Number of reconnects, and how many of them were reported as recovered. */
  readonly returns: number;
  readonly recovered: number;
}

/** Returns new seeds. The plan of every fourth seed has `ACK_REPLICAS=1`. */
export function newSeeds(count: number): number[] {
  const first = Math.floor(Math.random() * 1e6);
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Runs the plans of these seeds, `AT_ONCE` at a time, and calls `ended` with each outcome. */
export async function failOverAll(
  seeds: readonly number[],
  ended: (outcome: FailoverOutcome) => void = () => {},
): Promise<FailoverOutcome[]> {
  const left = [...seeds];
  const outcomes: FailoverOutcome[] = [];
  const lane = async (): Promise<void> => {
    for (let seed = left.shift(); seed !== undefined; seed = left.shift()) {
      const outcome = await failOver(seed);
      outcomes.push(outcome);
      ended(outcome);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return outcomes;
}

/** Runs the plan of a seed. If the run cannot continue, the outcome's `wrong` contains the error. */
async function failOver(seed: number): Promise<FailoverOutcome> {
  const plan = planOf(seed);
  const stage = await Stage.start(NODES.length, {
    env: plan.ackReplicas ? { ACK_REPLICAS: "1" } : {},
  });
  const run = new Run(stage, plan);
  const found = await run.play().catch((error) => [String(error.stack)]);
  const wrong = [...found, ...await end(stage)];
  const returns = stage.witnesses.flatMap(({ connects }) => connects.slice(1));
  return {
    ...run.counts,
    seed,
    plan: describePlan(plan),
    wrong,
    evidence: [
      ...run.done,
      ...stage.witnesses.filter(({ client }) =>
        wrong.some((what) => what.startsWith(`${client} `))
      ).map((witness) => witness.retell()),
    ],
    returns: returns.length,
    recovered: returns.filter((recovered) => recovered).length,
  };
}

class Run {
  readonly #stage: Stage;
  readonly #plan: Plan;
  /** Whether clients and publishers have to stop. */
  #over = false;
  /** The time since which clients and publishers have to stop. */
  #overAt = Infinity;
  #keys = 0;
  /** Resolves when the last fault of Redis is over, because faults of Redis run one at a time. */
  #turn: Promise<void> = Promise.resolve();
  readonly #deleted = new Set<string>();
  readonly #wrong: string[] = [];
  /** The faults that were caused so far, with their times. */
  readonly done: string[] = [];
  counts = { acknowledged: 0, notified: 0, notifiedEarly: 0, again: 0 };

  constructor(stage: Stage, plan: Plan) {
    this.#stage = stage;
    this.#plan = plan;
  }

  /** Runs the plan. Returns what was wrong, as sentences. */
  async play(): Promise<string[]> {
    const { servers, nodes, published } = this.#stage;
    const { random, readerMs, ackReplicas } = this.#plan;
    const clients = await this.#connect(random.fork());
    this.#lag();
    for (const address of servers.addresses) {
      address.delayMs = (name) => name === "reader" ? readerMs : 0;
    }
    const flowing = [
      ...clients.map((client) => this.#disturb(client, random.fork())),
      ...Array.from(
        { length: PUBLISHERS },
        () => this.#publish(random.fork()),
      ),
      this.#bridge(),
    ];
    await pauseFor(CALM_MS);
    try {
      await this.#causeFaults();
      await pauseFor(CALM_MS);
    } finally {
      this.#over = true;
      this.#overAt = performance.now();
      await Promise.all(flowing);
    }
    servers.lag(0);
    for (const address of servers.addresses) address.delayMs = () => 0;
    await until(
      "all nodes are ready",
      async () =>
        (await Promise.all(
          nodes.nodes.map((node) =>
            node.get("/readyz").then(({ status }) => status, () => 0)
          ),
        )).every((status) => status === 200),
    );
    await this.#bridgeWorks();
    const { wrong, ...counts } = await this.#stage.judge(ROOMS, NODES, {
      unknown: this.#deleted,
      nothingLost: ackReplicas,
    });
    const acknowledged = published.filter((one) => one.acknowledged).length;
    this.counts = { ...counts, acknowledged };
    return [...wrong, ...this.#wrong];
  }

  async #connect(random: Random): Promise<Witness[]> {
    const clients: Witness[] = [];
    for (let i = 0; i < CLIENTS; i++) {
      const home = {
        get node() {
          return random.oneOf(NODES);
        },
      };
      const transports = [i % 4 === 3 ? "polling" : "websocket"];
      clients.push(await this.#stage.client(["a", BRIDGED], home, transports));
    }
    return clients;
  }

  /** Breaks the connection of a client at random times, and lets the client join and leave rooms. */
  async #disturb(client: Witness, random: Random): Promise<void> {
    while (!this.#over) {
      await pauseFor(random.between(30, 400));
      if (!await client.settle()) continue;
      const room = random.oneOf(ROOMS);
      const what = random.next();
      const since = random.chance(0.7);
      if (what < 0.2) client.drop();
      else if (!client.rooms.has(room)) await client.join(room, { since });
      else if (what < 0.35) await client.leave(room);
    }
  }

  async #publish(random: Random): Promise<void> {
    const { nodes, published } = this.#stage;
    while (!this.#over) {
      const room = random.oneOf(ROOMS);
      await publishKeyed(
        () => nodes.url(random.oneOf(NODES)),
        room,
        `${room} ${this.#keys++}`,
        () => performance.now() > this.#overAt + GIVE_UP_MS,
      ).then(
        (one) => void published.push(one),
        (error) => void this.#wrong.push(String(error)),
      );
      await pauseFor(random.between(0, PACE_MS));
    }
  }

  /** Publishes messages on the Redis channel, on the newest master. No node acknowledges these messages. */
  async #bridge(): Promise<void> {
    while (!this.#over) {
      await this.#publishOnChannel();
      await pauseFor(PACE_MS);
    }
  }

  async #publishOnChannel(): Promise<Published> {
    const { servers, published } = this.#stage;
    const sentAt = performance.now();
    const one = { key: `PUBLISH ${this.#keys++}`, room: BRIDGED, sentAt };
    published.push(one);
    await servers.master.command("PUBLISH", BRIDGED, one.key).catch(() => {});
    return one;
  }

  /**
   * Waits until a client gets a message that was published on the Redis channel. The judge checks the other clients.
   */
  async #bridgeWorks(): Promise<void> {
    const sent: Published[] = [];
    const here = this.#stage.witnesses.filter(({ rooms }) =>
      rooms.has(BRIDGED)
    );
    if (here.length === 0) return;
    await until("the bridge works", async () => {
      sent.push(await this.#publishOnChannel());
      await pauseFor(100);
      return here.some((client) => sent.some(({ key }) => client.has(key)));
    }, BRIDGE_TIMEOUT_MS).catch((error) => this.#wrong.push(String(error)));
  }

  /** Causes the faults of the plan and repairs them. At the end, all nodes, a master and a replica are running. */
  async #causeFaults(): Promise<void> {
    const running: Promise<void>[] = [];
    for (const fault of this.#plan.faults) {
      await pauseFor(fault.afterMs);
      this.#note(`${JSON.stringify(fault)} begins`);
      if (fault.kind === "nodes") running.push(this.#killNodes(fault));
      else {
        this.#turn = this.#turn.then(() => this.#breakRedis(fault));
        running.push(this.#turn);
      }
    }
    await Promise.all(running);
    this.#note("everything is repaired");
  }

  async #killNodes(
    { nodes, ms }: Extract<Fault, { kind: "nodes" }>,
  ): Promise<void> {
    const all = this.#stage.nodes;
    await Promise.all(nodes.map((node) => all.kill(node)));
    await pauseFor(ms);
    await Promise.all(nodes.map((node) => all.revive(node, { ready: false })));
  }

  async #breakRedis(fault: Fault): Promise<void> {
    const { servers } = this.#stage;
    const { master } = servers;
    if (fault.kind === "promote") {
      await servers.linked();
      const old = await servers.promote();
      servers.move();
      await old.kill();
      await servers.follow();
      this.#lag();
    } else if (fault.kind === "split") await this.#split(fault);
    else if (fault.kind === "aof") {
      await master.kill();
      await pauseFor(fault.ms);
      await master.restart();
    } else if (fault.kind === "rdb") {
      await master.snapshot();
      await pauseFor(fault.ms);
      await master.restore();
    } else if (fault.kind === "del") {
      this.#deleted.add(fault.room);
      const key = `roomcast:{roomcast}:history:${fault.room}`;
      await master.command("DEL", key);
    }
  }

  async #split(
    { ms, stay, half, end }: Extract<Fault, { kind: "split" }>,
  ): Promise<void> {
    const { servers } = this.#stage;
    const { addresses } = servers;
    await servers.linked();
    const old = await servers.promote();
    const moving = addresses.filter((_, node) => !stay.includes(node));
    if (moving.length > 0) servers.move(...moving);
    const [halved] = addresses.filter((_, node) => stay.includes(node));
    if (half !== undefined && halved !== undefined) {
      servers.lead(halved);
      halved.cut(half);
    }
    if (this.#plan.ackReplicas) await servers.follow();
    this.#lag();
    await pauseFor(ms);
    if (end === "dies") {
      servers.lead();
      await old.kill();
    } else {
      const spare = servers.replica;
      await servers.follow(old);
      // Otherwise one of two replicas could acknowledge a message and the other one be promoted without it.
      if (spare !== undefined) await servers.level();
      await spare?.kill();
    }
    // A sentinel that demotes a master also disconnects its clients shortly afterwards.
    await pauseFor(CALM_MS / 4);
    servers.move();
    if (servers.replica === undefined) await servers.follow();
    this.#lag();
  }

  #note(what: string): void {
    this.done.push(`${Math.round(performance.now())} ${what}`);
  }

  #lag(): void {
    this.#stage.servers.lag(this.#plan.lagMs);
  }
}
