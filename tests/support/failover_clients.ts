/**
 * Models of clients and of publishes, and the check of what clients were promised: every message that was acknowledged
 * or delivered reaches each client of its room once, or the client is notified that messages are missing.
 */
import type { World } from "./failover_model.ts";
import type { ModelNode } from "./failover_node.ts";

/** A packet to a client. A stock client stores the `offset` of the last packet that has one. */
export type Sent =
  | {
    kind: "connect";
    recovered: boolean;
    pid: string;
    /** The client's rooms, and for each whether it was recovered. Real nodes send a separate event for each room. */
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
  /** The world's step at which the publish was first sent. */
  readonly sentStep: number;
  /** For each id that the message got, the step at which Redis accepted the message. */
  readonly taken: Map<string, number>;
  /** The ids under which the message was acknowledged or delivered, each with the nodes that did so. */
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

  /** Lets the client receive the next `count` packets in flight. */
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

/** One thing that a client has observed in a room. `notified`: the client was notified that messages may be missing. */
type Seen =
  | { kind: "joined" | "left"; step: number }
  | { kind: "notified"; step: number }
  | { kind: "message"; step: number; value: number; id: string };

/** A model of a stock client. */
export class ModelClient {
  readonly #world: World;
  readonly seen = new Map<string, Seen[]>();
  #pid: string | undefined;
  #offset: string | undefined;
  #rooms = new Set<string>();
  socket: Socket | undefined;
  notified = 0;
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
        this.#takeConnect(sent, step);
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
        this.notified++;
        this.#see(sent.room, { kind: "notified", step });
        break;
      case "answer":
        this.#rooms.add(sent.room);
        this.#see(sent.room, { kind: "notified", step });
        this.#see(sent.room, { kind: "joined", step: this.#world.step() });
    }
  }

  #takeConnect(
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
      this.#see(room, { kind: "notified", step });
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

/** Checks what a client has observed in a room. Returns the first broken promise as a sentence, or undefined. */
export function wrongWith(
  seen: readonly Seen[],
  messages: readonly Message[],
): string | undefined {
  const last = new Map<number, number>();
  let notifiedAt = -1, before = "";
  for (const [index, one] of seen.entries()) {
    if (one.kind === "notified") notifiedAt = index, before = "";
    if (one.kind !== "message") continue;
    const at = last.get(one.value);
    if (at !== undefined && at > notifiedAt) {
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
    const notified = seen.some(({ kind, step }) =>
      kind === "notified" && step > taken
    );
    if (!ended && !notified) {
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
 * Returns the step at which Redis last accepted a message that clients must not miss; undefined if they may miss the
 * message. They may miss it if no node has acknowledged or delivered it, or if all nodes that did so were killed before
 * other nodes knew them.
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
