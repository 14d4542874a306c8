/**
 * Reads and checks what a client sends when it connects.
 *
 * @module
 */
import type { Socket } from "socket.io";
import type { Credentials } from "../access/access.ts";
import { QUERY_TOKENS } from "../access/query_tokens.ts";
import { credentialsIn, type ReadTokenCookie } from "../access/token_cookie.ts";
import type { Hello } from "../clients/hello.ts";
import { ApiError, LimitExceeded } from "../errors.ts";
import { DEPTH_MAX, isDeeperThan } from "../util/depth.ts";
import { readOffset } from "./offset.ts";
import { NO_OBJECT } from "./parser.ts";

/** Maximum length of a session's secret, in characters. */
const SECRET_LENGTH_MAX = 64;
/**
 * Names of fields that developers write by mistake instead of `auth.rooms`. A client with such a field is refused;
 * otherwise it would get the default rooms without any warning. Other unknown fields of `auth` are allowed.
 */
const INSTEAD_OF_ROOMS = ["room", "channel", "channels"];
const INSTEAD_OF_ROOMS_IN_QUERY = ["rooms", ...INSTEAD_OF_ROOMS];
const ROOMS_ADVICE =
  'list the rooms in auth.rooms, as in { auth: { rooms: ["chat"] } }';
const TOKEN_ADVICE =
  'send a token in auth.token, as in { auth: { token: "…" } }, because URLs end up in logs';

/**
 * Checks a client's handshake before any other code reads it.
 *
 * @throws {ApiError} `unknown_field` if the query has a token; `invalid_parameter` if `auth` is not an object, or is nested
 * too deeply
 */
export function checkHandshake({ handshake: { auth, query } }: Socket): void {
  if (auth === NO_OBJECT) {
    throw new ApiError(
      "invalid_parameter",
      'Cannot connect: auth is not an object; send one, as in { auth: { token: "…" } }',
    );
  }
  refuse(query, QUERY_TOKENS, "query parameter", TOKEN_ADVICE);
  if (!isDeeperThan(DEPTH_MAX, auth)) return;
  throw new LimitExceeded(
    "levels",
    "invalid_parameter",
    `Cannot connect: auth is nested on more than ${DEPTH_MAX} levels; flatten it`,
  );
}

/** Returns the credentials in a client's handshake: its `auth.token` or, if it has sent none, its cookie. */
export function credentialsOf(
  { handshake: { auth, headers } }: Socket,
  tokenCookie: ReadTokenCookie,
): Omit<Credentials, "from"> {
  if (auth.token !== undefined) return { secret: auth.token };
  const credentials = credentialsIn(tokenCookie(headers));
  const isHeader = credentials.secret === undefined &&
    headers.authorization !== undefined;
  return isHeader ? { ...credentials, place: "header" } : credentials;
}

/** Returns what a client sent in its handshake. @throws {ApiError} `invalid_parameter`, `unknown_field` */
export function helloOf(
  socket: Socket,
): Omit<Hello, "principal" | "introduction"> {
  const { auth, query } = socket.handshake;
  refuse(auth, INSTEAD_OF_ROOMS, "field of auth", ROOMS_ADVICE);
  refuse(query, INSTEAD_OF_ROOMS_IN_QUERY, "query parameter", ROOMS_ADVICE);
  const { pid, offset, rooms } = auth;
  if (rooms !== undefined && !Array.isArray(rooms)) {
    throw new ApiError(
      "invalid_parameter",
      'Cannot connect: auth.rooms is not a list; send a list such as ["chat"]',
    );
  }
  const isSecret = typeof pid === "string" && pid.length <= SECRET_LENGTH_MAX;
  return {
    secret: pid === undefined || isSecret ? pid : null,
    shown: readOffset(offset),
    rooms,
    isOpen: () => socket.conn.readyState === "open",
  };
}

/**
 * Refuses a client that has sent one of `names`.
 *
 * @throws {ApiError} `unknown_field`
 */
function refuse(
  sent: Readonly<Record<string, unknown>>,
  names: readonly string[],
  what: string,
  advice: string,
): void {
  const name = names.find((name) => Object.hasOwn(sent, name));
  if (name === undefined) return;
  throw new ApiError(
    "unknown_field",
    `Cannot connect: the ${what} "${name}" is not known; ${advice}`,
  );
}
