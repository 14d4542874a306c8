/**
 * Keeps directives in Redis, on the server that holds the log: in a stream, in the order in which all nodes apply them.
 *
 * @module
 */
import { timestampOf } from "../log/position.ts";
import type { RedisClient } from "../redis/connection.ts";
import { logMoved, type LogServer } from "../redis/log_server.ts";
import { HERE, NOW, runScript, type Script, script } from "../redis/script.ts";
import {
  type Directive,
  type DirectiveRequest,
  DIRECTIVES_MAX,
} from "./directives.ts";
import {
  type DirectiveChanges,
  type DirectiveStore,
  EMPTY_VERSION,
  tooManyDirectives,
} from "./store.ts";

const moved = () => logMoved("the joins, leaves and disconnects of backends");

/** Number of directives that are read or written with one command, so that no command takes long. */
const PAGE = 1000;
/** The field of an entry, which holds the directive as JSON. */
const FIELD = "d";

/**
 * How long the key stays in Redis after all directives have become too old, in ms. A node that cannot reach Redis for
 * less than that finds out whether directives that it has not read were deleted meanwhile.
 */
const MARKER_MS = 86_400_000;

/**
 * Stores directives, and deletes those that are too old, except the newest of these. If the stream lacks an id, then
 * directives after this id were deleted. Returns the id of the last directive, `full` if there are too many, or 0 if
 * this is another server.
 *
 * ARGV: the server, how long directives are kept in ms, how many may be stored, the time in ms that ids must have at
 * least, then the directives.
 */
const ADD = script(`${HERE}${NOW}
if here() ~= ARGV[1] then return 0 end
local newestOld = string.format('%.0f', now - tonumber(ARGV[2]) - 1)
local marker = redis.call('XREVRANGE', KEYS[1], newestOld, '-', 'COUNT', 1)[1]
if marker then redis.call('XTRIM', KEYS[1], 'MINID', marker[1]) end
local count = redis.call('XLEN', KEYS[1]) - (marker and 1 or 0)
if count >= tonumber(ARGV[3]) then return 'full' end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local time = math.max(now, tonumber(ARGV[4]))
if last then time = math.max(time, tonumber(string.match(last[1], '^%d+'))) end
local id
for i = 5, #ARGV do
  id = redis.call('XADD', KEYS[1], string.format('%.0f-*', time), '${FIELD}', ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2] + ${MARKER_MS})
return id
`);

/**
 * Returns the time, the id of the newest directive, and whether the one with the given id is still stored. Returns 0 if
 * this is another server.
 */
const CHECK = script(`${HERE}${NOW}
local server, role = here()
if server ~= ARGV[1] or role ~= 'master' then return 0 end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local since = ARGV[2]
local isKnown = string.match(since, '^%d+-%d+$') and #redis.call('XRANGE', KEYS[1], since, since) > 0
return { string.format('%.0f', now), newest and newest[1] or '${EMPTY_VERSION}', isKnown and 1 or 0 }
`);

/** The Lua scripts for directives. They are loaded into Redis on each new connection. */
export const DIRECTIVE_SCRIPTS: readonly Script[] = [ADD, CHECK];

type StreamEntry = readonly [id: string, fields: readonly string[]];

/** Stores directives in Redis, on the server that holds the log. */
export class RedisDirectiveStore implements DirectiveStore {
  readonly #server: LogServer;
  readonly #retentionMs: number;
  readonly #max: number;

  /** Creates a store on the Redis server that holds the log. Sends nothing to Redis. */
  constructor(server: LogServer, retentionMs: number, max = DIRECTIVES_MAX) {
    this.#server = server;
    this.#retentionMs = retentionMs;
    this.#max = max;
  }

  async changes(since: string | undefined): Promise<DirectiveChanges> {
    const { command, server, keys } = this.#server;
    const reply = await command((client) =>
      runScript(client, CHECK, [keys.directives], [server(), since ?? ""])
    ) as 0 | [now: string, newest: string, isKnown: 0 | 1];
    if (reply === 0) throw moved();
    const [now, newest, isKnown] = reply;
    const isWhole = isKnown === 0;
    const directives: Directive[] = [];
    let version = isWhole ? EMPTY_VERSION : since ?? EMPTY_VERSION;
    let isDone = newest === version;
    while (!isDone) {
      const page = await this.#read(version);
      for (const [id, fields] of page) {
        const directive = parse(id, fields);
        if (directive !== undefined) directives.push(directive);
        version = id;
      }
      isDone = page.length < PAGE;
    }
    return { version, isWhole, directives, now: Number(now) };
  }

  async add(
    request: DirectiveRequest,
    floor: string | undefined,
  ): Promise<string> {
    const reply = await this.#store([format(request)], floor, this.#max);
    if (reply === "full") throw tooManyDirectives(request);
    return reply;
  }

  async restore(directives: readonly Directive[]): Promise<void> {
    for (let i = 0; i < directives.length; i += PAGE) {
      const some = directives.slice(i, i + PAGE).map(format);
      await this.#store(some, undefined, 2 * this.#max);
    }
  }

  async #store(
    stored: readonly string[],
    floor: string | undefined,
    max: number,
  ): Promise<string> {
    const { command, writable, server, keys } = this.#server;
    const least = floor === undefined ? 0 : timestampOf(floor) + 1;
    const reply = await command(async (client) => {
      await writable();
      return await runScript(client, ADD, [keys.directives], [
        server(),
        String(this.#retentionMs),
        String(max),
        String(least),
        ...stored,
      ]);
    });
    if (typeof reply !== "string") throw moved();
    return reply;
  }

  /** Reads some entries after the one with the id `after`, or from the first on if that is {@linkcode EMPTY_VERSION}. */
  async #read(after: string): Promise<StreamEntry[]> {
    const { command, keys } = this.#server;
    return await command((client: RedisClient) =>
      client.sendCommand([
        "XRANGE",
        keys.directives,
        after === EMPTY_VERSION ? "-" : `(${after}`,
        "+",
        "COUNT",
        String(PAGE),
      ])
    ) as unknown as StreamEntry[];
  }
}

/** Returns the stored form: a JSON list. A directive that is stored again has its first id at the end. */
function format(
  { kind, target: { by, name }, room, id }: DirectiveRequest & { id?: string },
): string {
  const fields = [kind, by, name, room];
  return JSON.stringify(id === undefined ? fields : [...fields, id]);
}

/** Reads a directive from its entry. Returns undefined if another program has written something else. */
function parse(
  entryId: string,
  [field, text = ""]: readonly string[],
): Directive | undefined {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (field !== FIELD || !Array.isArray(fields)) return undefined;
  const [kind, by, name, room, id = entryId] = fields;
  const isDirective = (kind === "join" || kind === "leave" ||
    kind === "disconnect") &&
    (by === "user" || by === "client") &&
    typeof name === "string" && typeof room === "string" &&
    (room === "") === (kind === "disconnect") &&
    typeof id === "string" && /^\d+-\d+$/.test(id);
  return isDirective ? { kind, target: { by, name }, room, id } : undefined;
}
