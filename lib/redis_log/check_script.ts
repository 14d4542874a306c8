/**
 * The Lua script of the check of the log, which `lib/redis_log/check.ts` explains and runs.
 *
 * @module
 */
import { type Script, script } from "../redis/script.ts";
import { BEGIN } from "./batch_script.ts";
import { PRUNE_ROOMS } from "./known_rooms.ts";

/**
 * How long all nodes together may take to confirm the epoch on another Redis server, in ms of Redis' clock. The time is
 * longer than the 4.2 s after which a node detects a silent connection (`lib/redis/connection.ts`).
 */
export const CONFIRM_TIMEOUT_MS = 6000;

/**
 * Checks for one node that the log has every entry that the node has read or acknowledged, and begins a new epoch if
 * not.
 *
 * KEYS: log, epoch, known rooms, server, nodes, saves. ARGV: in the order in which `check()` in `check.ts` sends them.
 *
 * The hash `server` has these fields:
 * - `epoch`: the name of the epoch that the other fields describe
 * - `id`: the server for which the epoch is confirmed
 * - `home`: the server on which the epoch began
 * - `begun`: the time at which the epoch began
 * - `lineage`: the name under which sessions are saved
 *
 * While the nodes still have to confirm the epoch for another server, the hash also has these fields:
 * - `asked`: the server for which the epoch has to be confirmed
 * - `since`: the time at which the nodes were first asked to confirm
 * - `vouched`: set if a node that had read the epoch has confirmed that the `asked` server lacks none of the node's
 *   entries
 * - `unsaved`: set if the `asked` server lacks saved sessions
 *
 * The hash `nodes` has one field for each node. Its value is the time of the node's last check, the id up to which the
 * node had read, and the server, or `left` if the node has stopped.
 *
 * The script does nothing after its deadline. Otherwise it could judge by old arguments, because a node that no longer
 * waits for the reply may have read and acknowledged further messages.
 */
export const CHECK: Script = script(`${BEGIN}${PRUNE_ROOMS}
if now > tonumber(ARGV[16]) then return {now, 'late'} end
local CANDIDATE, NODE, EPOCH, OFFSET, IS_ENTRY = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local SAVES, SERVER, AGE, INTENT, LENGTH = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8]), ARGV[9], ARGV[10]
local KNOWN, SILENT, ACKNOWLEDGED = ARGV[11], ARGV[12], ARGV[13]
local ACKNOWLEDGED_AGE, HISTORY_SECONDS = tonumber(ARGV[14]), ARGV[15]
local HERE, ROLE = here()
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function below(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  return ams < bms or (ams == bms and aseq < bseq)
end
local function exists(id)
  return #redis.call('XRANGE', KEYS[1], id, id) > 0
end
local last, first, total
local function look(log)
  last, first = log and log['last-generated-id'] or '0-0', log and log['first-entry'] and log['first-entry'][1]
  total = log and log['entries-added'] or 0
end
-- If 'trimmable', an id below the first entry may have been trimmed. Any other id without an entry was lost.
local function missing(id, trimmable)
  return below(last, id) or (not exists(id) and not (trimmable and (not first or below(id, first))))
end
local function behind(trimmable)
  if IS_ENTRY then return missing(OFFSET, trimmable) end
  return below(last, OFFSET) or not trimmable
end
-- Returns for how long this node has known the entry that is missing, in ms; nil if no entry is missing.
local function lost(trimmable)
  for id in string.gmatch(ACKNOWLEDGED, '%S+') do
    if missing(id, trimmable) then return math.min(AGE, ACKNOWLEDGED_AGE) end
  end
  if behind(trimmable) then return AGE end
end
local name, began
local why = ''
local function named()
  local value = redis.pcall('GET', KEYS[2])
  name, began = string.match(type(value) == 'string' and value or '', '^([0-9a-z]+)@(%d+%-%d+)$')
end
local function answer(wrong, state, lineage, joinedAt, nodes)
  return {now, name or '', began or '0-0', last, exists(last) and 1 or 0, wrong, state, HERE, lineage, joinedAt, nodes,
    total, why}
end

if ROLE ~= 'master' then
  look(inspectLog())
  named()
  local lacks = EPOCH ~= '' and name and behind(name == EPOCH)
  return answer(lacks and 'back' or '', 'replica', '', '', {})
end

for i = 4, 6 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[i]) end
end
look(ensure(CANDIDATE))
named()
local fields = {'epoch', 'id', 'home', 'begun', 'lineage', 'asked', 'since', 'vouched', 'unsaved'}
local server
local function state()
  server = {}
  for i, value in ipairs(redis.call('HMGET', KEYS[4], unpack(fields))) do server[fields[i]] = value end
end
local function renew(reason)
  why = reason
  begin(CANDIDATE, reason)
  look(inspectLog())
  named()
  state()
end
local function settle()
  redis.call('HDEL', KEYS[4], 'asked', 'since', 'vouched', 'unsaved')
end
state()

-- 1. If the record is of another epoch, another program has set the epoch or deleted the record. Renew the record, or
--    begin an epoch if it is not certain that this node reads the same log.
if server.epoch ~= name then
  if name == EPOCH and SERVER == HERE then
    redis.call('HSET', KEYS[4], 'epoch', name, 'id', HERE, 'home', HERE, 'begun', now, 'lineage', CANDIDATE)
    state()
  else renew('the server for which the epoch was confirmed is not recorded') end
end

-- 2. If the epoch is confirmed for another server, or this node comes from another server, ask all nodes to confirm.
local age = now - tonumber(server.begun)
local comes = SERVER ~= '' and SERVER ~= HERE and age >= 0 and age < ${CONFIRM_TIMEOUT_MS}
if server.asked ~= HERE and (server.id ~= HERE or comes) then
  redis.call('HDEL', KEYS[4], 'vouched')
  redis.call('HSET', KEYS[4], 'asked', HERE, 'since', now)
  state()
end

-- 3. If the log lacks an entry that this node knows, begin an epoch, unless one has begun since the node learned of the
--    entry.
local vouches = EPOCH == name and SERVER == server.id and server.id ~= HERE
-- Whether step 6 waits for the nodes that this node names. Decided here, because step 3 may begin another epoch.
local names = EPOCH == name or server.id ~= HERE
local wrong = ''
-- Only an id of this epoch can be missing because it was trimmed here.
local known = EPOCH ~= '' and lost(EPOCH == name and not vouches) or nil
if known then
  wrong = 'lost'
  -- The clocks of two servers do not show which event came first.
  if name == EPOCH or server.home ~= HERE or age < 0 or known <= age then
    renew('Redis lacks messages that a node knew')
  end
elseif EPOCH == name and IS_ENTRY and not exists(OFFSET) then wrong = 'cut' end

-- 4. Register this node. If Redis accepts no writes at the moment, continue, because the node can still read.
local joinedAt = ''
local unknown = redis.call('HEXISTS', KEYS[5], NODE) == 0
if unknown and INTENT == 'stay' and server.id == HERE and server.asked ~= HERE then
  redis.pcall('HSET', KEYS[6], NODE, SAVES)
end
if INTENT == 'join' or (INTENT == 'stay' and unknown) then
  local ok, id = pcall(add, CANDIDATE, LENGTH, 'node', NODE)
  joinedAt = ok and id or ''
end
-- Keep a node that leaves registered as 'left' for a while; otherwise other nodes would wait for its confirmation.
redis.pcall('HSET', KEYS[5], NODE, now .. ' ' .. OFFSET .. ' ' .. (INTENT == 'leave' and 'left' or HERE))

-- 5. If the server lacks sessions that this node has saved, change the lineage. A new epoch has a new lineage anyway.
if tonumber(redis.call('HGET', KEYS[6], NODE) or '0') < SAVES then
  redis.pcall('HSET', KEYS[6], NODE, SAVES)
  if EPOCH == name and server.id == HERE then redis.pcall('HSET', KEYS[4], 'lineage', CANDIDATE)
  elseif EPOCH == name then redis.pcall('HSET', KEYS[4], 'unsaved', '1') end
  state()
end

-- 6. Confirm the epoch for this server when all nodes have checked here; if some do not in time, begin a new epoch.
if server.asked == HERE then
  if names then
    for other in string.gmatch(KNOWN, '%S+') do redis.call('HSETNX', KEYS[5], other, '0 0-0 -') end
  end
  if vouches and server.id ~= HERE then
    redis.call('HSET', KEYS[4], 'vouched', '1')
    state()
  end
  local absent, all = {}, redis.call('HGETALL', KEYS[5])
  for i = 1, #all, 2 do
    local where = string.match(all[i + 1], '%S+$')
    if where ~= HERE and where ~= 'left' then absent[#absent + 1] = all[i] end
  end
  local waited = now - tonumber(server.since)
  if #absent == 0 then
    if server.id ~= HERE and not server.vouched then
      renew('no node that knew the epoch is left to confirm that Redis lacks nothing')
    elseif server.id ~= HERE then
      redis.call('HSET', KEYS[4], 'id', HERE, 'lineage', server.unsaved and CANDIDATE or server.lineage)
    end
    settle()
  elseif waited < 0 or waited > ${CONFIRM_TIMEOUT_MS} then
    redis.call('HDEL', KEYS[5], unpack(absent))
    redis.call('HDEL', KEYS[6], unpack(absent))
    renew(#absent .. ' of ' .. #all / 2 .. ' nodes did not confirm in time that Redis lacks nothing')
    settle()
  end
  state()
end

-- 7. Unregister nodes that have stopped checking.
if server.id == HERE and not server.asked then
  for other, beat in string.gmatch(SILENT, '([^%s@]+)@(%d+)') do
    if string.match(redis.call('HGET', KEYS[5], other) or '', '^%d+') == beat then
      redis.pcall('HDEL', KEYS[5], other)
      redis.pcall('HDEL', KEYS[6], other)
    end
  end
end
prune(last, HISTORY_SECONDS)
look(inspectLog())
return answer(wrong, server.id == HERE and 'confirmed' or 'unconfirmed', server.lineage or '', joinedAt,
  redis.call('HGETALL', KEYS[5]))
`);
