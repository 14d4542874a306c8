/**
 * The settings that say who may connect, read and publish.
 *
 * @module
 */
import type { RoomTemplate } from "../access/claim_rooms.ts";
import type { PublishKey } from "../access/publish_keys.ts";
import type { TokenSettings } from "../access/tokens.ts";
import type { HookSettings } from "../hooks/hooks.ts";
import type { EnvReader } from "./env_reader.ts";
import { readHookSettings } from "./hook_settings.ts";
import { PUBLISH_KEY } from "./mask.ts";
import { readOrigins } from "./origin_settings.ts";
import { checkPatterns } from "./room_lists.ts";
import { readTokenRooms } from "./token_rooms.ts";
import { readTokenSettings } from "./token_settings.ts";

/** The settings that concern access. */
export interface AccessSettings {
  readonly publishKeys: readonly PublishKey[];
  /** How client tokens are verified; undefined if clients need no token. */
  readonly tokens: TokenSettings | undefined;
  /** The rights that tokens have from their ordinary claims. */
  readonly tokenRooms: readonly RoomTemplate[];
  /** The name of the cookie that may have a client's token; undefined if cookies do not count. */
  readonly tokenCookie: string | undefined;
  /** Names and patterns of rooms to which anyone may subscribe. */
  readonly publicRooms: readonly string[];
  /**
   * The origins of the pages, apps and browser extensions that may use the server, or `*` for any origin. If the list is
   * empty, only the server's own origin is allowed.
   */
  readonly allowedOrigins: readonly string[];
  /** The hooks that decide about clients; undefined if there are none. */
  readonly hooks: HookSettings | undefined;
}

/** The settings that have no effect unless tokens are verified. */
const NEED_TOKENS = ["TOKEN_ISSUER", "TOKEN_AUDIENCE", "TOKEN_COOKIE"];

/** The settings that make the server less open. Set and empty, they are refused. */
const GUARDS = [
  "TOKEN_SECRET",
  "TOKEN_JWKS_URL",
  "TOKEN_ISSUER",
  "TOKEN_AUDIENCE",
  "TOKEN_COOKIE",
  "PUBLISH_KEYS",
  "PUBLISH_KEY_ROOMS",
];

/** Reads all settings that concern access. */
export function readAccessSettings(reader: EnvReader): AccessSettings {
  reader.refuseEmpty(GUARDS);
  const tokens = readTokenSettings(reader);
  const allowedOrigins = readOrigins(reader);
  const settings = {
    publishKeys: readPublishKeys(reader),
    tokens,
    tokenRooms: readTokenRooms(reader),
    tokenCookie: reader.text("TOKEN_COOKIE") || undefined,
    publicRooms: reader.list("PUBLIC_ROOMS"),
    allowedOrigins,
    hooks: readHookSettings(reader, allowedOrigins),
  };
  checkCookie(reader, settings);
  checkPatterns(reader, "PUBLIC_ROOMS", settings.publicRooms);
  checkEffects(reader, settings);
  return settings;
}

/** Records a problem for each setting that has no effect, because every client may join every room. */
function checkEffects(
  reader: EnvReader,
  { tokens, hooks }: Pick<AccessSettings, "tokens" | "hooks">,
): void {
  const open = "because every client may then join every room";
  const fail = (name: string, problem: string): void => {
    if (reader.isSet(name)) reader.fail(name, problem);
  };
  if (tokens === undefined) {
    for (const name of NEED_TOKENS) {
      fail(
        name,
        "has no effect without tokens; set TOKEN_SECRET or TOKEN_JWKS_URL, or unset it",
      );
    }
    if (hooks?.connectUrl === undefined) {
      fail(
        "TOKEN_ROOMS",
        "has no effect without tokens or the connect hook; set TOKEN_SECRET, TOKEN_JWKS_URL or CONNECT_HOOK_URL, or unset it",
      );
    }
    if (hooks?.connectUrl === undefined && hooks?.joinUrl === undefined) {
      fail(
        "PUBLIC_ROOMS",
        `has no effect without tokens and hooks that decide about rooms, ${open}; set TOKEN_SECRET, TOKEN_JWKS_URL or CONNECT_HOOK_URL, or unset it`,
      );
    }
  }
}

function checkCookie(
  reader: EnvReader,
  { tokenCookie, allowedOrigins }: Pick<
    AccessSettings,
    "tokenCookie" | "allowedOrigins"
  >,
): void {
  if (tokenCookie === undefined) return;
  // RFC 6265 §4.1.1: a name is a token of HTTP.
  if (!/^[\w!#$%&'*+.^`|~-]{1,128}$/.test(tokenCookie)) {
    reader.reject(
      "TOKEN_COOKIE",
      tokenCookie,
      "the name of a cookie such as __Host-token",
    );
  }
  if (allowedOrigins.includes("*")) {
    reader.fail(
      "ALLOWED_ORIGINS",
      "is *, so with TOKEN_COOKIE every website could act for its visitors; list exact origins, or unset TOKEN_COOKIE",
    );
  }
}

/**
 * Reads `PUBLISH_KEYS`. Records a problem for each item that is not `name:secret`, and if two keys have the same name or
 * the same secret.
 */
function readPublishKeys(reader: EnvReader): PublishKey[] {
  const items = reader.list("PUBLISH_KEYS");
  const keys = items.flatMap((item, index) => {
    const [, name, secret] = PUBLISH_KEY.exec(item) ?? [];
    if (name !== undefined && secret !== undefined) return [{ name, secret }];
    // The item itself is never shown, because it may be the secret.
    reader.fail(
      "PUBLISH_KEYS",
      `entry ${
        index + 1
      } is not name:secret with a name of letters, digits, spaces and _.@/+- and a secret of printable ASCII without spaces`,
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
  for (const [index, { name, secret }] of keys.entries()) {
    const other = keys.slice(0, index).find((key) => key.secret === secret);
    if (other === undefined || other.name === name) continue;
    reader.fail(
      "PUBLISH_KEYS",
      `has the same secret for ${other.name} and ${name}, so it would be unclear whose rooms and limits count; give each key a secret of its own`,
    );
  }
  return addRooms(reader, keys);
}

/** Adds to keys the rooms that `PUBLISH_KEY_ROOMS` names, in the form `name=news.*|chat`. */
function addRooms(reader: EnvReader, keys: PublishKey[]): PublishKey[] {
  const name = "PUBLISH_KEY_ROOMS";
  const roomsOf = new Map<string, string[]>();
  const names = keys.map((key) => key.name);
  for (const [index, item] of reader.list(name).entries()) {
    const [key = "", list = ""] = splitOnce(item, "=");
    const rooms = list.split("|").map((room) => room.trim())
      .filter((room) => room !== "");
    if (!names.includes(key)) {
      // The item itself is never shown, because it may begin with a secret.
      reader.fail(
        name,
        `entry ${index + 1} does not begin with the name of a key; ${
          names.length === 0
            ? "name the keys in PUBLISH_KEYS, as in backend:secret"
            : `use ${names.join(", ")} from PUBLISH_KEYS, as in ${
              names[0]
            }=news.*|chat`
        }`,
      );
    } else if (rooms.length === 0) {
      reader.fail(
        name,
        `names no rooms for ${JSON.stringify(key)}; write * for all of them`,
      );
    } else if (roomsOf.has(key)) {
      reader.fail(
        name,
        `has ${JSON.stringify(key)} twice; separate its rooms with |`,
      );
    }
    checkPatterns(reader, name, rooms);
    roomsOf.set(key, rooms);
  }
  return keys.map((key) => {
    const rooms = roomsOf.get(key.name);
    return rooms === undefined ? key : { ...key, rooms };
  });
}

/** Splits a text at the first separator. */
function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at < 0
    ? [text.trim()]
    : [text.slice(0, at).trim(), text.slice(at + 1)];
}
