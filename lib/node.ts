/**
 * Creates all parts of a node and connects them with each other. No other file of `lib/` imports all parts.
 *
 * @module
 */
import { RedisBridge } from "./bridge/bridge.ts";
import { Clients } from "./clients/clients.ts";
import { singleNode } from "./cluster/cluster.ts";
import { AdapterCluster, CLUSTER_EVENTS } from "./socketio/adapter.ts";
import type { Config } from "./config/config.ts";
import { ApiError } from "./errors.ts";
import { Delivery } from "./delivery/delivery.ts";
import { FanOut } from "./delivery/fanout.ts";
import { compileGlob } from "./util/glob.ts";
import type { Log, LogParts, LogReader } from "./log/log.ts";
import { MemoryLog } from "./log/memory_log.ts";
import { LOG_LENGTH } from "./redis_log/append_scripts.ts";
import { RedisLog } from "./redis_log/redis_log.ts";
import type { Observe } from "./observer.ts";
import { type Access, createAccess } from "./access/access.ts";
import { TokenVerifier } from "./access/tokens.ts";
import { makeOriginRule, type OriginRule } from "./access/origins.ts";
import { idOf } from "./log/position.ts";
import type { Ingress } from "./publish/ingress.ts";
import { type ClientAddress, clientAddresses } from "./limits/addresses.ts";
import { ConnectionLimits } from "./limits/connection_limits.ts";
import { Publisher } from "./publish/publisher.ts";
import { RedisConnection } from "./redis/connection.ts";
import { ConnectionGroup } from "./redis/group.ts";
import { Ring } from "./delivery/ring.ts";
import { DirectWriter } from "./wire/direct_write.ts";
import { RedisSessionStore, SESSION_SCRIPTS } from "./sessions/redis_store.ts";
import { MemorySessionStore, type SessionStore } from "./sessions/store.ts";
import { BRIDGE_SCRIPTS } from "./bridge/scripts.ts";
import { SocketIoServer } from "./socketio/server.ts";

/** Maximum bytes of the ring: the recent messages that a node keeps in memory for clients that reconnect. */
const RING_BYTES_MAX = 64 << 20;

/** The parts of a node that limit clients. */
interface NodeLimits {
  readonly clientAddress: ClientAddress;
  /** Counts the connections of clients. */
  readonly connections: ConnectionLimits;
}

/** The parts of a node that its HTTP server uses. */
export interface Node extends LogParts, NodeLimits {
  readonly ring: Ring;
  readonly sockets: SocketIoServer;
  /** The bridge from Redis channels; undefined if the node has no Redis or bridges no channels. */
  readonly bridge: RedisBridge | undefined;
  /** The parts that append messages which were not published over HTTP, such as the bridge. */
  readonly ingresses: readonly Ingress[];
  /** Checks the origins of requests at the port for clients. */
  readonly originRule: OriginRule;
  /** Writes directly to the connections of clients. It is disabled until `wire/direct_write_check.ts` has tested it. */
  readonly directWriter: DirectWriter;
  readonly access: Access;
  readonly publisher: Publisher;
  /**
   * Tests that a publish over HTTP, and a message from each of `ingresses`, would now reach the log and be read by this
   * node. Rejects with the reason if not.
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
  const { redisUrl } = config;
  const fanOut = makeFanOut(config, observe);
  const ring = new Ring(RING_BYTES_MAX);
  const reader = new Delivery({
    ring,
    fanOut,
    onGap: (reason, id, since) => clients.gap(reason, id, idOf(since)),
    onLineageChanged: () => clients.saveAll(),
  });
  const redis = redisUrl === undefined
    ? undefined
    : connectRedis(config, redisUrl, reader, observe);
  const log = redis?.log ?? makeMemoryLog(config, reader);
  const tokens = config.tokens &&
    new TokenVerifier({ ...config.tokens, observe });
  const access = createAccess({ ...config, tokens });
  const parts = { log, history: log.history, gaps: log.gaps, ring, access };
  const ingresses = redis?.bridge === undefined ? [] : [redis.bridge];
  const originRule = makeOriginRule({ ...config, cookies: false });
  const directWriter = makeDirectWriter(observe);
  const clients = new Clients({
    rooms: config.rooms,
    roomsPerClientMax: config.roomsPerClientMax,
    recoverySeconds: config.recoverySeconds,
    ...parts,
    sessions: redis?.sessions ?? new MemorySessionStore(),
    fanOut,
    cluster: redis?.cluster ?? singleNode,
    observe,
  });
  const limits = makeLimits(config);
  const sockets = new SocketIoServer({
    clients,
    access,
    ...limits,
    fanOut,
    messageBytesMax: config.messageBytesMax,
    directWriter,
    originRule,
    adapter: redis?.cluster.adapter,
    observe,
  });
  const closed = [...ingresses, clients, sockets, tokens, redis?.cluster, log];
  return {
    ...parts,
    sockets,
    bridge: redis?.bridge,
    ingresses,
    originRule,
    ...limits,
    directWriter,
    publisher: new Publisher({ log, access, observe }),
    probe: () => probe(log, ingresses),
    warnings: () => [log, ...ingresses].flatMap((part) => part.warnings()),
    close: () => close(redis, closed),
  };
}

function makeLimits(config: Config): NodeLimits {
  const clientAddress = clientAddresses(config.trustedProxies);
  const connections = new ConnectionLimits({ ...config, clientAddress });
  return { clientAddress, connections };
}

function makeDirectWriter(observe: Observe): DirectWriter {
  return new DirectWriter((why) =>
    observe({ kind: "direct_write_disabled", why })
  );
}

function makeFanOut(config: Config, observe: Observe): FanOut {
  const latest = config.latestRooms.map(compileGlob);
  return new FanOut({
    clientBufferBytesMax: config.clientBufferBytesMax,
    latestOnly: (room) => latest.some((matches) => matches(room)),
    observe,
  });
}

function makeMemoryLog(config: Config, reader: LogReader): MemoryLog {
  return new MemoryLog({
    historySize: config.historySize,
    historySeconds: config.historySeconds,
    idempotencySeconds: config.idempotencySeconds,
    reader,
  });
}

/** The parts of a node that need Redis. */
interface RedisParts {
  readonly log: RedisLog;
  /** The bridge from Redis channels; undefined if no channels are bridged. */
  readonly bridge: RedisBridge | undefined;
  readonly cluster: AdapterCluster;
  readonly sessions: SessionStore;
}

/**
 * Creates all parts that need Redis. Their connections are in one group, because all of them have to lead to the same
 * server.
 */
function connectRedis(
  config: Config,
  url: string,
  reader: LogReader,
  observe: Observe,
): RedisParts {
  const { keyPrefix, historySize, historySeconds } = config;
  const group = new ConnectionGroup(observe);
  const log = new RedisLog({
    url,
    keyPrefix,
    historySize,
    historySeconds,
    idempotencySeconds: config.idempotencySeconds,
    ackReplicas: config.ackReplicas,
    recoverySeconds: config.recoverySeconds,
    group,
    reader,
    scripts: [...SESSION_SCRIPTS, ...BRIDGE_SCRIPTS],
    cluster: (fields, id) => cluster.onLogEntry(fields, id),
    observe,
  });
  const cluster = new AdapterCluster({
    commands: log.commands,
    stream: log.keys.log,
    channelPrefix: keyPrefix,
    events: CLUSTER_EVENTS,
    observe,
    connect: (options) =>
      new RedisConnection({ url, name: "cluster", observe, group, ...options }),
  });
  const bridge = config.channels.length === 0 ? undefined : new RedisBridge({
    keyPrefix,
    channels: config.channels,
    historySize,
    historySeconds,
    messageBytesMax: config.messageBytesMax,
    logLength: LOG_LENGTH,
    keys: log.keys,
    commands: log.commands,
    command: (command) => log.command(command),
    observe,
    connect: (options) =>
      new RedisConnection({ url, name: "bridge", observe, group, ...options }),
  });
  const sessions = new RedisSessionStore(log.server);
  return { log, bridge, cluster, sessions };
}

/**
 * First ends all publishes in flight with an error, because the other parts may have to wait for Redis. Then closes the
 * given parts one after another, in the given order.
 */
async function close(
  redis: RedisParts | undefined,
  parts: readonly ({ close(): Promise<void> | void } | undefined)[],
): Promise<void> {
  redis?.log.refusePublishes();
  for (const part of parts) await part?.close();
}

/**
 * Tests that a publish over HTTP, and a message from each of `ingresses`, would now reach the log and be read by this
 * node. Rejects if not.
 */
async function probe(
  log: Pick<Log, "probe">,
  ingresses: readonly Ingress[],
): Promise<void> {
  await log.probe();
  for (const { name, working } of ingresses) {
    if (working) continue;
    throw new ApiError(
      "log_unreachable",
      `Cannot append messages of ${name}: no node can append them at the moment; if this lasts, correct the cause that the log line bridge_stuck names`,
    );
  }
}
