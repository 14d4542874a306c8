/**
 * The settings, which are read once from environment variables, checked together, and passed on as values.
 *
 * @module
 */
import { isLoopback } from "../access/origins.ts";
import type { PublishKey } from "../access/publish_keys.ts";
import { parseRoom } from "../log/message.ts";
import { LOG_LEVELS, type LogLevel } from "../observer.ts";
import { type Env, EnvReader } from "./env_reader.ts";

/** All settings that this version supports. Names of quantities end in the unit. */
export interface Config {
  readonly port: number;
  readonly host: string;
  /** Undefined if the log is embedded, so that messages exist only in this process. */
  readonly redisUrl: string | undefined;
  readonly keyPrefix: string;
  readonly rooms: readonly string[];
  readonly channels: readonly string[];
  readonly historySize: number;
  readonly historySeconds: number;
  readonly recoverySeconds: number;
  /** How many replicas of Redis must have a message before its publish is acknowledged. */
  readonly ackReplicas: number;
  readonly idempotencySeconds: number;
  readonly messageBytesMax: number;
  /** Bytes that may be queued for one client before it is disconnected. */
  readonly clientBufferBytesMax: number;
  /** Rooms, and patterns of rooms, of which only the newest message is queued for a slow client. */
  readonly latestRooms: readonly string[];
  readonly publishKeys: readonly PublishKey[];
  /** Allowed origins, or `*` for any origin. If empty, only the server's own origin is allowed. */
  readonly allowedOrigins: readonly string[];
  readonly roomsPerClientMax: number;
  readonly open: boolean;
  /**
   * Whether messages are written to clients without the stream of their socket. It has an effect only if the check at
   * start succeeds.
   */
  readonly directWrite: boolean;
  readonly drainSeconds: number;
  readonly logLevel: LogLevel;
}

/**
 * Settings that promise protection and that this version does not support. They are rejected, because a setting without
 * effect would be mistaken for protection.
 */
const UNSUPPORTED = [
  "TOKEN_SECRET",
  "TOKEN_JWKS_URL",
  "TOKEN_ISSUER",
  "TOKEN_AUDIENCE",
  "ADMIN_KEY",
  "CLIENTS_MAX",
  "CLIENTS_PER_ADDRESS_MAX",
  "EVENTS_PER_SECOND_MAX",
  "PUBLISHES_PER_SECOND_MAX",
  "TRUSTED_PROXIES",
];

/**
 * Reads the settings from environment variables; empty values count as unset.
 *
 * @throws {TypeError} if any setting is invalid. The message names every invalid setting, one per line.
 */
export function readConfig(env: Env): Config {
  const reader = new EnvReader(env);
  const config: Config = {
    port: reader.integer("PORT", 4000, 0, 65535),
    // A URL writes an IPv6 address in brackets: [::1].
    host: reader.text("HOST", "127.0.0.1").replace(/^\[(.*)\]$/, "$1"),
    redisUrl: reader.text("REDIS_URL") || undefined,
    keyPrefix: reader.text("KEY_PREFIX", "roomcast"),
    rooms: readRooms(reader, "ROOMS", "chat"),
    channels: readRooms(reader, "CHANNELS", "chat"),
    latestRooms: checkRooms(reader, "LATEST_ROOMS"),
    publishKeys: readPublishKeys(reader),
    allowedOrigins: readOrigins(reader),
    open: reader.flag("OPEN", false),
    directWrite: reader.flag("DIRECT_WRITE", true),
    logLevel: reader.choice("LOG_LEVEL", "info", LOG_LEVELS),
    ...readLimits(reader),
  };
  checkRedis(reader, config);
  checkTogether(reader, config);
  checkUnsupported(reader);
  reader.throwProblems();
  return config;
}

/** The settings that are numbers between two limits. */
type Limits = Pick<
  Config,
  | "historySize"
  | "historySeconds"
  | "recoverySeconds"
  | "ackReplicas"
  | "idempotencySeconds"
  | "messageBytesMax"
  | "clientBufferBytesMax"
  | "roomsPerClientMax"
  | "drainSeconds"
>;

function readLimits(reader: EnvReader): Limits {
  return {
    historySize: reader.integer("HISTORY_SIZE", 1000, 1, 1_000_000),
    historySeconds: reader.integer("HISTORY_SECONDS", 86_400, 1, 31_536_000),
    recoverySeconds: reader.integer("RECOVERY_SECONDS", 120, 1, 86_400),
    ackReplicas: reader.integer("ACK_REPLICAS", 0, 0, 16),
    idempotencySeconds: reader.integer("IDEMPOTENCY_SECONDS", 600, 1, 604_800),
    messageBytesMax: reader.integer(
      "MESSAGE_BYTES_MAX",
      65_536,
      16,
      16_777_216,
    ),
    clientBufferBytesMax: reader.integer(
      "CLIENT_BUFFER_BYTES_MAX",
      1_048_576,
      16_384,
      1_073_741_824,
    ),
    roomsPerClientMax: reader.integer("ROOMS_PER_CLIENT_MAX", 100, 1, 10_000),
    drainSeconds: reader.integer("DRAIN_SECONDS", 10, 0, 3600),
  };
}

/** Reads a list of rooms that must not be empty. */
function readRooms(
  reader: EnvReader,
  name: string,
  fallback: string,
): string[] {
  const rooms = checkRooms(reader, name, fallback);
  if (rooms.length === 0) {
    reader.fail(name, "is a list without names; set at least one name");
  }
  return rooms;
}

/** Reads a list of names, and reports each name that is not valid for a room. */
function checkRooms(
  reader: EnvReader,
  name: string,
  fallback?: string,
): string[] {
  const rooms = reader.list(name, fallback);
  for (const room of rooms) {
    try {
      parseRoom(room);
    } catch (error) {
      reader.fail(
        name,
        `has a name that is not valid for a room (${(error as Error).message})`,
      );
    }
  }
  return rooms;
}

function readPublishKeys(reader: EnvReader): PublishKey[] {
  const items = reader.list("PUBLISH_KEYS");
  const keys = items.flatMap((item, index) => {
    // A secret is sent in a header, after one space (RFC 6750 §2.1).
    const [, name, secret] = /^([^:]+):([\x21-\x7e]+)$/.exec(item) ?? [];
    if (name !== undefined && secret !== undefined) return [{ name, secret }];
    // The item itself is never shown, because it may be the secret.
    reader.fail(
      "PUBLISH_KEYS",
      `entry ${
        index + 1
      } is not name:secret with a secret of printable ASCII without spaces`,
    );
    return [];
  });
  if (reader.text("PUBLISH_KEYS") !== "" && items.length === 0) {
    reader.fail(
      "PUBLISH_KEYS",
      "is a list without keys; unset it or set a key",
    );
  }
  const names = keys.map((key) => key.name);
  if (new Set(names).size < names.length) {
    reader.fail(
      "PUBLISH_KEYS",
      "has two keys with the same name; give each key a name of its own",
    );
  }
  return keys;
}

function readOrigins(reader: EnvReader): string[] {
  const origins = reader.list("ALLOWED_ORIGINS");
  for (const origin of origins) {
    if (origin === "*" || isOrigin(origin)) continue;
    reader.fail(
      "ALLOWED_ORIGINS",
      `has ${
        JSON.stringify(origin)
      }, which is not an origin such as https://example.com`,
    );
  }
  return origins;
}

function isOrigin(text: string): boolean {
  return !text.includes("*") && URL.canParse(text) &&
    new URL(text).origin === text;
}

function checkRedis(
  reader: EnvReader,
  { redisUrl, keyPrefix, ackReplicas }: Config,
): void {
  if (redisUrl !== undefined && !isRedisUrl(redisUrl)) {
    reader.fail(
      "REDIS_URL",
      "is not a URL such as redis://localhost:6379 or rediss://example.com:6379/0",
    );
  }
  if (!/^[\w.:-]{1,64}$/.test(keyPrefix)) {
    reader.fail(
      "KEY_PREFIX",
      "is not 1 to 64 letters, digits, dots, colons, dashes or underscores",
    );
  }
  if (ackReplicas > 0 && redisUrl === undefined) {
    reader.fail(
      "ACK_REPLICAS",
      "needs REDIS_URL, because an embedded log has no replicas",
    );
  }
}

function isRedisUrl(value: string): boolean {
  try {
    const url = new URL(value);
    const { protocol, hostname, pathname, username, password } = url;
    decodeURIComponent(username + password);
    return /^rediss?:$/.test(protocol) && hostname !== "" &&
      /^\/?\d*$/.test(pathname) && url.search + url.hash === "";
  } catch {
    return false;
  }
}

/** Reports settings that are valid separately but not together. */
function checkTogether(reader: EnvReader, config: Config): void {
  const { host, open, rooms, roomsPerClientMax } = config;
  // If the keys are invalid, that has been reported already.
  const guarded = reader.text("PUBLISH_KEYS") !== "";
  if (!isLoopback(host) && !guarded && !open) {
    reader.fail(
      "HOST",
      `is ${host}, which other machines can reach, and anyone could publish; set PUBLISH_KEYS, or OPEN=true to allow it`,
    );
  }
  if (rooms.length > roomsPerClientMax) {
    reader.fail(
      "ROOMS",
      `has ${rooms.length} rooms, but a client may join ${roomsPerClientMax}; list fewer rooms or raise ROOMS_PER_CLIENT_MAX`,
    );
  }
}

function checkUnsupported(reader: EnvReader): void {
  for (const name of UNSUPPORTED) {
    const value = reader.text(name);
    // A limit of 0 means no limit, so nothing would be left unprotected.
    if (value === "" || (value === "0" && name.endsWith("_MAX"))) continue;
    reader.fail(
      name,
      "is not supported by this version and would not be enforced; unset it",
    );
  }
}
