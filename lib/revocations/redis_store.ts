/**
 * Keeps revocations in Redis, on the server that holds the log.
 *
 * A sorted set has all revocations. A stream has the newest ones in the order in which they were stored, so that the
 * nodes need not read the whole set each time it has changed.
 *
 * @module
 */
import { NAME_LENGTH_MAX } from "../access/forms.ts";
import {
  KEPT_MAX,
  RETENTION_MS,
  type Revocation,
  REVOCATIONS_MAX,
} from "../access/revocations.ts";
import type { RedisClient } from "../redis/connection.ts";
import { logMoved, type LogServer } from "../redis/log_server.ts";
import { HERE, NOW, runScript, type Script, script } from "../redis/script.ts";
import {
  type Changes,
  type RevocationStore,
  tooManyRevocations,
} from "./store.ts";

const moved = () => logMoved("the revocations");

/** Minimum number of the newest revocations that the stream keeps. A node that has missed more reads the whole set. */
const CHANGES_LENGTH = 1000;
/** Number of revocations that are read or written with one command, so that no command takes long. */
const PAGE = 1000;
/**
 * Maximum length of a member of the sorted set, in characters: `user:` and a user's name, or `jti:` and the id of a
 * token.
 */
const MEMBER_LENGTH_MAX = NAME_LENGTH_MAX + "user:".length;

/**
 * Stores revocations, and deletes some that have ended. A revocation that has ended already is not stored, so that a
 * node whose clock is slow does not store it again and again. Returns the time that the set then has for the last of
 * the given revocations, `full` if the set has no room for one of them, or 0 if this is another server.
 */
const ADD = script(`${HERE}${NOW}
if here() ~= ARGV[1] then return 0 end
local oldest = now - tonumber(ARGV[2])
local ended = redis.call('ZRANGE', KEYS[1], '-inf', string.format('(%.0f', oldest), 'BYSCORE', 'LIMIT', 0, 1000)
if #ended > 0 then redis.call('ZREM', KEYS[1], unpack(ended)) end
for i = 5, #ARGV, 2 do
  local member, at = ARGV[i], ARGV[i + 1]
  local known = redis.call('ZSCORE', KEYS[1], member)
  if tonumber(at) >= oldest and (not known or tonumber(known) < tonumber(at)) then
    if not known and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 'full' end
    redis.call('ZADD', KEYS[1], at, member)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', member, at)
  end
end
return redis.call('ZSCORE', KEYS[1], ARGV[#ARGV - 1])
`);

/**
 * Returns the id of the newest entry of the stream, and the entries after the given one. Returns only the id if there
 * is no entry with the given id, or if the set does not exist although it must: the whole set then has to be read.
 */
const CHANGES = script(`${HERE}
local server, role = here()
if server ~= ARGV[1] or role ~= 'master' then return 0 end
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if newest and redis.call('EXISTS', KEYS[1]) == 0 then return { 'lost' } end
local version = newest and newest[1] or 'empty'
if version == ARGV[2] then return { version, {} } end
if not string.match(ARGV[2], '^%d+-%d+$') or #redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2]) == 0 then
  return { version }
end
return { version, redis.call('XRANGE', KEYS[2], '(' .. ARGV[2], '+') }
`);

/** The Lua scripts for revocations. They are loaded into Redis on each new connection. */
export const REVOCATION_SCRIPTS: readonly Script[] = [ADD, CHANGES];

/** The reply of the script `CHANGES`. */
type Reply = 0 | [
  version: string,
  entries?: readonly (readonly [id: string, fields: readonly string[]])[],
];

/** Stores revocations in Redis, on the server that holds the log. */
export class RedisRevocationStore implements RevocationStore {
  readonly #server: LogServer;
  readonly #max: number;

  /** Creates a store on the Redis server that holds the log. Sends nothing to Redis. */
  constructor(server: LogServer, max = REVOCATIONS_MAX) {
    this.#server = server;
    this.#max = max;
  }

  async changes(since: string | undefined): Promise<Changes> {
    const { command, server, keys } = this.#server;
    const [version, entries] = await command(async (client) => {
      const reply = await runScript(
        client,
        CHANGES,
        [keys.revocations, keys.revocationChanges],
        [server(), since ?? ""],
      ) as Reply;
      if (reply === 0) throw moved();
      return reply;
    });
    const isWhole = entries === undefined;
    const revocations = isWhole
      ? await this.#readAll()
      : entries.flatMap(([, fields]) => parse(fields));
    return { version, isWhole, revocations };
  }

  async add(revocation: Revocation): Promise<Revocation> {
    const at = await this.#store([revocation], this.#max);
    return at === null ? revocation : { ...revocation, at: Number(at) };
  }

  async restore(revocations: readonly Revocation[]): Promise<void> {
    for (let i = 0; i < revocations.length; i += PAGE) {
      await this.#store(revocations.slice(i, i + PAGE), KEPT_MAX);
    }
  }

  async #store(
    revocations: readonly Revocation[],
    max: number,
  ): Promise<unknown> {
    const { command, writable, server, keys } = this.#server;
    const reply = await command(async (client) => {
      await writable();
      return await runScript(
        client,
        ADD,
        [keys.revocations, keys.revocationChanges],
        [
          server(),
          String(RETENTION_MS),
          String(max),
          String(CHANGES_LENGTH),
          ...revocations.flatMap(({ kind, name, at }) => [
            `${kind}:${name}`,
            String(at),
          ]),
        ],
      );
    });
    if (reply === 0) throw moved();
    if (reply === "full") throw tooManyRevocations();
    return reply;
  }

  /**
   * Reads the whole set in pages, the latest times first, up to {@linkcode KEPT_MAX} revocations. Revocations that are
   * stored meanwhile move others only to later pages, so none is skipped, and they are after the version that was read
   * before.
   */
  async #readAll(): Promise<Revocation[]> {
    const { command, keys } = this.#server;
    const revocations: Revocation[] = [];
    for (let start = 0; start < KEPT_MAX; start += PAGE) {
      const page = await command((client: RedisClient) =>
        client.sendCommand([
          "ZRANGE",
          keys.revocations,
          String(start),
          String(start + PAGE - 1),
          "REV",
          "WITHSCORES",
        ]) as Promise<unknown> as Promise<string[]>
      );
      revocations.push(...parse(page));
      if (page.length < 2 * PAGE) break;
    }
    return revocations;
  }
}

/**
 * Reads revocations from their stored form, in which each member is followed by its time. Leaves out what another
 * program has written.
 */
function parse(stored: readonly string[]): Revocation[] {
  const revocations: Revocation[] = [];
  for (let i = 0; i + 1 < stored.length; i += 2) {
    const member = stored[i] ?? "";
    const [, kind, name] = /^(user|jti):(.+)$/s.exec(member) ?? [];
    const at = Number(stored[i + 1]);
    if (
      name === undefined || member.length > MEMBER_LENGTH_MAX ||
      !Number.isSafeInteger(at)
    ) continue;
    revocations.push({ kind: kind as Revocation["kind"], name, at });
  }
  return revocations;
}
