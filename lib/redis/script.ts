/**
 * Runs Lua scripts in Redis, and holds Lua code that several scripts embed.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { RedisClient } from "./connection.ts";

/** A Lua script and its SHA-1 hash, by which Redis identifies it. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** Makes a {@linkcode Script} from its Lua source by computing its hash. */
export function script(source: string): Script {
  return { source, sha: createHash("sha1").update(source).digest("hex") };
}

/**
 * Runs a script by its hash. If Redis does not have the script, as after a restart of Redis, sends the script's source
 * instead. The script then still runs only once.
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
 * Loads scripts into Redis, on each new connection. Otherwise {@linkcode runScript} would have to send the first run of
 * each script twice, and a script sent in between would run first.
 */
export async function loadScripts(
  client: RedisClient,
  scripts: readonly Script[],
): Promise<void> {
  for (const { source } of scripts) {
    await client.sendCommand(["SCRIPT", "LOAD", source]);
  }
}

/** Lua that sets the local variable `now` to the Redis server's time, in ms since 1970. */
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
