/**
 * Looks up one id in the log on Redis.
 *
 * @module
 */
import type { Keys } from "../redis/keys.ts";
import { type RawEntry, readEntry } from "./entries.ts";
import { compareIds } from "../log/position.ts";
import type { RedisClient } from "../redis/connection.ts";

/**
 * Resolves to whether the log has an entry or a message with this id. Also resolves to `true` if the id is older than
 * the log's first entry, because the log may have had an entry with this id and trimmed it.
 */
export async function containsId(
  client: RedisClient,
  keys: Keys,
  id: string,
): Promise<boolean> {
  const [oldest, next] = await Promise.all([
    first(client, keys.log, "-"),
    first(client, keys.log, id),
  ]);
  if (oldest === undefined || compareIds(id, oldest[0]) < 0) return true;
  return next !== undefined &&
    (next[0] === id ||
      readEntry(next).messages?.some((message) => message.id === id) === true);
}

/** Resolves to the first entry of a stream with the id `from` or a later one; "-" is the stream's beginning. */
async function first(
  client: RedisClient,
  stream: string,
  from: string,
): Promise<RawEntry | undefined> {
  const [entry] = await client.sendCommand(
    ["XRANGE", stream, from, "+", "COUNT", "1"],
  ) as RawEntry[];
  return entry;
}
