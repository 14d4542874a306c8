/**
 * Creates the parts by which backends see and change which clients of all nodes are in which room.
 *
 * @module
 */
import type { Clients } from "./clients/clients.ts";
import type { Cluster } from "./cluster/cluster.ts";
import type { Config } from "./config/config.ts";
import { Director } from "./directives/director.ts";
import { type Directives, retentionMs } from "./directives/directives.ts";
import {
  type DirectiveStore,
  MemoryDirectiveStore,
} from "./directives/store.ts";
import type { Observe } from "./observer.ts";
import { LocalOccupancy } from "./occupancy/local_occupancy.ts";
import type { NodeState, Occupancy } from "./occupancy/occupancy.ts";
import { RedisOccupancy } from "./occupancy/redis_occupancy.ts";
import type { LogServer } from "./redis/log_server.ts";

/** Counts the clients of all nodes, and is told of changes if it needs that. */
export interface Counts extends Occupancy {
  changed?: RedisOccupancy["changed"];
  close?(): Promise<void>;
}

/** Creates the parts by which backends see and change which clients of all nodes are in which room. */
export function joinCluster(
  { recoverySeconds }: Config,
  observe: Observe,
  { server, store, cluster, directives, clients, sockets }: {
    /** The server that holds the log, and the store on it; undefined without Redis. */
    readonly server: LogServer | undefined;
    readonly store: DirectiveStore | undefined;
    readonly cluster: Cluster;
    readonly directives: Directives;
    readonly clients: Clients;
    readonly sockets: { readonly isDraining: boolean };
  },
): { director: Director; occupancy: Counts } {
  const keptMs = retentionMs(recoverySeconds);
  const director = new Director({
    store: store ?? new MemoryDirectiveStore(keptMs),
    directives,
    clients: clients.directed,
    cluster,
    retentionMs: keptMs,
    observe,
  });
  const local = clients.roster;
  const state = stateOf(clients, () => sockets.isDraining, server?.node);
  const occupancy = server === undefined
    ? new LocalOccupancy({ local, state })
    : new RedisOccupancy({ local, state, server, observe });
  return { director, occupancy };
}

/** Returns the function that returns what the node reports about itself. */
function stateOf(
  { roster }: Clients,
  isDraining: () => boolean,
  id: string = crypto.randomUUID(),
): () => NodeState {
  const started = Date.now();
  return () => ({
    id,
    started,
    clients: roster.count,
    rooms: roster.roomCount,
    memoryBytes: Deno.memoryUsage().rss,
    draining: isDraining(),
  });
}
