/**
 * Lua code that writes to the log: it begins epochs, and appends batches of messages.
 *
 * All keys share one hash tag, so that each script uses only one slot of a Redis Cluster. Scripts use only keys that
 * their caller passes in KEYS, as a Redis Cluster requires.
 *
 * @module
 */
import { HERE, NOW } from "../redis/script.ts";
import { KNOWN_ROOMS, LOST_MESSAGES } from "./known_rooms.ts";

/**
 * Lua that begins an epoch if the log or the key of its epoch is missing. A new epoch begins with an entry of the log,
 * so that all nodes read it in order with the messages. The epoch's key holds the epoch's name and the id of this
 * entry. The hash `server` holds the Redis server for which the epoch is confirmed, with that server's replication
 * history (`docs/decisions/0014-epochs-and-fail-over.md`).
 *
 * A script that embeds this code takes log, epoch, known rooms and server as its first four KEYS. The set of known
 * rooms (`lib/redis_log/known_rooms.ts`) has every room with a message of the epoch. The script can use `now` and call:
 *
 * - `inspectLog()`: returns the reply of `XINFO STREAM` for the log as a table, or nil if there is no log.
 * - `free(log, candidate)`: returns the next free id, as milliseconds and sequence. `candidate` gives every id a random
 *   part, so that an old master and a promoted replica never give the same id to different entries.
 * - `add(candidate, length, ...)`: adds an entry without messages to the log, and returns the entry's id.
 * - `ensure(candidate)`: returns the same as `inspectLog()`, but first begins an epoch with the name `candidate` if the
 *   log or its epoch is missing or unusable.
 */
export const BEGIN = `${NOW}${KNOWN_ROOMS}${HERE}
local function inspectLog()
  local info, log = redis.pcall('XINFO', 'STREAM', KEYS[1]), {}
  if info.err and string.find(info.err, 'no such key') then return nil end
  if info.err then error(info.err) end
  for i = 1, #info, 2 do log[info[i]] = info[i + 1] end
  return log
end
local function free(log, candidate)
  local ms, seq = now, tonumber(string.sub(candidate, 1, 5), 16) or 0
  if log then
    local lastMs, lastSeq = string.match(log['last-generated-id'], '^(%d+)-(%d+)$')
    if tonumber(lastMs) >= now then ms, seq = tonumber(lastMs), lastSeq + 1 + seq end
  end
  return ms, seq
end
local function add(candidate, length, ...)
  local ms, seq = free(inspectLog(), candidate)
  return redis.call('XADD', KEYS[1], 'MAXLEN', '~', length, string.format('%.0f-%.0f', ms, seq), ...)
end
local function begin(candidate, why)
  local id = add(candidate, 1000000000, 'epoch', candidate, 'why', why)
  redis.call('SET', KEYS[2], candidate .. '@' .. id)
  local server = here()
  local function confirm()
    return redis.pcall('HSET', KEYS[4], 'epoch', candidate, 'begun', now, 'lineage', candidate, 'id', server, 'home', server)
  end
  if type(confirm()) == 'table' then
    redis.call('DEL', KEYS[4])
    confirm()
  end
  note(0, '')
  -- Remove rooms with a later time than this epoch's beginning, because their messages belong to the previous epoch.
  redis.pcall('ZREMRANGEBYSCORE', KEYS[3], '(' .. string.match(id, '^%d+'), '+inf')
end
local function ensure(candidate)
  local log, epoch = inspectLog(), redis.pcall('GET', KEYS[2])
  if log then
    local ms, seq = string.match(log['last-generated-id'], '^(%d+)-(%d+)$')
    -- Another program has added an entry whose id leaves room for few or no later ids.
    if #ms > 15 or tonumber(seq) > 1e14 then
      redis.call('DEL', KEYS[1])
      log = nil
    end
  end
  if not log or type(epoch) ~= 'string' or not string.match(epoch, '^[0-9a-z]+@%d+%-%d+$') then
    begin(candidate, 'the log or the key of its epoch was missing, or could not be used')
    log = inspectLog()
  end
  return log
end
`;

/**
 * Lua that appends messages, for embedding in scripts. All messages of one run become one batch entry of the log,
 * because adding an entry costs Redis as much as a hundred messages, and reading it as much as ten. Each message still
 * has an id of its own: the script numbers its messages from 0, and the message with the number `index` has the id
 * `<ms>-<base + index>`. Some numbers may stay unused.
 *
 *     log:      id of its last message   run <messages so far> <room> <lines> [<room> <lines> …] history:  id of its
 *     last message   run <messages so far> lines <lines>
 *
 * Lines are separated by line breaks and ordered by index. A line is `<index> <JSON>`, and meta may follow the JSON
 * (`entries.ts`). A batch entry has the id of its message with the highest index. Readers compute the base from this
 * id. "Messages so far" counts the messages of the stream since it began or was cleared. The limits of log and
 * histories need this number, because Redis itself counts only entries.
 *
 * A script that embeds this code takes log, epoch, known rooms and server as its first four KEYS, and histories after
 * them. It can use `now`, and calls these functions in this order:
 *
 * - `open(name for a new epoch)`, once: determines `ms` and `base` of the ids.
 * - `put(room, history's key, number of lines, index of the last line, lines)`: collects lines of a room. Writes
 *   nothing yet.
 * - `commit(maximum messages of the log, maximum messages of a history, seconds of a history)`, once: writes the
 *   collected lines to the histories and to the log, and adds the rooms to the set of known rooms. Leaves a room out of
 *   the log if the room's history cannot be written.
 * - `failed(room)`: returns the error because of which the room's messages are not in the log, or nil if they are.
 * - `id(index)`: returns the id of the message with this index. May be called at any time after `open`.
 *
 * If a room is known to have had messages but its history was deleted, evicted or emptied, the next append to the room
 * records that. The `max-deleted-entry-id` of the new history is then the id up to which messages are missing.
 *
 * Appending trims a history only roughly, and reading trims it exactly, because exact trimming walks over the deleted
 * entries of a block each time, which would make an append three times as slow.
 */
export const BATCH = `${BEGIN}${LOST_MESSAGES}
local ms, prefix, base, total, oldest, latest
local runs = {}
local function upTo(entry)
  return entry and entry[2][1] == 'run' and tonumber(entry[2][2]) or 0
end
-- Drops the oldest entries of a stream, at most 16 per round. A batch entry can be dropped if none of its messages is
-- among the newest 'messages', and another entry if it is older than 'young', in ms since 1970. The newest 'spare'
-- entries are always kept.
local function trim(key, messages, total, young, spare, rounds)
  for _ = 1, rounds do
    local over, length = 0, redis.call('XLEN', key)
    for i, entry in ipairs(redis.call('XRANGE', key, '-', '+', 'COUNT', 16)) do
      local number, kept = upTo(entry), nil
      if number > 0 then kept = total - number < messages
      else kept = tonumber(string.match(entry[1], '^%d+')) >= young end
      if kept or i > length - spare then break end
      over = i
    end
    if over > 0 then redis.call('XTRIM', key, 'MAXLEN', length - over) end
    if over < 16 then break end
  end
end
local function id(place)
  return prefix .. string.format('%.0f', base + place)
end
local function open(candidate)
  local log = ensure(candidate)
  ms, base = free(log, candidate)
  prefix = string.format('%.0f-', ms)
  total, oldest, latest = log['entries-added'], log['first-entry'], log['last-generated-id']
end
local function put(room, history, count, place, lines)
  local run = runs[room]
  if not run then
    run = {room = room, history = history, count = 0, lines = {}}
    runs[room], runs[#runs + 1] = run, run
  end
  run.count, run.last = run.count + count, place
  run.lines[#run.lines + 1] = lines
end
-- Returns the id up to which messages are missing from the room's history, or nil if none are. Called if the history
-- has no entries, or if it is 'unusable': its newest entry has no number of messages or leaves no room for a later id.
-- An unusable history is deleted.
local function restart(run, unusable, seconds)
  if unusable then redis.call('DEL', run.history) end
  local before = base > 0 and id(-1) or string.format('%.0f-999999999999999', ms - 1)
  local missing = lost(run.room, run.history, nil, false, now - seconds * 1000)
  if not missing then return unusable and before end
  local missingMs, missingSeq = string.match(missing, '^(%d+)-(%d+)$')
  missingMs, missingSeq = tonumber(missingMs), tonumber(missingSeq)
  return (missingMs < ms or missingMs == ms and missingSeq < base) and missing or before
end
local function keep(run, messages, seconds)
  local key, last = run.history, id(run.last)
  local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
  if newest.err then return newest.err end
  local total, missing = upTo(newest[1]) + run.count, nil
  if total == run.count then missing = restart(run, newest[1], seconds) end
  local added = redis.pcall('XADD', key, 'MAXLEN', '~', messages, last, 'run', total .. '', 'lines', run.lines)
  if type(added) == 'table' and string.find(added.err, 'equal or smaller') then
    total, missing = run.count, restart(run, true, seconds)
    added = redis.pcall('XADD', key, last, 'run', total, 'lines', run.lines)
  end
  if type(added) == 'table' then return added.err end
  if missing then
    redis.call('XSETID', key, last, 'ENTRIESADDED', redis.call('XLEN', key), 'MAXDELETEDID', missing)
  end
  if run.count > 1 then
    local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
    if total - upTo(first) > messages * 1.125 then trim(key, messages + 0, total, math.huge, 0, math.huge) end
  end
  redis.call('EXPIRE', key, seconds)
end
local function commit(length, messages, seconds)
  local fields, scores, count, last = {}, {}, 0, 0
  local score = string.format('%.0f', ms)
  for _, run in ipairs(runs) do
    run.lines = table.concat(run.lines, '\\n')
    run.err = keep(run, messages, seconds)
    if not run.err then
      fields[#fields + 1], fields[#fields + 2] = run.room, run.lines
      scores[#scores + 1], scores[#scores + 2] = score, run.room
      count, last = count + run.count, math.max(last, run.last)
    end
  end
  if count == 0 then return end
  -- Add the rooms before writing the log, so that the loss of an acknowledged message's history can always be detected.
  local known = note(unpack(scores))
  local added = known
  if type(known) == 'number' then
    added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', length, id(last), 'run', total + count, unpack(fields))
    -- Remove up to twice as many expired rooms as were added; otherwise the set could grow faster than it is pruned.
    if known > 0 then forget(seconds, 2 * known) end
  end
  if type(added) == 'table' then
    for _, run in ipairs(runs) do
      if not run.err then redis.call('XDEL', run.history, id(run.last)) end
      run.err = run.err or added.err
    end
    return
  end
  latest = added
  if count > 1 then
    redis.call('XSETID', KEYS[1], added, 'ENTRIESADDED', total + count)
    if total + count - upTo(oldest) > length * 1.125 then
      -- Keep the entries at which a node may be reading: the one before the entry that was just added, and all young
      -- ones.
      trim(KEYS[1], length + 0, total + count, now - 600000, 2, 64)
    end
  end
end
local function failed(room)
  return runs[room].err
end
`;
