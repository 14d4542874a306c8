/**
 * The Lua that writes to the log: begins epochs, and appends batches of messages.
 *
 * All keys share one hash tag, so that each script needs only one slot of a Redis Cluster, and every key is declared.
 *
 * @module
 */
import { HERE, NOW } from "../redis/script.ts";
import { KNOWN_ROOMS, LOST_MESSAGES } from "./known_rooms.ts";

/**
 * Lua that begins epochs. If the log or the epoch's key is missing, readers have to learn of it, so a new epoch is an
 * entry of the log, in order with the others. The epoch's key holds its name and the id of that entry. The hash
 * `server` holds the server for which the epoch is confirmed, with its replication history
 * (`docs/decisions/0014-epochs-and-fail-over.md`).
 *
 * A script that embeds this declares log, epoch, known rooms and server as its first four keys. The set of known rooms
 * is complete since the beginning of the epoch, see `lib/redis_log/known_rooms.ts`. The script can use `now` and call:
 *
 * - `inspectLog()`: returns `XINFO STREAM` of the log as a table, or nil if there is no log.
 * - `free(log, candidate)`: returns the next free id, as milliseconds and sequence. Every id has a random part, so that
 *   the old master and a promoted replica never give one id to two entries.
 * - `add(candidate, length, ...)`: adds an entry that holds no messages, and returns its id.
 * - `ensure(candidate)`: returns the same as `inspectLog()`. It first begins a new epoch if the log or the epoch is
 *   missing or cannot be used.
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
  -- The previous epoch may have had later ids, which belong to no message of this epoch.
  redis.pcall('ZREMRANGEBYSCORE', KEYS[3], '(' .. string.match(id, '^%d+'), '+inf')
end
local function ensure(candidate)
  local log, epoch = inspectLog(), redis.pcall('GET', KEYS[2])
  if log then
    local ms, seq = string.match(log['last-generated-id'], '^(%d+)-(%d+)$')
    -- Another program has added an entry with an id after which few or no others fit.
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
 * Lua that appends messages; every script that appends some embeds it. All messages of a script become one batch entry
 * of the log, because one `XADD` costs Redis as much as a hundred messages, and readers as much as ten. Each message
 * has an id of its own. The script counts its messages from 0 in their order; that is a message's index, and its id is
 * `<ms>-<base + index>`. Some indexes may stay unused.
 *
 *     log:      id of its last message   run <messages so far> <room> <lines> [<room> <lines> …]
 *     history:  id of its last message   run <messages so far> lines <lines>
 *
 * A line is `<index> <JSON>`, in order of indexes. JSON text has no line breaks here, and may be followed by meta, see
 * `entries.ts`. An entry has the id of the message with the highest index, from which readers know the base. "Messages
 * so far" counts the messages of the stream since it began or was cleared: a stream itself counts entries only, but the
 * limits of log and histories are numbers of messages.
 *
 * A script that embeds this declares log, epoch, known rooms and server as its first four keys, and histories after
 * them. It can use `now`, and calls these functions in this order:
 *
 * - `open(candidate epoch)`, once: determines the ids.
 * - `put(room, history's key, number of lines, index of the last, lines)`: adds lines to the entry, after those of the
 *   room that were put before. Nothing is written yet.
 * - `commit(messages of the log, messages of a history, seconds of a history)`, once: writes. A room whose history
 *   cannot be written is left out of the log. All rooms are added to the set of known rooms by one command.
 * - `failed(room)`: returns why the messages of the room are not in the log, or nil.
 * - `id(index)`: returns a message's id, at any time after `open`.
 *
 * If a history was deleted, evicted or emptied, and its room is known to have had messages, the next entry records
 * that: `max-deleted-entry-id` of the new history is the id up to which messages are missing.
 *
 * A history is trimmed roughly here and exactly when it is read, because exact trimming walks over the deleted entries
 * of a block each time, which makes an append three times as slow.
 */
export const BATCH = `${BEGIN}${LOST_MESSAGES}
local ms, prefix, base, total, oldest, latest
local runs = {}
local function upTo(entry)
  return entry and entry[2][1] == 'run' and tonumber(entry[2][2]) or 0
end
-- Drops the oldest entries: batch entries without a message that must be kept, and other entries that are older than
-- 'young', in ms since 1970; but none of the newest 'spare', and no more than 16 per round.
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
-- Returns the id up to which messages are missing from a history that has no entries, or whose newest entry is unusable
-- because it has no number of messages or leaves no room for a later id. An unusable history is deleted.
local function restart(run, unusable, seconds)
  if unusable then redis.call('DEL', run.history) end
  local before = base > 0 and id(-1) or string.format('%.0f-999999999999999', ms - 1)
  local missing = lost(run.room, run.history, nil, false, now - seconds * 1000)
  if not missing then return unusable and before end
  return tonumber(string.match(missing, '^%d+')) < ms and missing or before
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
  -- Written before the log, so that a lost history of an acknowledged message can always be detected.
  local known = note(unpack(scores))
  local added = known
  if type(known) == 'number' then
    added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', length, id(last), 'run', total + count, unpack(fields))
    -- Removes up to twice as many expired rooms as were added; otherwise the set could grow faster than it is pruned.
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
      -- A reader may be at the entry before the one that was just added, or at any young entry.
      trim(KEYS[1], length + 0, total + count, now - 600000, 2, 64)
    end
  end
end
local function failed(room)
  return runs[room].err
end
`;
