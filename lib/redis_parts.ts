/**
 * Creates the parts of a node that need Redis.
 *
 * @module
 */
import { RedisBridge } from "./bridge/bridge.ts";
import { BRIDGE_SCRIPTS } from "./bridge/scripts.ts";
import type { Config } from "./config/config.ts";
import { retentionMs } from "./directives/directives.ts";
import {
  DIRECTIVE_SCRIPTS,
  RedisDirectiveStore,
} from "./directives/redis_store.ts";
import type { DirectiveStore } from "./directives/store.ts";
import type { LogReader } from "./log/log.ts";
import type { Observe } from "./observer.ts";
import { OCCUPANCY_SCRIPTS } from "./occupancy/scripts.ts";
import { RedisConnection } from "./redis/connection.ts";
import { ConnectionGroup } from "./redis/group.ts";
import { LOG_LENGTH } from "./redis_log/append_scripts.ts";
import { RedisLog } from "./redis_log/redis_log.ts";
import {
  RedisRevocationStore,
  REVOCATION_SCRIPTS,
} from "./revocations/redis_store.ts";
import type { RevocationStore } from "./revocations/store.ts";
import { RedisSessionStore, SESSION_SCRIPTS } from "./sessions/redis_store.ts";
import type { SessionStore } from "./sessions/store.ts";
import { AdapterCluster } from "./socketio/adapter.ts";
import { CLUSTER_EVENTS } from "./socketio/commands.ts";

/** The parts of a node that need Redis. */
export interface RedisParts {
  readonly log: RedisLog;
  /** The bridge from Redis channels; undefined if no channels are bridged. */
  readonly bridge: RedisBridge | undefined;
  readonly cluster: AdapterCluster;
  readonly sessions: SessionStore;
  readonly revocations: RevocationStore;
  readonly directives: DirectiveStore;
}

/**
 * Creates all parts that need Redis. Their connections are in one group, because all of them have to lead to the same
 * server. Returns undefined if the node has no Redis.
 */
export function connectRedis(
  config: Config,
  reader: LogReader,
  observe: Observe,
): RedisParts | undefined {
  const { redisUrl: url } = config;
  if (url === undefined) return undefined;
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
    scripts: [
      ...SESSION_SCRIPTS,
      ...REVOCATION_SCRIPTS,
      ...OCCUPANCY_SCRIPTS,
      ...DIRECTIVE_SCRIPTS,
      ...BRIDGE_SCRIPTS,
    ],
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
  const revocations = new RedisRevocationStore(log.server);
  const directives = new RedisDirectiveStore(
    log.server,
    retentionMs(config.recoverySeconds),
  );
  return { log, bridge, cluster, sessions, revocations, directives };
}
