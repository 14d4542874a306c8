/**
 * Sessions: what a client that vanished gets back, on whatever node it comes back to.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ApiError } from "../errors.ts";
import type { Keys } from "../redis/keys.ts";
import { randomText } from "../util/random.ts";
import { GAP_REASONS, type GapReason } from "../log/gaps.ts";
import type { RedisClient } from "../redis/connection.ts";
import { HERE, run, type Script, script } from "../redis_log/scripts.ts";

/**
 * How a client is in a room: the id after which what comes is its own. Where it was told something that it may never
 * have got, with it the id at which it was told, and the telling's number: of messages in the answer to its join, when
 * `since` is the id before the first of them; or of a gap, and then its reason.
 */
export type RoomPosition =
  | readonly [since: string]
  | readonly [since: string, at: string, number: number]
  | readonly [since: string, at: string, number: number, gap: GapReason];

/** What is remembered of a client. Where it is in the log it says itself. */
export interface Session {
  /** Its rooms. */
  readonly rooms: readonly (readonly [room: string, ...joined: RoomPosition])[];
  /** The log's epoch and lineage when it was last saved. */
  readonly epoch: string;
  readonly lineage: string;
  /** How often it has been taken up: of two connections with one session, the higher is the living one. */
  readonly generation: number;
  /**
   * A random name of the connection that has taken it up. Empty in a session that was saved by a node of before
   * 2026-11-29.
   */
  readonly owner: string;
  /** Its client was cut off because it did not read. */
  readonly overloaded?: boolean;
}

/** A session to save. */
export interface SessionToSave {
  readonly digest: string;
  readonly session: Session;
  /**
   * The version of the session that a connection takes up with this one. Saved only if it is still that version: a
   * client may have given up on this connection, and joined rooms by another.
   */
  readonly takesUp: string | undefined;
}

/** A session as it was found, and a name of exactly this state of it. */
export interface StoredSession {
  readonly session: Session;
  readonly version: string;
}

/** Where sessions are kept. Secrets go in, only their digests are stored. */
export interface SessionStore {
  /**
   * Remembers sessions, each for `seconds` from now. One that another connection has taken up stays as it is, because
   * an older save may arrive late. Returns the digests of those.
   */
  save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>>;
  /** A session, or undefined where none is remembered. */
  load(digest: string): Promise<StoredSession | undefined>;
  /** Forgets a session: its client has left for good. */
  forget(digest: string): Promise<void>;
}

/** A new connection's name in its session. */
export function newOwner(): string {
  return randomText(9);
}

/** A new session's secret, 144 random bits: whoever shows it gets the session's rooms. */
export function newSessionSecret(): string {
  return randomText(18);
}

/** What a secret is stored under, so that reading Redis is not enough to take a session over. */
export function hashSessionSecret(pid: string): string {
  return createHash("sha256").update(pid).digest("base64url");
}

/**
 * Saves many at once: a command for each has a timer and a promise for each, which cost more than the saving. Notes
 * with it how many times the node has saved, so that the check can tell whether a Redis that was promoted or restored
 * has the newest sessions.
 */
const SAVE = script(`${HERE}
if here() ~= ARGV[4] then return 0 end
-- Without an owner: as it was saved before there were any.
local function read(text)
  local generation, owner = string.match(text, '^{"generation":(%d+),"owner":"([^"]*)"')
  return tonumber(generation or string.match(text, '^{"generation":(%d+),')) or 0, owner or ''
end
local displaced = {}
for i = 2, #KEYS do
  local session, takesUp = ARGV[2 * i + 1], ARGV[2 * i + 2]
  local stored = redis.call('GET', KEYS[i]) or ''
  local generation, owner = read(session)
  local storedGeneration, storedOwner = read(stored)
  local may = generation == storedGeneration and owner == storedOwner
  if takesUp ~= '' then may = may or redis.sha1hex(stored) == takesUp
  else may = may or storedGeneration < generation or (storedGeneration == generation and storedOwner == '') end
  if may then redis.call('SET', KEYS[i], session, 'EX', ARGV[1])
  else displaced[#displaced + 1] = i - 2 end
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return displaced
`);

/**
 * Loads a session, if the server is still the one that the node has checked. The node's reader may notice later than
 * this that a master has become the replica of another one, and has that one's sessions.
 */
const LOAD = script(`${HERE}
local server, role = here()
if server ~= ARGV[1] or role ~= 'master' then return 0 end
return redis.call('GET', KEYS[1])
`);

/** The scripts of sessions. */
export const SESSION_SCRIPTS: readonly Script[] = [SAVE, LOAD];

/** What {@linkcode RedisSessionStore} needs. */
export interface RedisSessionStoreOptions {
  /** Runs a command on Redis in bounded time. @throws {ApiError} `log_…` */
  readonly command: <T>(
    command: (client: RedisClient) => Promise<T>,
  ) => Promise<T>;
  /** Resolves, in bounded time, when what is written is accounted for; rejects if it would not be. */
  readonly writable: () => Promise<void>;
  /** This node's name. */
  readonly node: string;
  /** The server that this node has checked last. */
  readonly server: () => string;
  /** Redis has acknowledged the `count`th saving. */
  readonly saved: (count: number) => void;
  readonly keys: Keys;
}

/** Sessions in Redis. */
export class RedisSessionStore implements SessionStore {
  readonly #options: RedisSessionStoreOptions;
  #count = 0;

  /** Saves and loads nothing yet. */
  constructor(options: RedisSessionStoreOptions) {
    this.#options = options;
  }

  async save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>> {
    if (sessions.length === 0) return new Set();
    const { command, writable, node, server, saved, keys } = this.#options;
    let count = 0;
    const displaced = await command(async (client) => {
      await writable();
      count = ++this.#count;
      const reply = await run(client, SAVE, [
        keys.saves,
        ...sessions.map(({ digest }) => keys.session(digest)),
      ], [
        String(seconds),
        node,
        String(count),
        server(),
        ...sessions.flatMap(({ session, takesUp = "" }) => [
          formatSession(session),
          takesUp,
        ]),
      ]);
      if (!Array.isArray(reply)) throw moved();
      return reply.map((index: number) => sessions[index]?.digest ?? "");
    });
    saved(count);
    return new Set(displaced);
  }

  async load(digest: string): Promise<StoredSession | undefined> {
    const { command, server, keys } = this.#options;
    const text = await command(async (client) => {
      const reply = await run(
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

  async forget(digest: string): Promise<void> {
    const { command, keys } = this.#options;
    await command((client) =>
      client.sendCommand(["DEL", keys.session(digest)])
    );
  }
}

function moved(): ApiError {
  return new ApiError(
    "log_unreachable",
    "Cannot reach the session: Redis has failed over since this node last looked; try again later",
  );
}

/** Most sessions of an embedded node that may outlive their clients; at the bound the oldest is forgotten. */
const SESSIONS_MAX = 100_000;

/** Sessions in this process' memory. */
export class MemorySessionStore implements SessionStore {
  readonly #sessions = new Map<string, StoredSession & { expires: number }>();
  #versions = 0;

  save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>> {
    const now = performance.now();
    const displaced = new Set<string>();
    for (const { digest, session, takesUp } of sessions) {
      if (!mayReplace(this.#sessions.get(digest), session, takesUp)) {
        displaced.add(digest);
        continue;
      }
      this.#sessions.delete(digest);
      this.#sessions.set(digest, {
        session,
        version: String(++this.#versions),
        expires: now + seconds * 1000,
      });
    }
    for (const [oldest, { expires }] of this.#sessions) {
      if (expires > now && this.#sessions.size <= SESSIONS_MAX) break;
      this.#sessions.delete(oldest);
    }
    return Promise.resolve(displaced);
  }

  load(digest: string): Promise<StoredSession | undefined> {
    const found = this.#sessions.get(digest);
    return Promise.resolve(
      found !== undefined && found.expires > performance.now()
        ? found
        : undefined,
    );
  }

  forget(digest: string): Promise<void> {
    this.#sessions.delete(digest);
    return Promise.resolve();
  }
}

/** As the script SAVE decides it. */
function mayReplace(
  stored: StoredSession | undefined,
  { generation, owner }: Session,
  takesUp: string | undefined,
): boolean {
  const kept = stored?.session;
  return (kept?.generation === generation && kept.owner === owner) ||
    (takesUp === undefined
      ? (kept?.generation ?? 0) < generation
      : stored?.version === takesUp);
}

/** The generation and the owner come first, where the script looks for them. */
function formatSession({ generation, owner, ...rest }: Session): string {
  return JSON.stringify({ generation, owner, ...rest });
}

/** As `redis.sha1hex()` in a script. */
function versionOf(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

/** Reads what Redis holds; what is none of ours is no session. */
function parseSession(text: string): Session | undefined {
  try {
    const { rooms, epoch, lineage, generation, owner = "", overloaded } = JSON
      .parse(text);
    const sound = Array.isArray(rooms) && rooms.every(isPlace) &&
      typeof epoch === "string" &&
      typeof lineage === "string" &&
      typeof generation === "number" &&
      typeof owner === "string";
    return sound
      ? {
        rooms,
        epoch,
        lineage,
        generation,
        owner,
        overloaded: overloaded === true,
      }
      : undefined;
  } catch {
    return undefined;
  }
}

function isPlace(place: unknown): boolean {
  if (!Array.isArray(place)) return false;
  const [room, since, at, number, gap] = place;
  return typeof room === "string" && typeof since === "string" &&
    (place.length === 2 ||
      (place.length <= 5 && typeof at === "string" &&
        typeof number === "number" &&
        (place.length === 4 || GAP_REASONS.includes(gap))));
}
