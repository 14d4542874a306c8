/**
 * Keeps sessions in Redis, on the server that holds the log.
 *
 * During an upgrade, nodes of this version and of the previous one use the same Redis. The stored form of a session
 * must therefore not change; `tests/lib/sessions/redis_store_test.ts` has examples of the form.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readKeptVerdict } from "../access/verdict.ts";
import { GAP_REASONS } from "../log/gaps.ts";
import { logMoved, type LogServer } from "../redis/log_server.ts";
import { HERE, runScript, type Script, script } from "../redis/script.ts";
import {
  isClientId,
  type Notice,
  type RoomPosition,
  type Session,
} from "./session.ts";
import type { SessionStore, SessionToSave, StoredSession } from "./store.ts";
import { formatGrants, parseGrants } from "./stored_grants.ts";

const moved = () => logMoved("the session");

/**
 * Lua that defines `read(text)`, which returns the generation and the owner of a stored session. The owner is empty if
 * a version of Roomcast that did not store owners has saved the session. The pattern matches only at the start of the
 * text, so a room whose name looks like a field does not match.
 */
const READ = `
local function read(text)
  local generation, owner = string.match(text, '^{"generation":(%d+),"owner":"([^"]*)"')
  return tonumber(generation or string.match(text, '^{"generation":(%d+),')) or 0, owner or ''
end
`;

/**
 * Saves many sessions with one run, because one command for each session would cost more. The script also records how
 * many times this node has saved sessions. If Redis later has a smaller number, the check of the log
 * (`lib/redis_log/check.ts`) detects that Redis has lost the newest sessions.
 */
const SAVE = script(`${HERE}${READ}
if here() ~= ARGV[4] then return 0 end
local displaced = {}
for i = 2, #KEYS do
  local session, resumedVersion = ARGV[2 * i + 1], ARGV[2 * i + 2]
  local stored = redis.call('GET', KEYS[i]) or ''
  local generation, owner = read(session)
  local storedGeneration, storedOwner = read(stored)
  local may = generation == storedGeneration and owner == storedOwner
  if resumedVersion ~= '' then may = may or redis.sha1hex(stored) == resumedVersion
  else may = may or storedGeneration < generation or (storedGeneration == generation and storedOwner == '') end
  if may then redis.call('SET', KEYS[i], session, 'EX', ARGV[1])
  else displaced[#displaced + 1] = i - 2 end
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return displaced
`);

/**
 * Loads a session, but only if Redis is still the server whose log this node has checked last. Otherwise the session
 * could be an outdated one of another master.
 */
const LOAD = script(`${HERE}
local server, role = here()
if server ~= ARGV[1] or role ~= 'master' then return 0 end
return redis.call('GET', KEYS[1])
`);

/** Deletes a session if its owner is still the given one, because another connection may have resumed it. */
const FORGET = script(`${READ}
local _, owner = read(redis.call('GET', KEYS[1]) or '')
if owner == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`);

/** The Lua scripts for sessions. They are loaded into Redis on each new connection. */
export const SESSION_SCRIPTS: readonly Script[] = [SAVE, LOAD, FORGET];

/** Stores sessions in Redis, on the server that holds the log. */
export class RedisSessionStore implements SessionStore {
  readonly #server: LogServer;
  #count = 0;

  /** Creates a store on the Redis server that holds the log. Sends nothing to Redis. */
  constructor(server: LogServer) {
    this.#server = server;
  }

  async save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>> {
    if (sessions.length === 0) return new Set();
    const { command, writable, node, server, saved, keys } = this.#server;
    let count = 0;
    const displaced = await command(async (client) => {
      await writable();
      count = ++this.#count;
      const reply = await runScript(client, SAVE, [
        keys.saves,
        ...sessions.map(({ digest }) => keys.session(digest)),
      ], [
        String(seconds),
        node,
        String(count),
        server(),
        ...sessions.flatMap(({ session, resumedVersion = "" }) => [
          formatSession(session),
          resumedVersion,
        ]),
      ]);
      if (!Array.isArray(reply)) throw moved();
      return reply.map((index: number) => sessions[index]?.digest ?? "");
    });
    saved(count);
    return new Set(displaced);
  }

  async load(digest: string): Promise<StoredSession | undefined> {
    const { command, server, keys } = this.#server;
    const text = await command(async (client) => {
      const reply = await runScript(
        client,
        LOAD,
        [keys.session(digest)],
        [server()],
      );
      if (reply === 0) throw moved();
      return reply;
    });
    if (typeof text !== "string") return undefined;
    const session = parseSession(text);
    return session && { session, version: versionOf(text) };
  }

  async forget(digest: string, owner: string): Promise<void> {
    const { command, keys } = this.#server;
    await command((client) =>
      runScript(client, FORGET, [keys.session(digest)], [owner])
    );
  }
}

/**
 * The stored form of a room in a session: the room's name and `since`. If the room has a notice, its `at` and its
 * number follow and, if the notice is a gap, the gap's reason.
 */
type StoredRoom = readonly [
  room: string,
  since: string,
  ...notice: readonly (string | number)[],
];

/**
 * Returns the stored form of a session. The script `SAVE` expects generation and owner as the first two fields. The
 * fields `user`, `grants`, `verdict`, `directed`, `left`, `seal` and `client` are last, and each is missing if the
 * session has none. An example with a room without a notice, and a room with a gap to confirm:
 *
 *     {"generation":2,"owner":"x1Yz","rooms":[["a","9-0"],["b","5-0","7-0",3,"trimmed"]],
 *      "epoch":"0123456789abcdef","lineage":"0123456789abcdef","overloaded":false}
 */
function formatSession(
  {
    generation,
    owner,
    rooms,
    epoch,
    lineage,
    overloaded = false,
    user,
    grants,
    verdict,
    directed,
    left,
    seal,
    inheritedId,
  }: Session,
): string {
  return JSON.stringify({
    generation,
    owner,
    rooms: rooms.map(formatRoom),
    epoch,
    lineage,
    overloaded,
    user,
    grants: formatGrants(grants),
    verdict,
    directed,
    left: left && [...left],
    seal,
    client: inheritedId,
  });
}

function formatRoom(
  [room, { since, notice }]: readonly [string, RoomPosition],
): StoredRoom {
  if (notice === undefined) return [room, since];
  const { at, number, gap } = notice;
  return gap === undefined
    ? [room, since, at, number]
    : [room, since, at, number, gap];
}

/** Returns the version of a stored session: the SHA-1 hash of its text, like `redis.sha1hex()` in a script. */
function versionOf(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

/** Reads a session from its stored form. Returns undefined if the text is not a stored session. */
function parseSession(text: string): Session | undefined {
  try {
    const { generation, owner = "", rooms, epoch, lineage, ...rest } = JSON
      .parse(text);
    const { overloaded, user, grants, directed, left, seal, client } = rest;
    const verdict = readKeptVerdict(rest.verdict);
    if (
      typeof epoch !== "string" || typeof lineage !== "string" ||
      typeof generation !== "number" || typeof owner !== "string" ||
      !/^(string|undefined)$/.test(typeof user) ||
      (directed !== undefined && !isId(directed)) ||
      (left !== undefined && !left.every(isText))
    ) return undefined;
    return {
      rooms: rooms.map(parseRoom),
      epoch,
      lineage,
      generation,
      owner,
      overloaded: overloaded === true,
      ...user !== undefined && { user },
      ...grants !== undefined && { grants: parseGrants(grants) },
      ...verdict !== undefined && { verdict },
      ...directed !== undefined && { directed },
      ...left !== undefined && { left: new Set(left) },
      ...typeof seal === "string" && { seal },
      ...isText(client) && isClientId(client) && { inheritedId: client },
    };
  } catch {
    return undefined;
  }
}

function isText(stored: unknown): stored is string {
  return typeof stored === "string";
}

function isId(stored: unknown): boolean {
  return typeof stored === "string" && /^\d+-\d+$/.test(stored);
}

/** Reads a room from its stored form. @throws {TypeError} If `stored` is not a {@linkcode StoredRoom}. */
function parseRoom(stored: unknown): readonly [string, RoomPosition] {
  const [room, since, ...notice] = stored as readonly unknown[];
  if (typeof room !== "string" || typeof since !== "string") {
    throw notASession();
  }
  if (notice.length === 0) return [room, { since }];
  return [room, { since, notice: parseNotice(notice) }];
}

function parseNotice(notice: readonly unknown[]): Notice {
  const [at, number, gap] = notice;
  if (typeof at !== "string" || typeof number !== "number") throw notASession();
  if (notice.length === 2) return { at, number };
  const reason = GAP_REASONS.find((reason) => reason === gap);
  if (notice.length > 3 || reason === undefined) throw notASession();
  return { at, number, gap: reason };
}

function notASession(): TypeError {
  return new TypeError("not a stored session");
}
