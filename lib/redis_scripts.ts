/**
 * The Lua scripts: what has to happen in Redis in one piece.
 *
 * All keys share one hash tag, so that every script also runs on one slot of a Redis Cluster, and every key is
 * declared.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { RedisClient } from "./redis.ts";

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
export async function run(
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
export async function load(
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

/**
 * Begins an epoch where there is none: neither log nor epoch may go missing without readers hearing of it, so a new
 * epoch is an entry of the log, in order with the rest. The epoch's key says its name and where that entry is.
 */
export const BEGIN = `${NOW}
local LOG = KEYS[1]
local function begin(candidate)
  local id = redis.call('XADD', LOG, '*', 'epoch', candidate)
  redis.call('SET', KEYS[2], candidate .. '@' .. id)
end
`;

/**
 * Writes a message into the log and its room's history: both or none. `write(room, history, message)` answers its id,
 * or `!` and why not. Needs `LENGTH`, `SIZE` and `SECONDS` (entries of the log; entries and seconds of a history).
 */
export const WRITE = `
local pcall, kept = redis.pcall, {}
local function write(room, history, message)
  local id = pcall('XADD', LOG, 'MAXLEN', '~', LENGTH, '*', 'room', room, 'message', message)
  if type(id) == 'table' then return '!' .. id.err end
  local added = pcall('XADD', history, 'MAXLEN', '~', SIZE, id, 'message', message)
  if type(added) == 'table' and string.find(added.err, 'equal or smaller') then
    redis.call('DEL', history)
    added = pcall('XADD', history, id, 'message', message)
  end
  if type(added) == 'table' then
    redis.call('XDEL', LOG, id)
    return '!' .. added.err
  end
  if not kept[history] then
    kept[history] = true
    redis.call('EXPIRE', history, SECONDS)
  end
  return id
end
`;

/**
 * The only writer. Takes any number of publishes, each for any number of rooms, and answers `{now, item, …}` with an
 * item for each room of each publish: `id` (appended), `=id` (known by its key), `~` (key known with another
 * message), `!error` (not in the log). A publish without rooms is a probe: an entry that readers recognise and nobody
 * receives.
 *
 * KEYS: log, epoch, the histories of all rooms, the keys of all publishes that have one.
 * ARGV: candidate epoch; last moment to run, in ms of this Redis' clock; entries of the log; entries and seconds of a
 * history; seconds of a key; number of rooms; their names; then for each publish: fingerprint ('' without a key),
 * message, number of rooms, and the rooms' places in the list.
 *
 * Not run when it is late: a publish that was answered with 503 while Redis was paused must not appear afterwards.
 * A history is trimmed roughly here and exactly where it is read: exact trimming walks over the deleted entries of a
 * block each time, which made an append three times as dear.
 */
export const APPEND = script(`${BEGIN}
if now > tonumber(ARGV[2]) then return {now, 'late'} end
local LENGTH, SIZE, SECONDS = ARGV[3], ARGV[4], ARGV[5]
local rooms = tonumber(ARGV[7])
if redis.call('EXISTS', LOG, KEYS[2]) < 2 then begin(ARGV[1]) end
local answer, n = {now}, 1
${WRITE}
local function append(room, message)
  return write(ARGV[7 + room], KEYS[2 + room], message)
end
local function once(key, fingerprint, message, first, count)
  local known, value = {}, pcall('GET', key)
  if type(value) == 'string' then
    for word in string.gmatch(value, '%S+') do known[#known + 1] = word end
  end
  if known[1] and known[1] ~= fingerprint then
    for r = 1, count do answer[n + r] = '~' end
    return
  end
  local remember = {fingerprint}
  for r = 1, count do
    local id = known[r + 1]
    if id and id ~= '-' then
      answer[n + r] = '=' .. id
    else
      id = append(tonumber(ARGV[first + r]), message)
      answer[n + r] = id
      if string.sub(id, 1, 1) == '!' then id = '-' end
    end
    remember[r + 1] = id
  end
  remember = table.concat(remember, ' ')
  if known[1] then pcall('SET', key, remember, 'KEEPTTL')
  else pcall('SET', key, remember, 'EX', ARGV[6]) end
end
local key, a, last = 3 + rooms, 8 + rooms, #ARGV
while a <= last do
  local fingerprint, message, count = ARGV[a], ARGV[a + 1], tonumber(ARGV[a + 2])
  if count == 0 then
    redis.call('XADD', LOG, 'MAXLEN', '~', LENGTH, '*', 'probe', message)
  elseif fingerprint ~= '' then
    once(KEYS[key], fingerprint, message, a + 2, count)
    key = key + 1
  else
    for r = 1, count do answer[n + r] = append(tonumber(ARGV[a + 2 + r]), message) end
  end
  n, a = n + count, a + 3 + count
end
return answer
`);

/**
 * Compares what a reader believes with what is there, and begins a new epoch where that cannot both be true: the log
 * is gone (`FLUSHALL`, a restart without persistence) or lacks what the reader has read (a restart that lost its tail,
 * a fail-over to a replica that was behind).
 *
 * KEYS: log, epoch. ARGV: candidate epoch; the reader's epoch ('' at its start); the id it read up to; '1' where that
 * is an entry it has seen.
 * Answers `{now, epoch, id of the epoch's entry, last id of the log, '1' where entries after the reader's id may have
 * been trimmed}`.
 */
export const CHECK = script(`${BEGIN}
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function below(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  return ams < bms or (ams == bms and aseq < bseq)
end
local function look()
  local info, log = redis.call('XINFO', 'STREAM', KEYS[1]), {}
  for i = 1, #info, 2 do log[info[i]] = info[i + 1] end
  return log['last-generated-id'], log['first-entry'] and log['first-entry'][1]
end
if redis.call('EXISTS', KEYS[1], KEYS[2]) < 2 then begin(ARGV[1]) end
local value = redis.call('GET', KEYS[2])
local last, first = look()
local cut = '0'
if ARGV[2] ~= '' and ARGV[2] == string.match(value, '^(.-)@') then
  local missing = ARGV[4] == '1' and #redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3]) == 0
  if below(last, ARGV[3]) or (missing and first and not below(ARGV[3], first)) then
    begin(ARGV[1])
    value = redis.call('GET', KEYS[2])
    last = look()
  elseif missing and last ~= ARGV[3] then
    cut = '1'
  end
end
local epoch, id = string.match(value, '^(.-)@(.*)$')
return {now, epoch, id, last, cut}
`);

/**
 * Reads a part of a room's history and what is needed to tell whether it is whole.
 *
 * A history keeps one entry more than is shown: the oldest tells where trimming has cut.
 *
 * KEYS: log, epoch, history. ARGV: 'asc' or 'desc'; an exclusive id to start from, or ''; how many; entries of a
 * history; ms of a history; how many bytes may come before the last entry.
 * Answers `{now, epoch, id of the epoch's entry, last id of the log, entries, the history's length, entries added to
 * it since it was last cleared, its oldest id, the id up to which it was cleared, bytes of the
 * entries}`.
 */
export const HISTORY = script(`${BEGIN}
local value = redis.call('GET', KEYS[2]) or '@0-0'
local epoch, began = string.match(value, '^(.-)@(.*)$')
local function look(key)
  local info, stream = redis.pcall('XINFO', 'STREAM', key), {}
  if info.err and string.find(info.err, 'no such key') then return stream end
  if info.err then error(info.err) end
  for i = 1, #info, 2 do stream[info[i]] = info[i + 1] end
  return stream
end
local log, history = look(KEYS[1]), look(KEYS[3])
if (history['length'] or 0) > tonumber(ARGV[4]) then
  redis.call('XTRIM', KEYS[3], 'MAXLEN', ARGV[4])
  history = look(KEYS[3])
end
local oldest = string.format('%.0f-0', math.max(0, now - ARGV[5]))
local from, entries, bytes = ARGV[2], {}, 0
local command, first, last = 'XRANGE', nil, '+'
if ARGV[1] == 'desc' then
  command, last = 'XREVRANGE', oldest
  first = from == '' and '+' or from == '0-0' and from or '(' .. from
elseif from == '' or tonumber(string.match(from, '^%d+')) < now - ARGV[5] then first = oldest
else first = '(' .. from end
while #entries < tonumber(ARGV[3]) and bytes < tonumber(ARGV[6]) do
  local some = redis.call(command, KEYS[3], first, last, 'COUNT', math.min(128, ARGV[3] - #entries))
  for _, entry in ipairs(some) do
    entries[#entries + 1] = entry
    bytes = bytes + #(entry[2][2] or '')
    first = '(' .. entry[1]
    if bytes >= tonumber(ARGV[6]) then break end
  end
  if #some < 128 then break end
end
return {now, epoch, began, log['last-generated-id'] or '0-0', entries, history['length'] or 0,
  history['entries-added'] or 0, history['first-entry'] and history['first-entry'][1] or '0-0',
  history['max-deleted-entry-id'] or '0-0', bytes}
`);

/**
 * Empties a room's history and leaves up to where: KEYS: history. A room without one stays without.
 */
export const CLEAR = script(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
local info, stream = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #info, 2 do stream[info[i]] = info[i + 1] end
local last = stream['last-generated-id']
redis.call('XSETID', KEYS[1], last, 'ENTRIESADDED', 0, 'MAXDELETEDID', last)
return 1
`);

/** All of the log's. */
export const LOG_SCRIPTS: readonly Script[] = [APPEND, CHECK, HISTORY, CLEAR];
