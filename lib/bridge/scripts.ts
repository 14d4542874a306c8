/**
 * The bridge's Lua scripts: comparing, appending and announcing in one piece.
 *
 * The bridge's state is a hash: the place the log has reached in the common order (`marker`, `number`, `group`) and the
 * `writer` who brought it there. It changes in the same script as the log, so that the two can never disagree, also
 * where Redis loses its newest writes.
 *
 * @module
 */
import { GAPS_MAX } from "../log/gaps.ts";
import { BEGIN, NOW, RUN, type Script, script } from "../redis_log/scripts.ts";

/** How long a node is believed to be in step, in ms of Redis' clock: three times what it says so every second. */
const FRESH_MS = 3000;
/** How long a node that is not in step keeps its seat, in ms of Redis' clock. */
const SEAT_MS = 5000;
/** How many nodes listen: two may be lost at once. More would cost Redis a copy of each message, and bring nothing. */
const LISTENERS_MAX = 3;

const STATE = `
local function look(key)
  local state = redis.call('HMGET', key, 'marker', 'number', 'group')
  return state[1] or '', tonumber(state[2] or '0'), state[3] or ''
end
local function move(key, channel, marker, number, group, node)
  redis.call('HSET', key, 'marker', marker, 'number', number, 'group', group, 'writer', node)
  redis.call('PUBLISH', channel, table.concat({'at', marker, number, group, node}, ' '))
end
`;

/** Marks that have run out, or are of a clock that was ahead of this one, as after a fail-over. */
const SWEEP = `
local function sweep(key, ms)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. now - ms)
  redis.call('ZREMRANGEBYSCORE', key, now + 1000, '+inf')
end
`;

/**
 * Compares and appends: takes those items the log has not got, if it is at the marker named and has all before them.
 *
 * KEYS: log, epoch, known rooms, server, the bridge's state, the nodes in step, the histories of all rooms.
 * ARGV: candidate epoch; messages of the log; messages and seconds of a history; control channel; node; group; marker;
 * number of the first item; number of rooms; their names; then for each item two: the room's place in the list and
 * the message, or `marker` and its name, or `refused` and ''.
 * Answers `{outcome, marker, number, group, writer before, items known already, items taken, error or '', places among
 * the items of messages that Redis refuses for good}`.
 */
export const COMPARE_AND_APPEND = script(`${RUN}${STATE}
local CHANNEL, NODE, GROUP, MARKER = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local FIRST, ROOMS = tonumber(ARGV[9]), tonumber(ARGV[10])
local marker, number, group = look(KEYS[5])
local before = redis.call('HGET', KEYS[5], 'writer') or ''
local function answer(outcome, known, taken, why, refused)
  local marker, number, group = look(KEYS[5])
  return {outcome, marker, number, group, before, known, taken, why, refused}
end
if marker ~= MARKER or group ~= GROUP then return answer('elsewhere', 0, 0, '', {}) end
local known = number + 1 - FIRST
if known < 0 then return answer('back', 0, 0, '', {}) end
open(ARGV[1])
local first, taken, place, passed = 11 + ROOMS + 2 * known, 0, 0, {}
for i = first, #ARGV, 2 do
  local kind, value = ARGV[i], ARGV[i + 1]
  if kind == 'marker' then
    marker, number = value, 0
    passed[#passed + 1] = value
  else
    number = number + 1
    if kind ~= 'refused' then
      put(ARGV[10 + kind], KEYS[6 + kind], 1, place, place .. ' ' .. value)
      place = place + 1
    end
  end
  taken = taken + 1
end
commit(ARGV[2], ARGV[3], ARGV[4])
local some, why, refused = #runs == 0, nil, {}
for _, run in ipairs(runs) do
  if not run.err then some = true
  elseif string.sub(run.err, 1, 9) ~= 'WRONGTYPE' then why = run.err end
end
-- Nothing was taken, and all of it may be when this has passed.
if why and not some then return answer('appended', known, 0, why, {}) end
if taken == 0 then return answer('appended', known, 0, '', {}) end
for i = first, #ARGV, 2 do
  local kind = tonumber(ARGV[i])
  if kind and failed(ARGV[10 + kind]) then refused[#refused + 1] = known + (i - first) / 2 end
end
for _, value in ipairs(passed) do
  -- Whose marker it is has heard all that comes after it.
  redis.pcall('ZADD', KEYS[6], now, string.match(value, '^[^.]*'))
end
move(KEYS[5], CHANNEL, marker, number, group, NODE)
return answer('appended', known, taken, '', refused)
`);

/**
 * Publishes a marker and says where the log is at that moment: whatever was heard after the marker is not in the log.
 *
 * KEYS: the bridge's state, the nodes in step. ARGV: control channel; node; marker; '1' where the node has just begun
 * to listen, and so is not in step, whatever it was. Answers `{marker, number, group}`.
 */
export const PUBLISH_MARKER = script(`${STATE}
if ARGV[4] == '1' then redis.call('ZREM', KEYS[2], ARGV[2]) end
redis.call('PUBLISH', ARGV[1], 'marker ' .. ARGV[3])
return {look(KEYS[1])}
`);

/**
 * Goes on from a place although what lies before it may be missing, and records that as a gap: only where the log is
 * still at the marker where it was seen, and nobody who is in step could still bring what is missing. Where there is no
 * state and no message there is nothing to miss: a new log.
 *
 * KEYS: log, epoch, known rooms, server, the bridge's state, the nodes in step, the gaps.
 * ARGV: candidate epoch; entries of the log; control channel; node; group; marker where it is; marker and number where
 * it is to go on; the channels, as JSON. Answers `{1 if it was done, 1 if that made a gap}`.
 */
export const RESUME_AFTER_GAP = script(`${BEGIN}${STATE}${SWEEP}
local CHANNEL, NODE, GROUP, FROM, TO, NUMBER = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local marker, number = look(KEYS[5])
if marker ~= FROM or (marker == TO and number > NUMBER) then return {0, 0} end
sweep(KEYS[6], ${FRESH_MS})
if redis.call('ZCARD', KEYS[6]) > 0 then return {0, 0} end
ensure(ARGV[1])
local gap = marker ~= ''
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 32)) do
  gap = gap or entry[2][1] == 'run'
end
if gap then
  local id = add(ARGV[1], ARGV[2], 'ingress', ARGV[9])
  local function remember() return redis.pcall('XADD', KEYS[7], 'MAXLEN', ${GAPS_MAX}, id, 'channels', ARGV[9]) end
  if type(remember()) == 'table' then
    redis.call('DEL', KEYS[7])
    remember()
  end
end
redis.call('ZADD', KEYS[6], now, NODE)
move(KEYS[5], CHANNEL, TO, NUMBER, GROUP, NODE)
return {1, gap and 1 or 0}
`);

/**
 * A node's sign of life, each second: it comes back to the node's own subscription, or that is dead. Gives and renews
 * one of the seats of those who listen.
 *
 * KEYS: the seats, the nodes in step. ARGV: control channel, node, the sign, '1' where the node is in step.
 * Answers `{1 if the node has a seat, how many are in step}`. What Redis refuses to note is no reason to stop
 * listening.
 */
export const HEARTBEAT = script(`${NOW}${SWEEP}
local NODE = ARGV[2]
redis.call('PUBLISH', ARGV[1], 'sign ' .. NODE .. ' ' .. ARGV[3])
sweep(KEYS[2], ${FRESH_MS})
local had = redis.call('ZSCORE', KEYS[1], NODE)
sweep(KEYS[1], ${SEAT_MS})
local has = redis.call('ZSCORE', KEYS[1], NODE)
local function room()
  local seated = redis.call('ZRANGE', KEYS[1], 0, -1)
  for _, other in ipairs(seated) do
    -- Who is in step goes before who is not.
    if #seated >= ${LISTENERS_MAX} and not redis.call('ZSCORE', KEYS[2], other) then
      return redis.call('ZREM', KEYS[1], other)
    end
  end
  return #seated < ${LISTENERS_MAX}
end
if ARGV[4] == '1' and (has or room()) then
  redis.pcall('ZADD', KEYS[1], now, NODE)
  redis.pcall('ZADD', KEYS[2], now, NODE)
  has = true
elseif ARGV[4] ~= '1' then
  redis.call('ZREM', KEYS[2], NODE)
  -- One that had its time and is not in step lets others try first.
  if not had and redis.call('ZCARD', KEYS[1]) < ${LISTENERS_MAX} then
    redis.pcall('ZADD', KEYS[1], now, NODE)
    has = true
  end
end
return {has and 1 or 0, redis.call('ZCARD', KEYS[2])}
`);

/** Gives up a node's seat and its place among those in step. KEYS: the seats, the nodes in step. ARGV: node. */
export const LEAVE = script(`
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('ZREM', KEYS[2], ARGV[1])
`);

/** All of them. */
export const BRIDGE_SCRIPTS: readonly Script[] = [
  COMPARE_AND_APPEND,
  PUBLISH_MARKER,
  RESUME_AFTER_GAP,
  HEARTBEAT,
  LEAVE,
];
