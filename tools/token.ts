// deno-lint-ignore-file no-console -- stdout and stderr are where a program writes
/**
 * Prints a client token for development, signed with the first secret of `TOKEN_SECRET`:
 *
 *     TOKEN_SECRET=… deno task token --user ann --rooms 'chat.*=sub+pub' --ttl 1h
 *
 * `TOKEN_ISSUER` and `TOKEN_AUDIENCE` are put into the token if they are set. In production, your own backend makes the
 * tokens.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { SignJWT } from "jose";
import { parseTemplate } from "../lib/access/claim_rooms.ts";
import { ACTION_OF_WORD } from "../lib/access/rights.ts";
import { describeProblems, inspectConfig } from "../lib/config/config.ts";
import { mistakeOf } from "../lib/config/token_rooms.ts";
import { nearest } from "../lib/util/nearest.ts";

const SETTINGS = ["TOKEN_SECRET", "TOKEN_ISSUER", "TOKEN_AUDIENCE"];
const UNITS: ReadonlyMap<string, number> = new Map([
  ["s", 1],
  ["m", 60],
  ["h", 3600],
  ["d", 86_400],
]);
const TEXT = { type: "string" } as const;
const OPTIONS = {
  user: TEXT,
  rooms: { type: "string", multiple: true },
  join: TEXT,
  ttl: { type: "string", default: "1h" },
  info: TEXT,
  id: TEXT,
} as const;
const TTL_ADVICE = "write it as 30s, 15m, 1h or 7d";
/** The warning on stderr if the command asks for no rights. The token is written to stdout all the same. */
const NO_RIGHTS =
  "This token grants nothing by itself; add rights as in --rooms 'chat=sub', unless TOKEN_ROOMS or PUBLIC_ROOMS of the server grant them";
const USAGE = `deno task token [--user <user>] [--rooms '<rooms>'] [--ttl 1h]

  --user <user>       the user, which becomes the claim sub
  --rooms '<rooms>'   rooms or patterns, each with rights: 'chat.*=sub+pub,news=sub'
  --join <rooms>      rooms that the client joins when it connects: 'chat.a,news'
  --ttl <time>        how long the token is valid, such as 30s, 15m, 1h or 7d; 1h by default
  --info '<json>'     what other members of a room are told about the user
  --id <id>           the id of the token (jti), by which it can be revoked`;

/**
 * Makes a token from the arguments of a command.
 *
 * @param env The settings `TOKEN_SECRET`, `TOKEN_ISSUER` and `TOKEN_AUDIENCE`.
 * @throws {TypeError} if an argument or a setting is not valid; the message has no secret
 */
export async function tokenFrom(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const { config: { tokens }, problems } = inspectConfig(env);
  if (problems.length > 0) throw new TypeError(describeProblems(problems));
  const [secret] = tokens?.secrets ?? [];
  if (secret === undefined) {
    throw new TypeError(
      "Cannot make a token: TOKEN_SECRET is unset; set it as for the server, for example: export TOKEN_SECRET=$(openssl rand -base64 48)",
    );
  }
  const values = valuesOf(args);
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    sub: values.user,
    iss: tokens?.issuer,
    aud: tokens?.audience,
    jti: values.id,
    iat: now,
    exp: now + secondsOf(values.ttl),
    info: values.info === undefined ? undefined : jsonOf(values.info),
    rooms: values.join === undefined ? undefined : split(values.join),
    caps: values.rooms?.flatMap(split).map(capOf),
  };
  const given = Object.entries(claims).filter(([, value]) =>
    value !== undefined
  );
  return await new SignJWT(Object.fromEntries(given)).setProtectedHeader({
    alg: "HS256",
  })
    .sign(new TextEncoder().encode(secret));
}

/** Returns the values of the options in `args`. */
function valuesOf(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS }).values;
  } catch (error) {
    throw new TypeError(`Cannot make a token: ${problemOf(error as Error)}`);
  }
}

/** Says what is wrong with the arguments, from an error of `parseArgs()`. */
function problemOf({ code, message }: Error & { code?: string }): string {
  const [option = ""] = /--?[\w-]+/.exec(message) ?? [];
  if (code === "ERR_PARSE_ARGS_UNKNOWN_OPTION") {
    const known = Object.keys(OPTIONS).map((name) => `--${name}`);
    return `${option} is unknown; use ${
      nearest(option, known) ?? known.join(", ")
    }`;
  }
  if (code !== "ERR_PARSE_ARGS_INVALID_OPTION_VALUE") {
    return "an argument belongs to no option; put values with spaces in quotes";
  }
  return option === "--ttl"
    ? `--ttl has no valid time; ${TTL_ADVICE}`
    : `${option} has no value; write it as in ${option}=<value>`;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new TypeError(
      'Cannot make a token: --info is not JSON; write it as in \'{"name":"Ann"}\'',
    );
  }
}

function split(list: string): string[] {
  return list.split(",").map((item) => item.trim())
    .filter((item) => item !== "");
}

/** Returns the capability that an item of `--rooms` asks for. */
function capOf(item: string): { rooms: string[]; allow: string[] } {
  try {
    if (item.includes("{")) {
      throw new TypeError("has a claim in braces; name the room itself");
    }
    if (item.indexOf("=") < 1) {
      const room = item.includes("=") ? "chat" : item;
      throw new TypeError(
        `is not a room and its rights; write it as in ${room}=sub`,
      );
    }
    const mistake = mistakeOf(item);
    if (mistake !== undefined) throw new TypeError(mistake);
    const { start, isPattern, actions } = parseTemplate(item);
    const allow = [...ACTION_OF_WORD].filter(([, action]) =>
      actions.includes(action)
    );
    return {
      rooms: [isPattern ? `${start}*` : start],
      allow: allow.map(([word]) => word),
    };
  } catch (error) {
    throw new TypeError(
      `Cannot make a token: --rooms has ${JSON.stringify(item)}, which ${
        (error as Error).message
      }`,
    );
  }
}

function secondsOf(time: string): number {
  const [, count, unit = ""] = /^(\d{1,9})([smhd])$/.exec(time) ?? [];
  const seconds = Number(count) * (UNITS.get(unit) ?? NaN);
  if (seconds > 0) return seconds;
  throw new TypeError(
    `Cannot make a token: --ttl is ${JSON.stringify(time)}; ${TTL_ADVICE}`,
  );
}

if (import.meta.main) {
  const args = process.argv.slice(2);
  if (args.includes("--help") || args.includes("-h")) {
    console.log(USAGE);
    process.exit(0);
  }
  try {
    const env = SETTINGS.map((name) => [name, process.env[name]]);
    console.log(await tokenFrom(args, Object.fromEntries(env)));
    if (valuesOf(args).rooms === undefined) console.error(NO_RIGHTS);
  } catch (error) {
    console.error((error as Error).message);
    console.error(`\n${USAGE}`);
    process.exitCode = 1;
  }
}
