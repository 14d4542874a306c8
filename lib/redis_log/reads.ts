/**
 * The Redis commands of the log's reader: they read new entries, recent messages, gaps, and the time.
 *
 * @module
 */
import type { Entry } from "../log/log.ts";
import { timestampOf } from "../log/position.ts";
import type { RedisClient } from "../redis/connection.ts";
import type { Keys } from "../redis/keys.ts";
import { deadline } from "../util/deadline.ts";
import { isJson, type LogEntry, type RawEntry, readEntry } from "./entries.ts";
import { PageSize } from "./page_size.ts";

/** Maximum duration of a read after the time for which Redis may wait for new entries, in ms. */
const READ_GRACE_MS = 1500;
/** {@linkcode readRecent} stops once it has read this many characters of messages. */
const RECENT_LENGTH_MAX = 16 << 20;
/** Maximum duration of a command that does not wait for new entries, in ms. */
const COMMAND_TIMEOUT_MS = 2000;

/** Reports that the entry or message with the id `id` is skipped, and why. */
type Skip = (id: string, why: string) => void;

/**
 * Reads some of the log's entries after the id `after`, as many as `size` says. If there are none, waits at most `waitMs`
 * for new entries.
 */
export async function readNew(
  client: RedisClient,
  stream: string,
  { after, waitMs, size }: {
    readonly after: string;
    readonly waitMs: number;
    readonly size: PageSize;
  },
): Promise<LogEntry[]> {
  // `BLOCK 0` would block without a limit.
  const blockMs = Math.max(1, Math.ceil(waitMs));
  const reply = await send<[[string, RawEntry[]]] | null>(
    client,
    [
      "XREAD",
      "COUNT",
      `${size.count}`,
      "BLOCK",
      `${blockMs}`,
      "STREAMS",
      stream,
      after,
    ],
    "reading the log",
    blockMs + READ_GRACE_MS,
  );
  const entries = reply?.[0][1] ?? [];
  size.took(entries);
  return entries.map(readEntry);
}

/** Reads the Redis server's time, in ms since 1970. */
export async function readTime(client: RedisClient): Promise<number> {
  const [seconds, microseconds] = await send<string[]>(
    client,
    ["TIME"],
    "reading the time",
  );
  return Number(seconds) * 1000 + Number(microseconds) / 1000;
}

/**
 * Reads the messages of the last `seconds` up to the id `end`, but none from before the epoch. With these messages a
 * node that has just started can serve clients whose previous node has just stopped.
 *
 * @returns The messages in the log's order, and the id `floor` after which no message is missing.
 */
export async function readRecent(
  client: RedisClient,
  stream: string,
  { end, epoch, seconds, skip }: {
    readonly end: string;
    readonly epoch: string;
    readonly seconds: number;
    readonly skip: Skip;
  },
): Promise<{ recent: Entry[]; floor: string }> {
  const oldest = await readTime(client) - seconds * 1000;
  const recent: Entry[] = [];
  const size = new PageSize();
  let floor = end, length = 0, isMore = true;
  for (let from = end; isMore; from = `(${floor}`) {
    const { count } = size;
    const page = await send<RawEntry[]>(
      client,
      ["XREVRANGE", stream, from, "-", "COUNT", `${count}`],
      "reading the log",
    );
    size.took(page);
    isMore = page.length === count;
    for (const raw of page) {
      const { id, messages = [], fields, error } = readEntry(raw);
      // No message after this entry is missing: the entry still exists, so no later entry was trimmed.
      floor = id;
      if (error !== undefined) skip(id, error);
      if (fields.epoch === epoch) return { recent: recent.reverse(), floor };
      for (const message of messages.toReversed()) {
        if (!isJson(message.json)) continue;
        recent.push(message);
        length += message.json.length;
      }
    }
    isMore &&= length < RECENT_LENGTH_MAX && timestampOf(floor) > oldest;
  }
  return { recent: recent.reverse(), floor };
}

/**
 * Reads all recorded gaps of Redis channels. A gap consists of the id before which messages may be missing, and a JSON
 * list of the channels.
 */
export async function readGaps(
  client: RedisClient,
  keys: Keys,
  skip: Skip,
): Promise<[id: string, channels: string][]> {
  try {
    const entries = await send<RawEntry[]>(
      client,
      ["XRANGE", keys.gaps, "-", "+"],
      "reading the gaps",
    );
    return entries.map(([id, fields]) => [id, fields?.[1] ?? ""]);
  } catch (error) {
    // Another program has replaced the key. The script that records the next gap deletes the key first.
    if (!String(error).includes("WRONGTYPE")) throw error;
    skip("0-0", String(error));
    return [];
  }
}

function send<T>(
  client: RedisClient,
  command: string[],
  what: string,
  timeoutMs = COMMAND_TIMEOUT_MS,
): Promise<T> {
  return deadline(client.sendCommand(command) as Promise<T>, timeoutMs, what);
}
