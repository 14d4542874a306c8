/**
 * Runs Lua scripts in Redis, and holds Lua code that several scripts embed.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { RedisClient } from "./connection.ts";

/** A Lua script, and the SHA-1 hash that Redis identifies it by. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** Makes a script from its Lua source. */
export function script(source: string): Script {
  return { source, sha: createHash("sha1").update(source).digest("hex") };
}

/**
 * Runs a script by its hash, or by its source if Redis does not have the script. Redis drops scripts when it restarts,
 * and then replies `NOSCRIPT` without running any part of the script.
 */
export async function runScript(
  client: RedisClient,
  script: Script,
  keys: string[],
  args: string[],
): Promise<unknown> {
  const rest = [String(keys.length), ...keys, ...args];
  try {
    return await client.sendCommand(["EVALSHA", script.sha, ...rest]);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) {
      throw error;
    }
    return await client.sendCommand(["EVAL", script.source, ...rest]);
  }
}

/**
 * Loads scripts into the Redis of a new connection. Otherwise {@linkcode runScript} would have to send the first run of
 * each script twice, and another script that was sent meanwhile would overtake this run.
 */
export async function loadScripts(
  client: RedisClient,
  scripts: readonly Script[],
): Promise<void> {
  for (const { source } of scripts) {
    await client.sendCommand(["SCRIPT", "LOAD", source]);
  }
}

/** Lua that sets `now` to the Redis server's time, in ms since 1970. */
export const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/**
 * Lua that defines `here()`, which returns two values: the server as `<run id>:<replication id>`, and its role,
 * `master` or `slave`.
 */
export const HERE = `
local function here()
  local info = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
  return string.match(info, 'run_id:(%w+)') .. ':' .. string.match(info, 'master_replid:(%w+)'),
    string.match(info, 'role:(%w+)')
end
`;
