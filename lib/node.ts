/**
 * Creates all parts of a node and connects them with each other. No other file of `lib/` imports all parts.
 *
 * @module
 */
import type { RedisBridge } from "./bridge/bridge.ts";
import { Clients } from "./clients/clients.ts";
import { type Cluster, singleNode } from "./cluster/cluster.ts";
import type { Config } from "./config/config.ts";
import { Directives } from "./directives/directives.ts";
import { ApiError } from "./errors.ts";
import { Delivery } from "./delivery/delivery.ts";
import { FanOut } from "./delivery/fanout.ts";
import { compileGlob } from "./util/glob.ts";
import { once } from "./util/once.ts";
import type { Log, LogParts, LogReader } from "./log/log.ts";
import { MemoryLog } from "./log/memory_log.ts";
import type { Observe } from "./observer.ts";
import { type Access, createAccess } from "./access/access.ts";
import { PublishKeys } from "./access/publish_keys.ts";
import { Revocations } from "./access/revocations.ts";
import { Seals } from "./access/seals.ts";
import { TokenVerifier } from "./access/tokens.ts";
import { createPageRules, type PageRules } from "./access/page_rules.ts";
import { idOf } from "./log/position.ts";
import type { Ingress } from "./publish/ingress.ts";
import { type ClientAddress, clientAddresses } from "./limits/addresses.ts";
import { ConnectionLimits } from "./limits/connection_limits.ts";
import { Hooks } from "./hooks/hooks.ts";
import type { PublishHook } from "./publish/publish_hook.ts";
import { createPublishers, type Publishers } from "./publish/publishers.ts";
import { joinCluster } from "./cluster_parts.ts";
import type { Director } from "./directives/director.ts";
import { connectRedis, type RedisParts } from "./redis_parts.ts";
import type { Occupancy } from "./occupancy/occupancy.ts";
import { Revoker } from "./revocations/revoker.ts";
import {
  MemoryRevocationStore,
  type RevocationStore,
} from "./revocations/store.ts";
import { Ring } from "./delivery/ring.ts";
import { ReplayMemory } from "./recovery/replay_memory.ts";
import { DirectWriter } from "./wire/direct_write.ts";
import { MemorySessionStore } from "./sessions/store.ts";
import { SseServer } from "./sse/server.ts";
import {
  SocketIoServer,
  type SocketIoServerOptions,
} from "./socketio/server.ts";

/** Maximum bytes of the ring: the recent messages that a node keeps in memory for clients that reconnect. */
const RING_BYTES_MAX = 64 << 20;

/** The parts of a node that limit clients. */
interface NodeLimits {
  readonly clientAddress: ClientAddress;
  /** Counts the connections of clients. */
  readonly connections: ConnectionLimits;
}

/** The parts of a node that its HTTP server uses. */
export interface Node extends LogParts, PageRules, Publishers {
  /** Counts the connections of clients. */
  readonly connections: ConnectionLimits;
  readonly ring: Ring;
  /** Limits the memory of the messages that are read from histories for clients. */
  readonly replayMemory: ReplayMemory;
  readonly sockets: SocketIoServer;
  /** The streams of Server-Sent Events. */
  readonly streams: SseServer;
  /** The bridge from Redis channels; undefined if the node has no Redis or bridges no channels. */
  readonly bridge: RedisBridge | undefined;
  /** The hooks that decide about clients; undefined if there are none. */
  readonly hooks: Hooks | undefined;
  /** Writes directly to the connections of clients. It is disabled until `wire/direct_write_check.ts` has tested it. */
  readonly directWriter: DirectWriter;
  readonly access: Access;
  readonly revoker: Revoker;
  readonly director: Director;
  /** Counts the clients of all nodes. */
  readonly occupancy: Occupancy;
  /**
   * Tests that a publish over HTTP, and a message of a bridged channel, would now reach the log and be read by this
   * node, and that clients can connect. Rejects with the reason if not.
   */
  probe(): Promise<void>;
  /**
   * Returns a sentence for each known configuration problem that can cause the loss of messages, without duplicates.
   */
  warnings(): readonly string[];
  /** Closes all parts and their connections. Never rejects. */
  close(): Promise<void>;
}

/**
 * Creates the parts of a node and passes them to each other. Starts to connect to Redis, but does not wait for the
 * connection.
 */
export function createNode(config: Config, observe: Observe): Node {
  const delivery = makeDelivery(config, observe, () => clients);
  const { fanOut, ring, replayMemory, reader } = delivery;
  const redis = connectRedis(config, reader, observe);
  const log = redis?.log ?? new MemoryLog({ ...config, reader });
  const cluster = redis?.cluster ?? singleNode;
  const { access, tokens, hooks, revoker } = makeAccess(config, observe, {
    store: redis?.revocations ?? new MemoryRevocationStore(),
    cluster,
    changed: () => clients.checkRevoked(),
  });
  const { history, gaps } = log;
  const parts = { log, history, gaps, ring, replayMemory, access };
  const ingresses = redis?.bridge === undefined ? [] : [redis.bridge];
  const pages = createPageRules(config);
  const directWriter = makeDirectWriter(observe);
  const directives = new Directives();
  const clients = new Clients({
    ...config,
    ...parts,
    directives,
    sessions: redis?.sessions ?? new MemorySessionStore(),
    fanOut,
    cluster,
    changed: (room, user) => occupancy.changed?.(room, user),
    observe,
  });
  const limits = makeLimits(config, observe);
  const served = { clients, fanOut, directWriter, access, log };
  const servers = makeServers(config, observe, {
    ...served,
    ...limits,
    ...pages,
    hook: hooks?.publish,
    adapter: redis?.cluster.adapter,
  });
  const { sockets, streams, publisher } = servers;
  const stored = { server: redis?.log.server, store: redis?.directives };
  const joined = { ...stored, cluster, directives, clients, sockets };
  const { director, occupancy } = joinCluster(config, observe, joined);
  const closed = [
    ...[...ingresses, clients, sockets, streams, tokens, hooks],
    ...[director, revoker, occupancy, redis?.cluster, log, publisher],
  ];
  return {
    ...parts,
    ...servers,
    bridge: redis?.bridge,
    hooks,
    ...pages,
    connections: limits.connections,
    directWriter,
    revoker,
    director,
    occupancy,
    probe: () => probe(log, ingresses, directives),
    warnings: () => [log, ...ingresses].flatMap((part) => part.warnings()),
    close: () => close(redis, closed),
  };
}

/** The parts that decide about access. */
interface AccessParts {
  readonly access: Access;
  /** Verifies client tokens; undefined if no tokens are configured. */
  readonly tokens: TokenVerifier | undefined;
  /** Ask a backend about clients; undefined if there are none. */
  readonly hooks: Hooks | undefined;
  readonly revoker: Revoker;
}

/** Creates the parts that decide about access. `changed` is called after something has been revoked. */
function makeAccess(
  config: Config,
  observe: Observe,
  { store, cluster, changed }: {
    readonly store: RevocationStore;
    readonly cluster: Cluster;
    readonly changed: () => void;
  },
): AccessParts {
  const tokens = config.tokens &&
    new TokenVerifier({ ...config.tokens, seals: makeSeals(config), observe });
  const { messageBytesMax, publishKeys } = config;
  const keys = new PublishKeys(publishKeys);
  const isPublishKey = (secret: string) => keys.find(secret) !== undefined;
  const hooks = config.hooks &&
    new Hooks({ ...config.hooks, messageBytesMax, isPublishKey }, observe);
  const revocations = new Revocations(changed);
  const access = createAccess({
    ...config,
    tokens,
    connectHook: hooks?.connect,
    joinHook: hooks?.join,
    revocations,
    observe,
  });
  const revoker = new Revoker({ store, revocations, cluster, observe });
  return { access, tokens, hooks, revoker };
}

/**
 * Creates the seals of tokens, from the secrets that all nodes have and that Redis never gets. Returns undefined if the
 * node is alone, or if the secrets are too short.
 */
function makeSeals(
  { redisUrl, publishKeys, tokens, hooks }: Config,
): Seals | undefined {
  if (redisUrl === undefined) return undefined;
  const secrets = [
    ...publishKeys.map(({ secret }) => secret),
    ...tokens?.secrets ?? [],
    hooks?.secret,
  ];
  return Seals.from(secrets.filter((secret) => secret !== undefined));
}

/** Creates what clients connect to, and what publishes for them and for backends. */
function makeServers(
  config: Config,
  observe: Observe,
  { hook, ...parts }:
    & Pick<
      SocketIoServerOptions,
      "clients" | "fanOut" | "directWriter" | "adapter"
    >
    & PageRules
    & NodeLimits
    & Pick<Node, "access" | "log">
    & { readonly hook: PublishHook | undefined },
): Pick<Node, "sockets" | "streams" | keyof Publishers> {
  const { directed } = parts.clients;
  const publishers = createPublishers({
    ...config,
    ...parts,
    principalOf: (client, room) => directed.principalOf(client, room),
    hook,
    observe,
  });
  const serving = { ...parts, hookHeaders: config.hooks?.headers, observe };
  const publisher = publishers.clientPublisher;
  return {
    ...publishers,
    sockets: new SocketIoServer({ ...config, ...serving, publisher }),
    streams: new SseServer(serving),
  };
}

function makeLimits(config: Config, observe: Observe): NodeLimits {
  const clientAddress = clientAddresses(
    config.trustedProxies,
    once((address) => observe({ kind: "proxy_untrusted", address })),
  );
  const connections = new ConnectionLimits({ ...config, clientAddress });
  return { clientAddress, connections };
}

function makeDirectWriter(observe: Observe): DirectWriter {
  return new DirectWriter((why) =>
    observe({ kind: "direct_write_disabled", why })
  );
}

/** The parts that bring messages from the log to clients. */
interface DeliveryParts {
  readonly fanOut: FanOut;
  readonly ring: Ring;
  readonly replayMemory: ReplayMemory;
  readonly reader: LogReader;
}

/** Creates the parts that bring messages to clients. `clients` is first called when the log is read. */
function makeDelivery(
  config: Config,
  observe: Observe,
  clients: () => Clients,
): DeliveryParts {
  const fanOut = makeFanOut(config, observe);
  const ring = new Ring(RING_BYTES_MAX);
  const reader = new Delivery({
    ring,
    fanOut,
    onGap: (reason, id, since) => clients().gap(reason, id, idOf(since)),
    onLineageChanged: () => clients().saveAll(),
  });
  const replayMemory = new ReplayMemory({
    ring,
    disconnect: (subscriber, bytes) => fanOut.disconnectSlow(subscriber, bytes),
    observe,
  });
  return { fanOut, ring, replayMemory, reader };
}

function makeFanOut(config: Config, observe: Observe): FanOut {
  const latest = config.latestRooms.map(compileGlob);
  return new FanOut({
    clientBufferBytesMax: config.clientBufferBytesMax,
    latestOnly: (room) => latest.some((matches) => matches(room)),
    observe,
  });
}

/**
 * First ends all publishes in flight with an error, because the other parts may have to wait for Redis. Then closes the
 * given parts one after another, in the given order.
 */
async function close(
  redis: RedisParts | undefined,
  parts: readonly ({ close?(): Promise<void> | void } | undefined)[],
): Promise<void> {
  redis?.log.refusePublishes();
  for (const part of parts) await part?.close?.();
}

/**
 * Tests that a publish over HTTP, and a message from each of `ingresses`, would now reach the log and be read by this
 * node, and that clients can connect. Rejects if not.
 */
async function probe(
  log: Pick<Log, "probe">,
  ingresses: readonly Ingress[],
  directives: Pick<Directives, "whenLoaded">,
): Promise<void> {
  await log.probe();
  await directives.whenLoaded(0);
  for (const { name, working } of ingresses) {
    if (working) continue;
    throw new ApiError(
      "log_unreachable",
      `Cannot append messages of ${name}: no node can append them at the moment; if this lasts, correct the cause that the log line bridge_stuck names`,
    );
  }
}
