/**
 * Finds settings of the Redis server because of which messages can be lost.
 *
 * @module
 */
import type { RedisClient } from "../redis/connection.ts";

/**
 * Returns a sentence for each setting of the Redis server that can cause the loss of messages. Returns an empty list if
 * the ACL does not permit `INFO`.
 */
export async function configWarnings(client: RedisClient): Promise<string[]> {
  const info = await client.sendCommand(["INFO"]).then(String, () => "");
  const warnings: string[] = [];
  if (/^aof_enabled:0/m.test(info)) {
    warnings.push(
      "Redis keeps no append-only file, so messages since the last snapshot are lost if Redis crashes; set appendonly yes",
    );
  }
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? "noeviction";
  if (policy !== "noeviction") {
    warnings.push(
      `Redis may evict keys of Roomcast when its memory is full (maxmemory-policy ${policy}), so messages can be ` +
        "lost; set maxmemory-policy noeviction",
    );
  }
  return warnings;
}
