/**
 * Lua scripts in Redis: running them, and parts that many of them embed.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { RedisClient } from "./connection.ts";

/** A script and the name Redis knows it by. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** Makes a script of its text. */
export function script(source: string): Script {
  return { source, sha: createHash("sha1").update(source).digest("hex") };
}

/**
 * Runs a script by its name, and by its text where Redis does not know the name: scripts are forgotten when Redis
 * restarts (`NOSCRIPT`), and then nothing of it has run.
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
 * Makes a new connection's Redis know scripts. Not only for speed: two scripts sent one after the other stay in
 * order only if neither has to be sent again.
 */
export async function loadScripts(
  client: RedisClient,
  scripts: readonly Script[],
): Promise<void> {
  for (const { source } of scripts) {
    await client.sendCommand(["SCRIPT", "LOAD", source]);
  }
}

/** `now`: Redis' clock, in ms since 1970. */
export const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** `here()` returns the name of a server, `<run id>:<replication id>`, and whether it is a `master` or a `slave`. */
export const HERE = `
local function here()
  local info = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
  return string.match(info, 'run_id:(%w+)') .. ':' .. string.match(info, 'master_replid:(%w+)'),
    string.match(info, 'role:(%w+)')
end
`;
