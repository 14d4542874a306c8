/**
 * Modelled clients and publishers, and the promise to them: every message that was acknowledged or delivered reaches
 * each client of its room once, or the client is notified that messages are missing.
 */
import type { World } from "./failover_model.ts";
import type { ModelNode } from "./failover_node.ts";

/** A packet to a client. A stock client stores the `offset` of the last one. */
export type Sent =
  | {
    kind: "connect";
    recovered: boolean;
    pid: string;
    /** Its rooms, and whether each was recovered. Real nodes send these as separate events. */
    rooms: readonly (readonly [room: string, recovered: boolean])[];
  }
  | { kind: "message"; room: string; value: number; offset: string }
  | { kind: "gap"; room: string; offset: string }
  | { kind: "joined" | "position"; offset: string }
  | { kind: "answer"; room: string };

/** What a client sends when it connects. */
export interface Shown {
  readonly pid: string | undefined;
  readonly offset: string | undefined;
  readonly rooms: readonly string[];
}

/** A publish and its results. */
export interface Message {
  readonly value: number;
  readonly room: string;
  readonly key: string | undefined;
  /** When it was first sent. */
  readonly sentStep: number;
  /** When Redis accepted it, for each id that it got. */
  readonly taken: Map<string, number>;
  /** The ids that were acknowledged or delivered, with the nodes that did so. */
  readonly counting: Map<string, Set<ModelNode>>;
  underWay: boolean;
  acknowledged: { readonly id: string; readonly node: ModelNode } | undefined;
}

/** One connection of a client to a node. */
export class Socket {
  readonly rooms = new Set<string>();
  open = true;
  readonly #world: World;
  readonly #client: ModelClient;
  readonly #node: ModelNode;
  #waiting: { sent: Sent; step: number }[] = [];

  constructor(world: World, client: ModelClient, node: ModelNode) {
    this.#world = world;
    this.#client = client;
    this.#node = node;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get node(): ModelNode {
    return this.#node;
  }

  send(sent: Sent): void {
    if (this.open) this.#waiting.push({ sent, step: this.#world.step() });
  }

  /** The client receives some of the packets in flight. */
  read(count: number): void {
    for (const { sent, step } of this.#waiting.splice(0, count)) {
      this.#client.take(sent, step);
    }
  }

  /** Breaks the connection and discards the packets in flight. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.#waiting = [];
    this.#node.clients.left(this);
  }
}

/** What a client has observed in a room, in order. */
type Seen =
  | { kind: "joined" | "left"; step: number }
  | { kind: "told"; step: number }
  | { kind: "message"; step: number; value: number; id: string };

/** A stock client. */
export class ModelClient {
  readonly #world: World;
  readonly seen = new Map<string, Seen[]>();
  #pid: string | undefined;
  #offset: string | undefined;
  #rooms = new Set<string>();
  socket: Socket | undefined;
  told = 0;
  notRecovered = 0;

  constructor(world: World) {
    this.#world = world;
  }

  get connected(): boolean {
    return this.socket?.open === true && this.#pid !== undefined;
  }

  connect(node: ModelNode): void {
    if (this.socket?.open || !node.alive) return;
    this.socket = new Socket(this.#world, this, node);
    node.clients.admit(this.socket, {
      pid: this.#pid,
      offset: this.#offset,
      rooms: ["chat"],
    });
  }

  join(room: string): void {
    if (this.socket?.open && !this.#rooms.has(room)) {
      this.socket.node.clients.join(this.socket, room);
    }
  }

  take(sent: Sent, step: number): void {
    if ("offset" in sent) this.#offset = sent.offset;
    switch (sent.kind) {
      case "connect":
        this.#comeIn(sent, step);
        break;
      case "message":
        if (this.socket !== undefined) {
          count(
            this.#world.messages[sent.value],
            sent.offset,
            this.socket.node,
          );
        }
        this.#see(sent.room, {
          kind: "message",
          step,
          value: sent.value,
          id: sent.offset,
        });
        break;
      case "gap":
        this.told++;
        this.#see(sent.room, { kind: "told", step });
        break;
      case "answer":
        this.#rooms.add(sent.room);
        this.#see(sent.room, { kind: "told", step });
        this.#see(sent.room, { kind: "joined", step: this.#world.step() });
    }
  }

  #comeIn(
    { pid, recovered, rooms }: Sent & { kind: "connect" },
    step: number,
  ): void {
    if (!recovered && this.#pid !== undefined) this.notRecovered++;
    this.#pid = pid;
    if (recovered) return;
    const before = this.#rooms;
    this.#rooms = new Set(rooms.map(([room]) => room));
    for (const [room, whole] of rooms) {
      if (whole && before.delete(room)) continue;
      before.delete(room);
      this.#see(room, { kind: "told", step });
      this.#see(room, { kind: "joined", step: this.#world.step() });
    }
    for (const room of before) this.#see(room, { kind: "left", step });
  }

  #see(room: string, seen: Seen): void {
    const list = this.seen.get(room) ?? [];
    this.seen.set(room, list);
    list.push(seen);
  }
}

/** Returns the error in what a client has observed of a room, or undefined if there is none. */
export function wrongWith(
  seen: readonly Seen[],
  messages: readonly Message[],
): string | undefined {
  const last = new Map<number, number>();
  let toldAt = -1, before = "";
  for (const [index, one] of seen.entries()) {
    if (one.kind === "told") toldAt = index, before = "";
    if (one.kind !== "message") continue;
    const at = last.get(one.value);
    if (at !== undefined && at > toldAt) {
      return `message ${one.value} came twice`;
    }
    if (before !== "" && idIsBelow(one.id, before)) {
      return `message ${one.value} came out of order`;
    }
    before = one.id;
    last.set(one.value, index);
  }
  for (const message of messages) {
    const taken = takenAt(message);
    if (taken === undefined || last.has(message.value)) continue;
    const membership = seen.findLast(({ kind, step }) =>
      (kind === "joined" || kind === "left") && step < message.sentStep
    );
    if (membership?.kind !== "joined") continue;
    const ended = seen.some(({ kind, step }) =>
      kind === "left" && step > message.sentStep
    );
    const told = seen.some(({ kind, step }) => kind === "told" && step > taken);
    if (!ended && !told) {
      return `message ${message.value} is missing, and nobody said so`;
    }
  }
}

/** Records that a node has acknowledged or delivered a message under an id. */
export function count(
  message: Message | undefined,
  id: string,
  node: ModelNode,
): void {
  const nodes = message?.counting.get(id) ?? new Set();
  message?.counting.set(id, nodes.add(node));
}

/**
 * Returns when Redis last accepted a message in a way that counts: it was acknowledged or delivered, and at least one
 * of the nodes that did so did not die unnoticed, which no protocol could detect.
 */
function takenAt({ taken, counting }: Message): number | undefined {
  const steps = [...counting].flatMap(([id, nodes]) =>
    [...nodes].every(({ unknown }) => unknown) ? [] : taken.get(id) ?? Infinity
  );
  return steps.length === 0 ? undefined : Math.max(...steps);
}

function idIsBelow(a: string, b: string): boolean {
  const [ams = 0, aseq = 0] = a.split("-").map(Number);
  const [bms = 0, bseq = 0] = b.split("-").map(Number);
  return ams < bms || (ams === bms && aseq <= bseq);
}
