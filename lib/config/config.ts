/**
 * The settings: read once from a plain object, checked together, passed on as values.
 *
 * @module
 */
import { isLoopback } from "../access/origins.ts";
import type { PublishKey } from "../access/publish_keys.ts";
import { parseRoom } from "../log/message.ts";
import { LOG_LEVELS, type LogLevel } from "../observer.ts";

/** All settings of contract §2 that this version has, with their units in their names. */
export interface Config {
  readonly port: number;
  readonly host: string;
  /** Undefined: embedded, messages live in this process. */
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
  /** What may wait for one client before its connection is closed. */
  readonly clientBufferBytesMax: number;
  /** Rooms, and patterns of rooms, of which only the newest message waits for a client that is busy. */
  readonly latestRooms: readonly string[];
  readonly publishKeys: readonly PublishKey[];
  /** Exact origins; `*` alone for any; empty for the server's own only. */
  readonly allowedOrigins: readonly string[];
  readonly roomsPerClientMax: number;
  readonly open: boolean;
  /** Whether messages are written to clients without the stream of their socket, if the check at start succeeds. */
  readonly directWrite: boolean;
  readonly drainSeconds: number;
  readonly logLevel: LogLevel;
}

/** Settings of the contract that guard something and that this version cannot enforce: refused, never ignored. */
const NOT_ENFORCED = [
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
 * Reads the settings from `env`; empty values count as unset.
 *
 * @throws {TypeError} one, whose message names every wrong setting, a line each
 */
export function readConfig(
  env: Readonly<Record<string, string | undefined>>,
): Config {
  const wrong: string[] = [];
  const text = (name: string, fallback: string): string =>
    env[name]?.trim() || fallback;
  const fail = (name: string, why: string): void =>
    void wrong.push(`${name} ${why}`);

  function integer(
    name: string,
    fallback: number,
    min: number,
    max: number,
  ): number {
    const value = text(name, String(fallback));
    if (
      /^\d{1,15}$/.test(value) && Number(value) >= min && Number(value) <= max
    ) return Number(value);
    fail(name, `is not a whole number from ${min} to ${max}`);
    return fallback;
  }
  function list(name: string, fallback: string): string[] {
    return [
      ...new Set(
        text(name, fallback).split(",").map((item) => item.trim()).filter((
          item,
        ) => item !== ""),
      ),
    ];
  }
  function rooms(name: string, fallback: string): string[] {
    const names = list(name, fallback);
    if (names.length === 0) {
      fail(name, "names nothing; name at least one, separated by commas");
    }
    return checked(name, names);
  }
  function checked(name: string, names: string[]): string[] {
    for (const room of names) {
      try {
        parseRoom(room);
      } catch (error) {
        fail(
          name,
          `has a name that cannot be a room (${(error as Error).message})`,
        );
      }
    }
    return names;
  }
  function choice<T extends string>(
    name: string,
    fallback: T,
    choices: readonly T[],
  ): T {
    const value = text(name, fallback) as T;
    if (choices.includes(value)) return value;
    fail(name, `is not one of ${choices.join(", ")}`);
    return fallback;
  }

  // As in an address: [::1].
  const host = text("HOST", "127.0.0.1").replace(/^\[(.*)\]$/, "$1");
  const config: Config = {
    port: integer("PORT", 4000, 0, 65535),
    host,
    redisUrl: text("REDIS_URL", "") || undefined,
    keyPrefix: text("KEY_PREFIX", "roomcast"),
    rooms: rooms("ROOMS", "chat"),
    channels: rooms("CHANNELS", "chat"),
    historySize: integer("HISTORY_SIZE", 1000, 1, 1_000_000),
    historySeconds: integer("HISTORY_SECONDS", 86_400, 1, 31_536_000),
    recoverySeconds: integer("RECOVERY_SECONDS", 120, 1, 86_400),
    ackReplicas: integer("ACK_REPLICAS", 0, 0, 16),
    idempotencySeconds: integer("IDEMPOTENCY_SECONDS", 600, 1, 604_800),
    messageBytesMax: integer("MESSAGE_BYTES_MAX", 65_536, 16, 16_777_216),
    clientBufferBytesMax: integer(
      "CLIENT_BUFFER_BYTES_MAX",
      1_048_576,
      16_384,
      1_073_741_824,
    ),
    latestRooms: checked("LATEST_ROOMS", list("LATEST_ROOMS", "")),
    publishKeys: list("PUBLISH_KEYS", "").flatMap((item, index) => {
      // A secret travels in a header, after one space (RFC 6750 §2.1).
      const [, name, secret] = /^([^:]+):([\x21-\x7e]+)$/.exec(item) ?? [];
      if (name !== undefined && secret !== undefined) return [{ name, secret }];
      // The item itself is never shown: it may be the secret.
      fail(
        "PUBLISH_KEYS",
        `entry ${
          index + 1
        } is not name:secret with a secret of printable ASCII without spaces`,
      );
      return [];
    }),
    allowedOrigins: list("ALLOWED_ORIGINS", "").map((origin) => {
      if (
        origin !== "*" &&
        (origin.includes("*") || !URL.canParse(origin) ||
          new URL(origin).origin !== origin)
      ) {
        fail(
          "ALLOWED_ORIGINS",
          `has ${
            JSON.stringify(origin)
          }, which is not an origin such as https://example.com`,
        );
      }
      return origin;
    }),
    roomsPerClientMax: integer("ROOMS_PER_CLIENT_MAX", 100, 1, 10_000),
    directWrite: choice("DIRECT_WRITE", "true", ["true", "false"]) === "true",
    open: choice("OPEN", "false", ["true", "false"]) === "true",
    drainSeconds: integer("DRAIN_SECONDS", 10, 0, 3600),
    logLevel: choice("LOG_LEVEL", "info", LOG_LEVELS),
  };

  if (config.redisUrl !== undefined && !isRedisUrl(config.redisUrl)) {
    fail(
      "REDIS_URL",
      "is not redis:// or rediss://, a host, and at most a port and a database's number",
    );
  }
  if (config.ackReplicas > 0 && config.redisUrl === undefined) {
    fail("ACK_REPLICAS", "needs REDIS_URL: an embedded log has no replicas");
  }
  if (!/^[\w.:-]{1,64}$/.test(config.keyPrefix)) {
    fail(
      "KEY_PREFIX",
      "is not 1 to 64 letters, digits, dots, colons, dashes or underscores",
    );
  }
  if (
    text("PUBLISH_KEYS", "") !== "" && list("PUBLISH_KEYS", "").length === 0
  ) {
    fail("PUBLISH_KEYS", "names nobody; name at least one as name:secret");
  }
  if (
    config.publishKeys.some((key, index) =>
      config.publishKeys.findIndex((k) => k.name === key.name) !== index
    )
  ) {
    fail("PUBLISH_KEYS", "names one publisher twice");
  }
  if (
    !isLoopback(host) && config.publishKeys.length === 0 && !config.open &&
    !env.PUBLISH_KEYS?.trim()
  ) {
    fail(
      "HOST",
      `is ${host}, which others can reach, and anyone could publish: set PUBLISH_KEYS, or OPEN=true to allow it`,
    );
  }
  if (config.rooms.length > config.roomsPerClientMax) {
    fail(
      "ROOMS",
      `names ${config.rooms.length} rooms, and a client may be in ${config.roomsPerClientMax}: name fewer, or raise ROOMS_PER_CLIENT_MAX`,
    );
  }
  for (const name of NOT_ENFORCED) {
    const value = text(name, "");
    // No limit is what there is.
    if (value !== "" && !(value === "0" && name.endsWith("_MAX"))) {
      fail(
        name,
        "guards something that this version cannot enforce yet; unset it",
      );
    }
  }
  if (wrong.length > 0) {
    throw new TypeError(
      `Cannot start: settings are wrong\n${
        wrong.map((w) => `  ${w}`).join("\n")
      }`,
    );
  }
  return config;
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
