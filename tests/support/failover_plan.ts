/** Makes the plans of the random runs in `failover_chaos.ts`: a seed decides which faults nodes and servers have. */
import { Random } from "./random.ts";

/** The indexes of the nodes of a run. */
export const NODES = [0, 1, 2] as const;

/** The rooms of a run. Messages of the last room are published on the Redis channel of the same name. */
export const ROOMS = ["a", "b", "c", "bridged"] as const;

/**
 * A fault. It begins `afterMs` ms after the previous fault began. Faults of Redis wait until the previous fault of
 * Redis is over.
 */
export type Fault =
  & { readonly afterMs: number }
  & (
    /** The master is killed, and its replica, which lags behind, is promoted. */
    | { readonly kind: "promote" }
    /**
     * The replica is promoted, and the old master continues to run for `ms`. The nodes in `stay` keep their connections
     * to the old master; only the first of these nodes moves its `half` connection to the new master. Then the old
     * master is killed, or becomes a replica.
     */
    | {
      readonly kind: "split";
      readonly ms: number;
      readonly stay: readonly number[];
      readonly half?: "reader" | "commands";
      readonly end: "dies" | "demoted";
    }
    /** Nodes are killed and restarted after `ms`. */
    | {
      readonly kind: "nodes";
      readonly nodes: readonly number[];
      readonly ms: number;
    }
    /** The master is killed, and restarted with its append-only file after `ms`. */
    | { readonly kind: "aof"; readonly ms: number }
    /** The master is killed, and restarted with a snapshot that is `ms` old. */
    | { readonly kind: "rdb"; readonly ms: number }
    /** The history of a room is deleted. */
    | { readonly kind: "del"; readonly room: string }
  );

/** The settings and faults of a run. */
export interface Plan {
  readonly seed: number;
  /**
   * Whether publishes are acknowledged only after a replica has the message, so that no acknowledged message may be
   * lost.
   */
  readonly ackReplicas: boolean;
  /** How far the replica lags behind the master, in ms. */
  readonly lagMs: number;
  /** How far the nodes' reading lags behind their writing, in ms. */
  readonly readerMs: number;
  readonly faults: readonly Fault[];
  /** Determines the actions of clients and publishers. */
  readonly random: Random;
}

/** Makes the plan of a seed. Every fourth seed runs with `ACK_REPLICAS=1`. */
export function planOf(seed: number): Plan {
  const random = new Random(seed);
  const ackReplicas = seed % 4 === 3;
  const kinds: Fault["kind"][] = ["promote", "split", "nodes", "aof"];
  // These faults also lose messages that a replica has.
  if (!ackReplicas) kinds.push("rdb", "del");
  const first = random.oneOf(kinds);
  const faults = [faultOf(first, 0, random)];
  if (random.chance(0.7)) {
    // Half of them nearly at once, because nodes and a server may share a machine.
    const afterMs = random.between(0, random.chance(0.5) ? 50 : 1500);
    const others = kinds.filter((kind) => kind !== first);
    const second = random.oneOf(
      first === "nodes" ? others : [
        ...others,
        "nodes" as const,
      ],
    );
    faults.push(faultOf(second, afterMs, random));
  }
  return {
    seed,
    ackReplicas,
    lagMs: random.between(0, 500),
    readerMs: random.chance(0.3) ? random.between(50, 400) : 0,
    faults,
    random: random.fork(),
  };
}

/** Returns a plan as text. */
export function describePlan({ random: _, seed, ...rest }: Plan): string {
  return `seed ${seed}: ${JSON.stringify(rest)}`;
}

function faultOf(kind: Fault["kind"], afterMs: number, random: Random): Fault {
  switch (kind) {
    case "promote":
      return { kind, afterMs };
    case "split":
      return {
        kind,
        afterMs,
        ms: random.between(1000, 3000),
        stay: random.someOf(NODES),
        ...(random.chance(0.3) && {
          half: random.oneOf(["reader", "commands"] as const),
        }),
        end: random.oneOf(["dies", "demoted"] as const),
      };
    case "nodes": {
      const nodes = random.chance(0.4) ? NODES : random.someOf(NODES);
      return { kind, afterMs, nodes, ms: random.between(0, 1000) };
    }
    case "aof":
      return { kind, afterMs, ms: random.between(0, 500) };
    case "rdb":
      return { kind, afterMs, ms: random.between(200, 1500) };
    case "del":
      return { kind, afterMs, room: random.oneOf(ROOMS) };
  }
}
