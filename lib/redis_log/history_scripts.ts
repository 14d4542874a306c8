/**
 * The Lua scripts that read and clear a room's history.
 *
 * @module
 */
import { type Script, script } from "../redis/script.ts";
import { BATCH } from "./batch_script.ts";

/**
 * Reads batch entries of a room's history (described at {@linkcode BATCH}), and the data that shows whether messages
 * are missing. The first and the last returned entry may contain messages outside the requested range.
 *
 * A history keeps at least one message more than may be returned, because the extra message gives the id up to which
 * the history was trimmed.
 *
 * Entries with a later id than the log's last id are ignored: another program wrote them, or they belong to an earlier
 * epoch.
 *
 * KEYS: log, epoch, known rooms, history. ARGV: 'asc' or 'desc'; an exclusive id to start from, or ''; number of
 * messages after which reading may stop, or 0 to read none; maximum messages of a history; maximum age of a message in
 * ms; number of bytes after which reading may stop; the room.
 *
 * Returns `{now, epoch, id of the epoch's entry, last id of the log, entries, messages in the history so far, list with
 * the history's oldest entry, id up to which the history was cleared, 1 if reading stopped at the limit of messages or
 * bytes, otherwise 0, result of lost() in known_rooms.ts or '0-0', the history's last id}`.
 */
export const HISTORY = script(`${BATCH}
local value = redis.pcall('GET', KEYS[2])
local epoch, began = string.match(type(value) == 'string' and value or '', '^([0-9a-z]+)@(%d+%-%d+)$')
epoch, began = epoch or '', began or '0-0'
local log, history = inspect(KEYS[1]), inspect(KEYS[4])
local upper = log['last-generated-id'] or '+'
-- Returns the entry, or a false value if the entry's id is later than the log's last id.
local function within(entry)
  if not entry or upper == '+' then return entry end
  local ms, seq = string.match(entry[1], '^(%d+)-(%d+)$')
  local lastMs, lastSeq = string.match(upper, '^(%d+)-(%d+)$')
  if ms == lastMs then return tonumber(seq) <= tonumber(lastSeq) and entry end
  return tonumber(ms) < tonumber(lastMs) and entry
end
-- Returns the number of messages up to the newest batch entry, after which there may be entries of another program.
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
if limit == 0 then command = nil
elseif ARGV[1] == 'desc' then
  command, last, first = 'XREVRANGE', oldest, upper
  if from ~= '' then
    -- The first entry whose last message has this id or a later one may also contain messages before the id.
    local around = redis.call('XRANGE', KEYS[4], from, upper, 'COUNT', 1)[1]
    if around then take(around) end
    first = from == '0-0' and from or '(' .. from
  end
elseif from == '' or tonumber(string.match(from, '^%d+')) < now - ARGV[5] then first = oldest
else first = '(' .. from end
local start, enough = #entries + 1, false
while command do
  local some = redis.call(command, KEYS[4], first, last, 'COUNT', 64)
  for _, entry in ipairs(some) do
    take(entry)
    first = '(' .. entry[1]
    enough = bytes >= bytesMax or math.abs(upTo(entry) - upTo(entries[start])) >= limit
    if enough then break end
  end
  if #some < 64 or enough then break end
end
return {now, epoch, began, log['last-generated-id'] or '0-0', entries, total,
  {head or nil}, history['max-deleted-entry-id'] or '0-0', enough and 1 or 0,
  lost(ARGV[7], KEYS[4], history, upTo(head) > 0, now - ARGV[5]) or '0-0', history['last-generated-id'] or '0-0'}
`);

/**
 * Removes all messages of a room's history, and records in the history the id up to which messages were removed. Does
 * nothing if the room has no history. KEYS: history.
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

/** The Lua scripts that read and clear histories. They are loaded into Redis on each new connection. */
export const HISTORY_SCRIPTS: readonly Script[] = [HISTORY, CLEAR];
