/**
 * The Lua scripts that read and clear a room's history.
 *
 * @module
 */
import { RUN, type Script, script } from "./redis_scripts.ts";

/**
 * Reads a part of a room's history and what is needed to tell whether it is whole: runs, see {@linkcode RUN}. The first
 * and the last of them may hold messages beyond what was asked for.
 *
 * A history keeps at least one message more than is shown: the newest hidden one tells where trimming has cut.
 *
 * KEYS: log, epoch, history. ARGV: 'asc' or 'desc'; an exclusive id to start from, or ''; how many messages at least;
 * messages of a history; ms of a history; how many bytes may come before the last run.
 * Answers `{now, epoch, id of the epoch's entry, last id of the log, runs, messages so far, its oldest run, the id up
 * to which it was cleared, 1 where it stopped because that is enough}`.
 */
export const HISTORY = script(`${RUN}
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
local total, head = upTo(history['last-entry']), history['first-entry']
if head and total - upTo(head) >= tonumber(ARGV[4]) then
  trim(KEYS[3], tonumber(ARGV[4]), total, math.huge, 0, math.huge)
  head = look(KEYS[3])['first-entry']
end
local from, limit, bytesMax = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[6])
local oldest = string.format('%.0f-0', math.max(0, now - ARGV[5]))
local entries, bytes = {}, 0
local function take(entry)
  entries[#entries + 1] = entry
  bytes = bytes + #(entry[2][4] or '')
end
local command, first, last = 'XRANGE', nil, '+'
if ARGV[1] == 'desc' then
  command, last, first = 'XREVRANGE', oldest, '+'
  if from ~= '' then
    -- The run that ends at the id or after it may begin before it.
    local around = redis.call('XRANGE', KEYS[3], from, '+', 'COUNT', 1)[1]
    if around then take(around) end
    first = from == '0-0' and from or '(' .. from
  end
elseif from == '' or tonumber(string.match(from, '^%d+')) < now - ARGV[5] then first = oldest
else first = '(' .. from end
local start, enough = #entries + 1, false
repeat
  local some = redis.call(command, KEYS[3], first, last, 'COUNT', 64)
  for _, entry in ipairs(some) do
    take(entry)
    first = '(' .. entry[1]
    enough = bytes >= bytesMax or math.abs(upTo(entry) - upTo(entries[start])) >= limit
    if enough then break end
  end
until #some < 64 or enough
return {now, epoch, began, log['last-generated-id'] or '0-0', entries, total,
  {head or nil}, history['max-deleted-entry-id'] or '0-0', enough and 1 or 0}
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

/** All of them. */
export const HISTORY_SCRIPTS: readonly Script[] = [HISTORY, CLEAR];
