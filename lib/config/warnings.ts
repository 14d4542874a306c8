/**
 * Finds settings that are valid and probably do not do what the operator wants.
 *
 * @module
 */
import { hostOfOrigin, isLoopback } from "../access/origins.ts";
import type { HookSettings } from "../hooks/hooks.ts";
import type { Config, Inspection } from "./config.ts";
import { hookWarnings } from "./hook_settings.ts";
import { limitWarnings } from "./limit_settings.ts";

/** A publish key with fewer bytes results in a warning. Its characters are ASCII, so each has one byte. */
const KEY_BYTES_ADVISED = 16;

/** Matches a name that is probably several names, or a list in JSON. */
const LIST = /[;|\s"]/;
/** Matches the secret of a publish key that probably has quotes around it, or another key behind it. */
const LIST_OF_KEYS = /^".*"$|^'.*'$|[;|].*:/;

/** Returns a sentence for each valid setting that probably does not do what the operator wants. */
export function warningsOf(
  { config, ineffective }: Pick<Inspection, "config" | "ineffective">,
): readonly string[] {
  return [
    ...ineffective,
    ...listWarnings(config),
    ...accessWarnings(config),
    ...hookWarnings(config),
    ...limitWarnings(config),
  ];
}

/** Returns a sentence for each name in a list of rooms that is probably meant as several names or as a pattern. */
function listWarnings(
  { channels, hooks, latestRooms, publicRooms, rooms }: Config,
): readonly string[] {
  const lists = Object.entries({
    ROOMS: rooms,
    CHANNELS: channels,
    LATEST_ROOMS: latestRooms,
    PUBLIC_ROOMS: publicRooms,
    HOOK_ROOMS: hooks?.rooms ?? [],
  });
  const joined = lists.flatMap(([setting, names]) =>
    names.filter((name) => LIST.test(name)).map((name) =>
      `${setting} has ${
        JSON.stringify(name)
      } as one name; separate names with commas, and leave out brackets and quotes`
    )
  );
  const patterns = rooms.filter((name) => name.endsWith("*")).map((name) =>
    `ROOMS has ${
      JSON.stringify(name)
    } as the name of one room, because clients cannot join patterns; list each room`
  );
  return [...joined, ...patterns];
}

function accessWarnings(config: Config): readonly string[] {
  const { open, publishKeys, tokens } = config;
  const warnings = [...reachWarnings(config)];
  if (open && publishKeys.length > 0) {
    warnings.push(
      "OPEN has no effect with PUBLISH_KEYS, so publishing over HTTP needs one of the keys; unset OPEN, or unset PUBLISH_KEYS",
    );
  }
  const short = publishKeys.filter(({ secret }) =>
    secret.length < KEY_BYTES_ADVISED
  ).map(({ name }) => name);
  if (short.length > 0) {
    warnings.push(
      `PUBLISH_KEYS has a secret of less than ${KEY_BYTES_ADVISED} bytes (${
        short.join(", ")
      }), so it may be guessed; make one with: openssl rand -base64 24`,
    );
  }
  for (const { name, secret } of publishKeys) {
    if (!LIST_OF_KEYS.test(secret)) continue;
    warnings.push(
      `PUBLISH_KEYS has quotes, or another key, in the secret of ${name}; write it without quotes, and separate keys with commas`,
    );
  }
  if (tokens?.jwksUrl !== undefined && tokens.audience === undefined) {
    warnings.push(
      "TOKEN_AUDIENCE is unset, so Roomcast accepts tokens that the issuer has made for other applications; set it to the audience of your tokens",
    );
  }
  for (
    const [name, value] of [
      ["TOKEN_ISSUER", tokens?.issuer],
      ["TOKEN_AUDIENCE", tokens?.audience],
    ]
  ) {
    if (value?.includes(",") !== true) continue;
    warnings.push(
      `${name} has a comma and is one text, not a list, so only tokens with exactly this text are accepted; set one value`,
    );
  }
  return warnings;
}

/** Says which rooms clients without tokens may join by themselves; undefined if the hooks decide about all rooms. */
function openRooms(hooks: HookSettings | undefined): string | undefined {
  if (hooks?.connectUrl !== undefined) return undefined;
  if (hooks?.joinUrl === undefined) return "every room";
  const decidesAll = hooks.rooms.includes("*");
  return decidesAll ? undefined : "every room that HOOK_ROOMS does not match";
}

/** Returns a sentence for each thing that anyone may do who reaches the server from another machine. */
function reachWarnings(config: Config): readonly string[] {
  const reach = reachOf(config);
  if (reach === undefined) return [];
  const { hooks, tokens } = config;
  const open = tokens === undefined ? openRooms(hooks) : undefined;
  const acts = openActs(config);
  return [
    ...open === undefined ? [] : [
      `${reach} can join ${open}; set TOKEN_SECRET, TOKEN_JWKS_URL or CONNECT_HOOK_URL unless that is what you want`,
    ],
    ...acts === undefined ? [] : [`${reach} ${acts}; set PUBLISH_KEYS`],
  ];
}

/**
 * Returns the beginning of a sentence about anyone who reaches the server from another machine; undefined if probably
 * nobody does.
 */
function reachOf(
  { host, trustedProxies, allowedOrigins }: Config,
): string | undefined {
  if (!isLoopback(host)) return `HOST is ${host}, and anyone who reaches it`;
  const remote = allowedOrigins.find((origin) => {
    const pageHost = hostOfOrigin(origin);
    return origin === "*" ||
      (pageHost !== undefined && !isOnThisMachine(pageHost));
  });
  // Both settings have a use without a proxy as well, but seldom.
  const sign = trustedProxies.length > 0
    ? "TRUSTED_PROXIES is set"
    : remote === undefined
    ? undefined
    : `ALLOWED_ORIGINS has ${remote}`;
  return sign === undefined
    ? undefined
    : `HOST is ${host}, but ${sign}, as for a proxy in front, and anyone who reaches the proxy`;
}

/** Returns whether the host of a page names this machine, also as a name below `localhost` (RFC 6761 §6.3). */
function isOnThisMachine(host: string): boolean {
  return isLoopback(host) || host.endsWith(".localhost");
}

/** Says what anyone may do without a publish key, whom the operator probably wants to keep from it. */
function openActs(config: Config): string | undefined {
  const { host, hooks, internalPort, open, publishKeys, tokens } = config;
  if (publishKeys.length > 0) return undefined;
  const needRights = tokens !== undefined || hooks?.connectUrl !== undefined;
  const haveRights = needRights || hooks?.joinUrl !== undefined;
  const isLocal = isLoopback(host);
  if (isLocal && internalPort !== undefined) {
    // The proxy passes on only what clients use.
    return open || needRights ? undefined : "may publish over Socket.IO";
  }
  if (isLocal && !open) {
    return `may publish, delete histories, put clients into any room${
      haveRights ? ", whatever their tokens and hooks allow" : ""
    }, disconnect and revoke users`;
  }
  return haveRights
    ? "can also put clients into any room without PUBLISH_KEYS, whatever their tokens and hooks allow, take them out, delete histories and revoke users"
    : undefined;
}
