/** The steps that can happen in the model of `failover_model.ts`, and how often each happens. */
import type { World } from "./failover_model.ts";

/** How often each kind of step happens, relative to the other kinds. */
export const WEIGHTS = {
  turn: 14,
  work: 14,
  execute: 4,
  answer: 4,
  connectLink: 2,
  breakLink: 1,
  loseAnswer: 3,
  publish: 10,
  retry: 6,
  pass: 12,
  passLong: 3,
  kill: 1.5,
  start: 2,
  leave: 0.5,
  pause: 0.7,
  resume: 2,
  replicate: 3,
  promote: 1.2,
  demote: 1.2,
  snapshot: 0.4,
  restart: 0.7,
  stop: 0.3,
  late: 0.5,
  come: 6,
  go: 2,
  read: 6,
  join: 2,
} as const;

/** The name of a kind of step. */
export type Kind = keyof typeof WEIGHTS;
/** A step: its kind, a number that selects the node or client, and a number that selects one of its variants. */
export interface Happening {
  readonly kind: Kind;
  readonly who: number;
  readonly how: number;
}

/** Returns a generator of random numbers below 1; the same seed gives the same numbers. */
export function randomOf(seed: number): () => number {
  let state = (seed * 2654435761 + 97) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Sequences of steps that may lead to a loss. `a` and `b` stand for two random nodes, and a number for the node with
 * this index; the other values are random.
 */
const SEQUENCES: readonly (readonly [
  kind: Kind,
  who?: "a" | "b" | number,
  how?: number,
])[][] = [
  // A node joins, acknowledges at once, and dies as Redis fails over.
  [
    ["leave", "a"],
    ["work", "a", 0],
    ["replicate", 0, 0],
    ["start", "a"],
    ["work", "a", 1],
    ["publish", "a"],
    ["work", "a", 0],
    ["promote"],
    ["kill", "a"],
    ["turn", "b"],
  ],
  // Nodes without knowledge connect to a replica that does not know the earlier nodes.
  [
    ["leave", 0],
    ["work", 0, 0],
    ["leave", 1],
    ["work", 1, 0],
    ["leave", 2],
    ["work", 2, 0],
    ["replicate", 0, 0],
    ["start", 0],
    ["turn", 0],
    ["publish", 0],
    ["turn", 0],
    ["promote"],
    ["kill", 0],
    ["start", 1],
    ["turn", 1],
  ],
  // A reply is lost, and another node returns the result for the same key.
  [
    ["publish", "a", 2],
    ["loseAnswer", "a", 0],
    ["retry", "b"],
    ["work", "b", 0],
    ["kill", "a"],
    ["promote"],
    ["turn", "b"],
  ],
  // A client joins a room, and the saved session is lost.
  [
    ["join", "a", 0],
    ["work", "a", 0],
    ["pass"],
    ["turn", "a"],
    ["read", "a", 4],
    ["promote"],
    ["turn", "a"],
    ["turn", "b"],
    ["passLong"],
    ["go", "a"],
    ["come", "a"],
    ["publish", "b", 0],
  ],
  // A reply arrives from a server that was replaced.
  [
    ["publish", "a"],
    ["execute", "a", 0],
    ["promote", 0, 2],
    ["breakLink", "a", 1],
    ["passLong"],
    ["work", "a", 1],
    ["answer", "a", 0],
    ["kill", "a"],
  ],
  // All processes are replaced by others.
  [
    ["kill", "a"],
    ["start", "a"],
    ["turn", "a"],
    ["kill", "b"],
    ["start", "b"],
    ["turn", "b"],
    ["passLong"],
  ],
  // The address leads back to the old server.
  [
    ["promote", 0, 0],
    ["turn", "a"],
    ["turn", "b"],
    ["publish", "a"],
    ["turn", "a"],
    ["demote"],
    ["publish", "b"],
    ["turn", "b"],
    ["promote"],
    ["turn", "a"],
  ],
];

/**
 * Returns the steps of a run; the same seed gives the same steps. A run consists of parts. In each part, some kinds of
 * steps are frequent, some rare and some absent, and most steps concern the same node, because a uniform mixture would
 * rarely reach unusual states. Some parts follow one of the sequences above, with random steps in between.
 */
export function scheduleOf(
  seed: number,
  weights: Partial<Record<Kind, number>> = WEIGHTS,
): Happening[] {
  const random = randomOf(seed);
  const below = (count: number): number => Math.floor(random() * count);
  const happenings: Happening[] = [];
  for (let part = 1 + below(4); part > 0; part--) {
    const kinds = Object.entries(weights).map(([kind, weight]) =>
      [kind as Kind, weight * ([0, 0.3, 1, 1, 4][below(5)] ?? 1)] as const
    );
    const sum = kinds.reduce((sum, [, weight]) => sum + weight, 0);
    const any = (): Kind => {
      let at = random() * sum;
      return kinds.find(([, weight]) => (at -= weight) < 0)?.[0] ?? "turn";
    };
    const a = below(12), b = below(12);
    const sequence = SEQUENCES[below(SEQUENCES.length * 2)] ?? [];
    for (const [kind, role, how = below(1000)] of sequence) {
      if (!(kind in weights) || random() < 0.1) continue;
      const who = role === "a" ? a : role === "b" ? b : role ?? below(12);
      happenings.push({ kind, who, how });
      if (random() < 0.3) {
        happenings.push({ kind: any(), who: a, how: below(1000) });
      }
    }
    for (let left = 4 + below(30); left > 0; left--) {
      const who = random() < 0.5 ? a : below(12);
      happenings.push({ kind: any(), who, how: below(1000) });
    }
  }
  return happenings;
}

/** Returns the steps that remain if all are removed that are not needed to make `fails` return `true`. */
export function reduced(
  happenings: readonly Happening[],
  fails: (some: readonly Happening[]) => boolean,
): readonly Happening[] {
  let kept = happenings;
  for (let size = kept.length >> 1; size > 0;) {
    let shorter = false;
    for (let at = kept.length - size; at >= 0; at -= size) {
      const some = [...kept.slice(0, at), ...kept.slice(at + size)];
      if (fails(some)) [kept, shorter] = [some, true];
    }
    if (size > 1) size >>= 1;
    else if (!shorter) break;
  }
  return kept;
}

/** Executes one step in the model. */
export function happen(world: World, { kind, who, how }: Happening): void {
  const index = who % world.nodes.length;
  const node = world.nodes[index];
  const client = world.clients[who % world.clients.length];
  const link = node?.links[how % 2];
  if (node === undefined || client === undefined || link === undefined) return;
  const room = how % 5 === 0 ? "side" : "chat";
  switch (kind) {
    case "turn":
      if (node.alive && !node.paused) world.turn(node);
      return;
    case "execute":
      link.wire?.execute();
      return;
    case "answer":
      if (node.paused) return;
      link.wire?.answer();
      return node.run();
    case "work":
      if (!node.alive || node.paused) return;
      link.connect(world.master, node.group);
      do node.run(); while (link.wire?.execute() && link.wire.answer());
      return;
    case "connectLink":
      // The address may still lead to the old server, or already to the new one before that is a master.
      if (!node.alive || node.paused) return;
      link.connect(how % 7 < 2 ? world.other : world.master, node.group);
      return node.run();
    case "breakLink":
      link.reset();
      return node.run();
    case "loseAnswer":
      link.wire?.execute();
      link.reset();
      return node.run();
    case "publish":
      world.publish(node, room, how % 2 === 0);
      return node.run();
    case "retry":
      world.retry(node, how);
      return node.run();
    case "pass":
      return world.pass(1 + how % 120);
    case "passLong":
      return world.pass(500 + how * 7);
    case "leave":
      node.leave();
      return node.run();
    case "kill":
    case "start":
      return world[kind](index);
    case "pause":
      node.paused = true;
      return;
    case "resume":
      node.paused = false;
      return node.run();
    case "replicate":
      return world.other.replicate(how % 3 === 0 ? Infinity : 1 + how % 4);
    case "promote":
      return world.promote(how % 2 === 0, (how >> 1) % 8);
    case "restart":
      return world.restart(how % 3 === 2 ? "snapshot" : (how % 3) * (how % 4));
    case "late":
      return world.servers[who % 2]?.runLate();
    case "come":
      return client.connect(world.nodes[how % world.nodes.length] ?? node);
    case "go":
      return client.socket?.close();
    case "read":
      return client.socket?.read(1 + how % 5);
    case "join":
      client.join(room);
      return node.run();
    default:
      return world[kind]();
  }
}
