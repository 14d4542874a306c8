/**
 * Reads all settings once from environment variables, and checks them one by one and together.
 *
 * @module
 */
import { isIP } from "node:net";
import { isLoopback } from "../access/origins.ts";
import { LOG_LEVELS, type LogLevel } from "../observer.ts";
import { type AccessSettings, readAccessSettings } from "./access_settings.ts";
import { type Env, EnvReader, type Setting } from "./env_reader.ts";
import { type LimitSettings, readLimitSettings } from "./limit_settings.ts";
import { foreignWarnings } from "./foreign.ts";
import { checkRedis, redisWarnings } from "./redis_settings.ts";
import { checkRooms } from "./room_lists.ts";
import { findUnknown } from "./unknown.ts";
import { checkUnsupported, UNSUPPORTED_NAMES } from "./unsupported.ts";

const PORT_MAX = 65_535;
const LOOPBACK = "127.0.0.1";
/** The formats of log lines (`LOG_FORMAT`). `auto` means `text` on a terminal and `json` otherwise. */
export const LOG_FORMATS = ["auto", "json", "text"] as const;

/** The values of all settings that this version supports. The name of a quantity ends with its unit. */
export interface Config extends AccessSettings, LimitSettings {
  readonly port: number;
  /**
   * The port at which backends and operators are served, and only they; undefined if they are served at `port`, with
   * everybody else.
   */
  readonly internalPort: number | undefined;
  readonly host: string;
  /**
   * The URL of Redis; undefined if Roomcast runs without Redis and stores messages only in the memory of this process.
   */
  readonly redisUrl: string | undefined;
  readonly keyPrefix: string;
  readonly rooms: readonly string[];
  /**
   * The names and patterns of the Redis channels whose messages are bridged into rooms; empty if there is no bridge.
   */
  readonly channels: readonly string[];
  readonly historySize: number;
  readonly historySeconds: number;
  readonly recoverySeconds: number;
  /** The number of Redis replicas that must have a message before its publish is acknowledged. */
  readonly ackReplicas: number;
  readonly idempotencySeconds: number;
  readonly messageBytesMax: number;
  /** Maximum bytes that may be buffered for one client. A client with more is disconnected. */
  readonly clientBufferBytesMax: number;
  /** Names and patterns of the rooms of which only the newest message is buffered for a slow client. */
  readonly latestRooms: readonly string[];
  readonly roomsPerClientMax: number;
  readonly open: boolean;
  /**
   * Whether messages shall be written directly to the sockets of clients, without Deno's streams. Has no effect if the
   * check at startup finds that direct writes do not work.
   */
  readonly directWrite: boolean;
  readonly drainSeconds: number;
  readonly logLevel: LogLevel;
  readonly logFormat: (typeof LOG_FORMATS)[number];
}

/** The settings that result from environment variables, and the problems that were found in them. */
export interface Inspection {
  /** The values of the settings. An invalid setting has its default here. */
  readonly config: Config;
  /** All settings that this version supports. Their values may be secrets. */
  readonly settings: readonly Setting[];
  /**
   * The problems, as sentences that begin with the name of a setting and contain no secrets. Empty if the server can
   * start.
   */
  readonly problems: readonly string[];
  /** A sentence for each variable that is set and has no effect, although the operator probably expects one. */
  readonly ineffective: readonly string[];
}

/**
 * Reads the settings from environment variables. An empty value counts as unset, or is refused.
 *
 * @throws {TypeError} if any setting is invalid. The message names every invalid setting, one per line.
 */
export function readConfig(env: Env): Config {
  const { config, problems } = inspectConfig(env);
  if (problems.length > 0) throw new TypeError(describeProblems(problems));
  return config;
}

/** Returns the error message for invalid settings: one sentence, then each of `problems` on a line of its own. */
export function describeProblems(problems: readonly string[]): string {
  const lines = problems.map((problem) => `\n  ${problem}`);
  return `Cannot start: these settings are invalid; correct or unset them${
    lines.join("")
  }`;
}

/** Reads the settings as {@linkcode readConfig} does, and returns the problems instead of throwing. */
export function inspectConfig(env: Env): Inspection {
  const reader = new EnvReader(env);
  const redisUrl = reader.text("REDIS_URL") || undefined;
  const config: Config = {
    port: reader.integer("PORT", 4000, 0, PORT_MAX),
    internalPort: readInternalPort(reader),
    host: readHost(reader),
    redisUrl,
    keyPrefix: reader.text("KEY_PREFIX", "roomcast"),
    rooms: readRooms(reader, "ROOMS", "chat"),
    channels: readChannels(reader, redisUrl),
    latestRooms: checkRooms(reader, "LATEST_ROOMS"),
    ...readAccessSettings(reader),
    ...readLimitSettings(reader),
    open: reader.flag("OPEN", false),
    directWrite: reader.flag("DIRECT_WRITE", true),
    logLevel: reader.choice("LOG_LEVEL", "info", LOG_LEVELS),
    logFormat: reader.choice("LOG_FORMAT", "auto", LOG_FORMATS),
    ...readLimits(reader),
  };
  checkRedis(reader, config);
  checkTogether(reader, config);
  const { settings } = reader;
  checkUnsupported(reader);
  checkUnknown(reader, settings);
  const ineffective = [
    ...foreignWarnings(reader.names),
    ...redisWarnings(reader),
  ];
  return { config, settings, problems: reader.problems, ineffective };
}

/** Reads the address to listen on. Records a problem if it is a URL, or has a port. */
function readHost(reader: EnvReader): string {
  // A URL writes an IPv6 address in brackets: [::1].
  const host = reader.text("HOST", LOOPBACK).replace(/^\[(.*)\]$/, "$1");
  if (isIP(host) !== 0 || /^[\w.-]+$/.test(host)) return host;
  reader.reject(
    "HOST",
    host,
    "an address such as 127.0.0.1, 0.0.0.0 or ::1, without a port; the port is set by PORT",
  );
  return LOOPBACK;
}

/** Reads `INTERNAL_PORT`. Without it, backends are served at `PORT`, so an empty value is refused. */
function readInternalPort(reader: EnvReader): number | undefined {
  const name = "INTERNAL_PORT";
  reader.refuseEmpty([name]);
  if (reader.text(name) === "") return undefined;
  return reader.integer(name, 0, 0, PORT_MAX);
}

/** The settings that are numbers with a minimum and a maximum. */
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

/** Reads the settings that are numbers with a minimum and a maximum. */
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

/**
 * Reads a setting that is a comma-separated list of names of rooms or Redis channels. Records a problem if the list is
 * empty or a name is not valid.
 */
function readRooms(
  reader: EnvReader,
  name: string,
  fallback: string,
): string[] {
  const rooms = checkRooms(reader, name, fallback);
  if (rooms.length === 0) {
    const value = reader.text(name);
    reader.reject(name, value, "a comma-separated list of at least one name");
  }
  return rooms;
}

/** Reads the Redis channels to bridge. The value `-` means an empty list, which is also the default without Redis. */
function readChannels(
  reader: EnvReader,
  redisUrl: string | undefined,
): string[] {
  const fallback = redisUrl === undefined ? "-" : "chat";
  if (reader.text("CHANNELS", fallback) === "-") return [];
  const channels = readRooms(reader, "CHANNELS", fallback);
  if (channels.includes("-")) {
    reader.fail("CHANNELS", 'has "-" and other names; set only one of both');
  }
  if (redisUrl === undefined) {
    reader.fail(
      "CHANNELS",
      "needs REDIS_URL, because an embedded log has no Redis channels; set REDIS_URL or unset CHANNELS",
    );
  }
  return channels;
}

/** Records problems of settings that are valid one by one but not together. */
function checkTogether(reader: EnvReader, config: Config): void {
  const { port, internalPort, host, open, rooms, roomsPerClientMax } = config;
  // Port 0 stands for any free port, so both may be 0.
  if (internalPort === port && port !== 0) {
    reader.fail(
      "INTERNAL_PORT",
      `is ${port}, as is PORT, which everybody uses; set another port`,
    );
  }
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

/** Records a problem for each environment variable that is probably a misspelled setting. */
function checkUnknown(reader: EnvReader, settings: readonly Setting[]): void {
  const known = [...settings.map(({ name }) => name), ...UNSUPPORTED_NAMES];
  for (const { name, meant } of findUnknown(reader.names, known)) {
    reader.fail(
      name,
      `is not a setting; did you mean ${meant}? If it belongs to another program, unset it for Roomcast`,
    );
  }
}
