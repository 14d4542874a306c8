/**
 * The Lua scripts that read and clear a room's history.
 *
 * @module
 */
import { type Script, script } from "../redis/script.ts";
import { BATCH } from "./batch_script.ts";

/**
 * Reads batch entries of a room's history (see {@linkcode BATCH}), and the data that shows whether messages are
 * missing. The first and the last entry may hold messages beyond the range.
 *
 * A history keeps at least one message more than is returned, because the newest message that is not returned shows
 * where the history was trimmed.
 *
 * Entries with a later id than the log's last are not read: another program wrote them, or they belong to an earlier
 * epoch.
 *
 * KEYS: log, epoch, known rooms, history. ARGV: 'asc' or 'desc'; an exclusive id to start from, or ''; the least number
 * of messages; messages of a history; ms of a history; how many bytes may come before the last entry; the room. Returns
 * `{now, epoch, id of the epoch's entry, last id of the log, entries, messages so far, the oldest entry, the id up to
 * which it was cleared, 1 if it stopped because that is enough, the result of lost() in known_rooms.ts, the history's
 * last id}`.
 */
export const HISTORY = script(`${BATCH}
local value = redis.pcall('GET', KEYS[2])
local epoch, began = string.match(type(value) == 'string' and value or '', '^([0-9a-z]+)@(%d+%-%d+)$')
epoch, began = epoch or '', began or '0-0'
local log, history = inspect(KEYS[1]), inspect(KEYS[4])
local upper = log['last-generated-id'] or '+'
-- Returns the entry, unless its id is later than the log's last.
local function within(entry)
  if not entry or upper == '+' then return entry end
  local ms, seq = string.match(entry[1], '^(%d+)-(%d+)$')
  local lastMs, lastSeq = string.match(upper, '^(%d+)-(%d+)$')
  if ms == lastMs then return tonumber(seq) <= tonumber(lastSeq) and entry end
  return tonumber(ms) < tonumber(lastMs) and entry
end
-- Returns the number of messages up to the newest batch entry. Entries of another program may come after it.
local function upToNewest()
  local entry, last = within(history['last-entry']), upper
  for _ = 1, 64 do
    if entry and upTo(entry) > 0 then return upTo(entry) end
    entry = redis.call('XREVRANGE', KEYS[4], last, '-', 'COUNT', 1)[1]
    if not entry then return 0 end
    last = '(' .. entry[1]
  end
  return 0
end
local total, head = history['last-entry'] and upToNewest() or 0, within(history['first-entry'])
if head and total - upTo(head) >= tonumber(ARGV[4]) then
  trim(KEYS[4], tonumber(ARGV[4]), total, math.huge, 0, math.huge)
  head = within(inspect(KEYS[4])['first-entry'])
end
local from, limit, bytesMax = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[6])
local oldest = string.format('%.0f-0', math.max(0, now - ARGV[5]))
local entries, bytes = {}, 0
local function take(entry)
  entries[#entries + 1] = entry
  bytes = bytes + #(entry[2][4] or '')
end
local command, first, last = 'XRANGE', nil, upper
if ARGV[1] == 'desc' then
  command, last, first = 'XREVRANGE', oldest, upper
  if from ~= '' then
    -- The entry that ends at the id or after it may begin before it.
    local around = redis.call('XRANGE', KEYS[4], from, upper, 'COUNT', 1)[1]
    if around then take(around) end
    first = from == '0-0' and from or '(' .. from
  end
elseif from == '' or tonumber(string.match(from, '^%d+')) < now - ARGV[5] then first = oldest
else first = '(' .. from end
local start, enough = #entries + 1, false
repeat
  local some = redis.call(command, KEYS[4], first, last, 'COUNT', 64)
  for _, entry in ipairs(some) do
    take(entry)
    first = '(' .. entry[1]
    enough = bytes >= bytesMax or math.abs(upTo(entry) - upTo(entries[start])) >= limit
    if enough then break end
  end
until #some < 64 or enough
return {now, epoch, began, log['last-generated-id'] or '0-0', entries, total,
  {head or nil}, history['max-deleted-entry-id'] or '0-0', enough and 1 or 0,
  lost(ARGV[7], KEYS[4], history, upTo(head) > 0, now - ARGV[5]) or '0-0', history['last-generated-id'] or '0-0'}
`);

/** Empties a room's history, if it has one, and records the id up to which it was cleared. KEYS: history. */
export const CLEAR = script(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
local info, stream = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #info, 2 do stream[info[i]] = info[i + 1] end
local last = stream['last-generated-id']
redis.call('XSETID', KEYS[1], last, 'ENTRIESADDED', 0, 'MAXDELETEDID', last)
return 1
`);

/** The scripts of histories. */
export const HISTORY_SCRIPTS: readonly Script[] = [HISTORY, CLEAR];
