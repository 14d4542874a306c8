/**
 * The bridge's Lua scripts.
 *
 * The bridge's state in Redis is a hash. It holds the log's position in the order that all subscribers share (`marker`,
 * `number`, `group`), and the `writer`, the node that moved the log to this position. A script changes the state
 * together with the log. The two therefore always agree, even if Redis loses its newest writes.
 *
 * The code uses newer names than Redis: `group`, `bridge:seats`, `bridge:in-step` and the control messages `sign`,
 * `marker` and `at` keep their old names, because nodes of two versions work on the same keys during a rolling upgrade.
 *
 * @module
 */
import { GAPS_MAX } from "../log/gaps.ts";
import { NOW, type Script, script } from "../redis/script.ts";
import { BATCH, BEGIN } from "../redis_log/batch_script.ts";

/** How long a node counts as synchronized after its last heartbeat, in ms of Redis' clock: three heartbeats. */
const SYNCHRONIZED_TTL_MS = 3000;
/** How long a node that is not synchronized keeps its listener slot, in ms of Redis' clock. */
const LISTENER_TTL_MS = 5000;
/**
 * Number of nodes that subscribe. Two of them may fail at once. Each further subscriber would make Redis send another
 * copy of every message.
 */
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

/**
 * Removes nodes whose time has expired. It also removes those whose time is too far in the future, because it was set
 * by the clock of another server, which was ahead.
 */
const SWEEP = `
local function sweep(key, ms)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. now - ms)
  redis.call('ZREMRANGEBYSCORE', key, now + 1000, '+inf')
end
`;

/**
 * Compares and appends: adds the items that the log does not have yet, if the log is at the given marker and has all
 * items before them.
 *
 * - KEYS: log, epoch, known rooms, server, the bridge's state, the synchronized nodes, then the history of each room.
 * - ARGV: candidate epoch; messages of the log; messages and seconds of a history; control channel; node; group; marker;
 *   number of the first item; number of rooms; their names; then two for each item: the room's index and the message,
 *   or `marker` and its name, or `refused` and ''.
 * - Returns `{outcome, marker, number, group, writer before, items already known, items added, error or '', indexes of
 *   the messages that Redis refuses permanently}`.
 */
export const COMPARE_AND_APPEND = script(`${BATCH}${STATE}
local CHANNEL, NODE, GROUP, MARKER = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local FIRST, ROOMS = tonumber(ARGV[9]), tonumber(ARGV[10])
local marker, number, group = look(KEYS[5])
local before = redis.call('HGET', KEYS[5], 'writer') or ''
local function reply(outcome, known, taken, why, refused)
  local marker, number, group = look(KEYS[5])
  return {outcome, marker, number, group, before, known, taken, why, refused}
end
if marker ~= MARKER or group ~= GROUP then return reply('elsewhere', 0, 0, '', {}) end
local known = number + 1 - FIRST
if known < 0 then return reply('back', 0, 0, '', {}) end
open(ARGV[1])
local first, taken, index, passed = 11 + ROOMS + 2 * known, 0, 0, {}
for i = first, #ARGV, 2 do
  local kind, value = ARGV[i], ARGV[i + 1]
  if kind == 'marker' then
    marker, number = value, 0
    passed[#passed + 1] = value
  else
    number = number + 1
    if kind ~= 'refused' then
      put(ARGV[10 + kind], KEYS[6 + kind], 1, index, index .. ' ' .. value)
      index = index + 1
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
-- Nothing was added, but the same items may be added later: the position stays.
if why and not some then return reply('appended', known, 0, why, {}) end
if taken == 0 then return reply('appended', known, 0, '', {}) end
for i = first, #ARGV, 2 do
  local kind = tonumber(ARGV[i])
  if kind and failed(ARGV[10 + kind]) then refused[#refused + 1] = known + (i - first) / 2 end
end
for _, value in ipairs(passed) do
  -- The node that published this marker has received everything after it.
  redis.pcall('ZADD', KEYS[6], now, string.match(value, '^[^.]*'))
end
move(KEYS[5], CHANNEL, marker, number, group, NODE)
return reply('appended', known, taken, '', refused)
`);

/**
 * Publishes a marker and returns the log's position at that moment: the log then has no message that is received after
 * the marker.
 *
 * - KEYS: the bridge's state, the synchronized nodes.
 * - ARGV: control channel; node; marker; '1' if the node has just subscribed and so is not synchronized.
 * - Returns `{marker, number, group}`.
 */
export const PUBLISH_MARKER = script(`${STATE}
if ARGV[4] == '1' then redis.call('ZREM', KEYS[2], ARGV[2]) end
redis.call('PUBLISH', ARGV[1], 'marker ' .. ARGV[3])
return {look(KEYS[1])}
`);

/**
 * Continues at a position although messages before it may be missing, and records that as a gap. It does so only if the
 * log is still at the given marker, and if no node that could append the missing messages is synchronized. Without a
 * state and without messages, as in a new log, no message can be missing and no gap is recorded.
 *
 * - KEYS: log, epoch, known rooms, server, the bridge's state, the synchronized nodes, the gaps.
 * - ARGV: candidate epoch; entries of the log; control channel; node; group; marker where the log is; marker and number
 *   where to continue; the channels, as JSON.
 * - Returns `{1 if the position was moved, 1 if a gap was recorded}`.
 */
export const RESUME_AFTER_GAP = script(`${BEGIN}${STATE}${SWEEP}
local CHANNEL, NODE, GROUP, FROM, TO, NUMBER = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local marker, number = look(KEYS[5])
if marker ~= FROM or (marker == TO and number > NUMBER) then return {0, 0} end
sweep(KEYS[6], ${SYNCHRONIZED_TTL_MS})
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
 * Publishes a node's heartbeat, which shows the node whether its own subscription still delivers. Assigns and renews
 * the listener slots: only nodes with a slot subscribe.
 *
 * An error while a node is added to a list, for example because memory is full, is ignored: the node need not
 * unsubscribe because of it.
 *
 * - KEYS: the listeners, the synchronized nodes.
 * - ARGV: control channel; node; number of the heartbeat; '1' if the node is synchronized.
 * - Returns `{1 if the node has a slot, number of synchronized nodes}`.
 */
export const HEARTBEAT = script(`${NOW}${SWEEP}
local NODE = ARGV[2]
redis.call('PUBLISH', ARGV[1], 'sign ' .. NODE .. ' ' .. ARGV[3])
sweep(KEYS[2], ${SYNCHRONIZED_TTL_MS})
local had = redis.call('ZSCORE', KEYS[1], NODE)
sweep(KEYS[1], ${LISTENER_TTL_MS})
local has = redis.call('ZSCORE', KEYS[1], NODE)
local function room()
  local listeners = redis.call('ZRANGE', KEYS[1], 0, -1)
  for _, other in ipairs(listeners) do
    -- A synchronized node takes the slot of one that is not.
    if #listeners >= ${LISTENERS_MAX} and not redis.call('ZSCORE', KEYS[2], other) then
      return redis.call('ZREM', KEYS[1], other)
    end
  end
  return #listeners < ${LISTENERS_MAX}
end
if ARGV[4] == '1' and (has or room()) then
  redis.pcall('ZADD', KEYS[1], now, NODE)
  redis.pcall('ZADD', KEYS[2], now, NODE)
  has = true
elseif ARGV[4] ~= '1' then
  redis.call('ZREM', KEYS[2], NODE)
  -- A node whose slot has just expired because it was not synchronized lets other nodes try first.
  if not had and redis.call('ZCARD', KEYS[1]) < ${LISTENERS_MAX} then
    redis.pcall('ZADD', KEYS[1], now, NODE)
    has = true
  end
end
return {has and 1 or 0, redis.call('ZCARD', KEYS[2])}
`);

/**
 * Gives up a node's listener slot and removes it from the synchronized nodes.
 *
 * - KEYS: the listeners, the synchronized nodes.
 * - ARGV: node.
 */
export const LEAVE = script(`
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('ZREM', KEYS[2], ARGV[1])
`);

/** All scripts of the bridge. */
export const BRIDGE_SCRIPTS: readonly Script[] = [
  COMPARE_AND_APPEND,
  PUBLISH_MARKER,
  RESUME_AFTER_GAP,
  HEARTBEAT,
  LEAVE,
];
