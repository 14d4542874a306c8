/**
 * A model for checking how nodes confirm an epoch after a failover of Redis. Real {@linkcode Witness} objects run in
 * models of nodes, with models of servers, clients and publishers.
 */
import {
  count,
  type Message,
  ModelClient,
  wrongWith,
} from "./failover_clients.ts";
import { ModelNode } from "./failover_node.ts";
import {
  type ModelEntry,
  type Mutant,
  type Place,
  Server,
} from "./failover_redis.ts";

/** Maximum time at the end of a run until nothing is in flight any more, in ms. */
const SETTLE_MS_MAX = 60_000;
/** How long the model runs without faults at the end of a run, in ms. */
const QUIET_MS = 11_000;
const STEP_MS = 50;
const QUIET_STEP_MS = 300;
/** Maximum number of rounds in which a node runs and Redis replies, before another node runs. */
const TURNS_MAX = 30;

/** All models together. The caller decides which step happens next. */
export class World {
  now = 1_000_000;
  readonly mutant: Mutant;
  readonly nodes: ModelNode[];
  readonly clients: ModelClient[];
  readonly messages: Message[] = [];
  /** Two servers, of which {@linkcode World.primary} is the one to which the nodes' address leads. */
  readonly servers: [Server, Server];
  primary: 0 | 1 = 0;
  #snapshot = 0;
  #steps = 0;
  #names = 0;
  #random = 1;

  constructor(mutant: Mutant = {}, nodes = 3, clients = 4) {
    this.mutant = mutant;
    this.servers = [this.#server(), this.#server()];
    this.servers[1].follow(this.servers[0]);
    this.nodes = Array.from({ length: nodes }, () => new ModelNode(this));
    this.clients = Array.from(
      { length: clients },
      () => new ModelClient(this),
    );
  }

  get master(): Server {
    return this.servers[this.primary];
  }

  get other(): Server {
    return this.servers[1 - this.primary] as Server;
  }

  /** Counts a step, and returns the number of steps so far. */
  step(): number {
    return ++this.#steps;
  }

  /** Returns a new name, like `newEpoch()`. The first five characters are pseudo-random. */
  name(): string {
    this.#random = (this.#random * 48271) % 0x7fffffff;
    const random = (this.#random & 0xfffff).toString(16).padStart(5, "0");
    return `${random}x${(this.#names++).toString(36).padStart(6, "0")}`;
  }

  placeOf(server: Server): Place {
    const { here, role } = server;
    return { now: this.now, step: this.step(), here, role };
  }

  // Publishers.

  publish(node: ModelNode, room: string, keyed: boolean): void {
    if (!node.alive) return;
    const value = this.messages.length;
    const message: Message = {
      value,
      room,
      key: keyed ? `k${value}` : undefined,
      sentStep: this.step(),
      taken: new Map(),
      counting: new Map(),
      underWay: true,
      acknowledged: undefined,
    };
    this.messages.push(message);
    node.publish(message);
  }

  /** Sends a publish with an idempotency key again that got no response or an error. `amount` selects the publish. */
  retry(node: ModelNode, amount: number): void {
    const again = this.messages.filter(({ key, underWay, acknowledged }) =>
      key !== undefined && !underWay && acknowledged === undefined
    );
    const message = again[amount % again.length];
    if (message === undefined || !node.alive) return;
    message.underWay = true;
    node.publish(message);
  }

  appended(message: Message, { id, step }: ModelEntry): void {
    message.taken.set(id, step);
  }

  refused(message: Message): void {
    message.underWay = false;
  }

  acknowledged(message: Message, { id }: ModelEntry, node: ModelNode): void {
    message.underWay = false;
    message.acknowledged = { id, node };
    count(message, id, node);
  }

  // Steps of nodes.

  kill(index: number): void {
    const node = this.nodes[index];
    if (node?.alive) node.die();
  }

  start(index: number): void {
    if (this.nodes[index]?.alive === false) {
      this.nodes[index] = new ModelNode(this);
    }
  }

  // Steps of servers.

  /**
   * Promotes the other server, without the newest `lost` changes, and makes the nodes' address lead to it. `lives` says
   * whether the old master continues to run.
   */
  promote(lives: boolean, lost: number): void {
    const [old, fresh] = [this.master, this.other];
    if (fresh.dead || fresh.master === undefined) return;
    fresh.replicate(old.states.length - lost - fresh.applied);
    fresh.promote(this.name());
    old.replacedAt = this.now;
    this.primary = this.primary === 0 ? 1 : 0;
    if (!lives) this.#end(old);
  }

  /** Makes the other server a replica with all data of the master, and starts it before if it had stopped. */
  demote(): void {
    if (this.master.dead) return;
    if (this.other.dead) this.servers[1 - this.primary] = this.#server();
    if (this.other.master === undefined) this.other.follow(this.master);
  }

  /** Lets the master write a snapshot. */
  snapshot(): void {
    this.#snapshot = this.master.states.length;
  }

  /** Restarts the master without the last `lost` commands, or with the data of its last snapshot. */
  restart(lost: number | "snapshot"): void {
    const old = this.master;
    if (old.master !== undefined) return;
    this.#end(old);
    const fresh = this.#server();
    const count = lost === "snapshot"
      ? Math.min(this.#snapshot, old.states.length)
      : old.states.length - lost;
    fresh.states = [old.states[Math.max(0, count - 1)] ?? old.data];
    this.servers[this.primary] = fresh;
    this.#snapshot = 0;
    if (this.other.master !== undefined) this.other.follow(fresh);
  }

  /** Stops the master until another server is promoted or it is started again. */
  stop(): void {
    this.#end(this.master);
  }

  #end(server: Server): void {
    server.dead = true;
    server.late.length = 0;
    for (const node of this.nodes) {
      for (const link of node.links) {
        if (link.wire?.server === server) link.reset();
      }
    }
  }

  #server(): Server {
    return new Server(this.name(), this.name());
  }

  // Time, and the end of a run.

  pass(ms: number): void {
    this.now += ms;
    for (const node of this.nodes) node.run();
  }

  /** Lets a node run, and Redis reply to the node, until neither has anything left to do. */
  turn(node: ModelNode): void {
    if (!node.alive || node.paused) return;
    for (const link of node.links) link.connect(this.master, node.group);
    for (let i = 0, more = true; more && i < TURNS_MAX; i++) {
      node.run();
      more = false;
      for (const { wire } of node.links) {
        const executed = wire?.execute();
        const answered = wire?.answer();
        more ||= executed === true || answered === true;
      }
    }
    node.run();
  }

  /**
   * Ends all faults. Continues until nothing is in flight, and until the nodes must have detected which nodes were
   * killed.
   */
  heal(): void {
    if (this.master.dead) this.restart(0);
    if (this.other.master === undefined) {
      for (const node of this.nodes) {
        for (const link of node.links) {
          if (link.wire?.server === this.other) link.reset();
        }
      }
      this.demote();
    }
    for (const [index, node] of this.nodes.entries()) {
      node.paused = false;
      if (node.leaving) node.die();
      this.start(index);
    }
    const end = this.now + SETTLE_MS_MAX;
    let quietSince = this.now;
    while (this.now - quietSince < QUIET_MS) {
      if (this.now > end) {
        throw new Error(
          "The world does not settle: work is still in flight after the time limit",
        );
      }
      for (const node of this.nodes) {
        // Nodes that are connected to the other server detect this, because it closes their connections.
        for (const link of node.links) {
          if (link.wire && link.wire.server !== this.master) link.reset();
        }
        this.turn(node);
      }
      for (const [index, client] of this.clients.entries()) {
        const node = this.nodes[index % this.nodes.length];
        if (node !== undefined) client.connect(node);
        client.socket?.read(Infinity);
      }
      const settled = this.#settled;
      this.pass(settled ? QUIET_STEP_MS : STEP_MS);
      if (!settled) quietSince = this.now;
    }
  }

  get #settled(): boolean {
    const { epoch, last } = headOf(this.master);
    return this.nodes.every(({ witness, busy }) =>
      !busy && witness.confirmed && witness.admitted &&
      witness.epoch === epoch &&
      witness.offset === last
    ) && this.clients.every(({ connected, socket }) =>
      connected && socket?.waiting === 0
    );
  }

  /** Checks what all clients have observed. Returns the first broken promise as a sentence, or undefined. */
  wrong(): string | undefined {
    for (const [index, { seen }] of this.clients.entries()) {
      for (const [room, list] of seen) {
        const messages = this.messages.filter((message) =>
          message.room === room
        );
        const wrong = wrongWith(list, messages);
        if (wrong !== undefined) return `client ${index}, ${room}: ${wrong}`;
      }
    }
  }
}

function headOf({ data: { epoch, log } }: Server): {
  epoch: string | undefined;
  last: string | undefined;
} {
  return { epoch: epoch?.name, last: log.at(-1)?.id };
}
