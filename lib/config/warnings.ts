/**
 * Finds settings that are valid and probably do not do what the operator wants.
 *
 * @module
 */
import { isLoopback } from "../access/origins.ts";
import type { HookSettings } from "../hooks/hooks.ts";
import type { Config, Inspection } from "./config.ts";
import type { Foreign } from "./foreign.ts";
import { hookWarnings } from "./hook_settings.ts";
import { limitWarnings } from "./limit_settings.ts";

/** A publish key with fewer bytes results in a warning. Its characters are ASCII, so each has one byte. */
const KEY_BYTES_ADVISED = 16;

/** Returns a sentence for each valid setting that probably does not do what the operator wants. */
export function warningsOf(
  { config, foreign }: Pick<Inspection, "config" | "foreign">,
): readonly string[] {
  return [
    ...foreignWarnings(foreign),
    ...accessWarnings(config),
    ...hookWarnings(config),
    ...limitWarnings(config),
  ];
}

function foreignWarnings(foreign: readonly Foreign[]): readonly string[] {
  return foreign.map(({ name, meant }) =>
    `${name} is set and is not a setting of Roomcast, and ${meant} is unset; set ${meant} if that is what you mean`
  );
}

function accessWarnings(
  { host, hooks, publishKeys, tokens }: Config,
): readonly string[] {
  const warnings: string[] = [];
  if (!isLoopback(host) && tokens === undefined) {
    const open = openRooms(hooks);
    if (open !== undefined) {
      warnings.push(
        `HOST is ${host}, and anyone who reaches it can join ${open}; set TOKEN_SECRET, TOKEN_JWKS_URL or CONNECT_HOOK_URL unless that is what you want`,
      );
    }
  }
  const hasRights = tokens !== undefined || hooks?.connectUrl !== undefined ||
    hooks?.joinUrl !== undefined;
  if (!isLoopback(host) && hasRights && publishKeys.length === 0) {
    warnings.push(
      `HOST is ${host}, and without PUBLISH_KEYS anyone who reaches it can also put clients into any room, whatever their tokens and hooks allow, take them out, delete histories and revoke users; set PUBLISH_KEYS`,
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
  if (tokens?.jwksUrl !== undefined && tokens.audience === undefined) {
    warnings.push(
      "TOKEN_AUDIENCE is unset, so Roomcast accepts tokens that the issuer has made for other applications; set it to the audience of your tokens",
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
