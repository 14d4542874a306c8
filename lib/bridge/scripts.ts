/**
 * The Lua scripts with which the bridge appends messages of Redis channels to the log.
 *
 * The bridge's state in Redis is a hash. It holds the bridge position up to which the log has all items (`marker`,
 * `number`, `group`), and the `writer`, the node that moved the log to this position. A script changes the state
 * together with the log. The two therefore always agree, even if Redis loses its newest writes.
 *
 * Some names in Redis are older than those in the code: `group`, `bridge:seats`, `bridge:in-step`, and the control
 * messages `sign`, `marker` and `at`. They stay, because nodes of two versions work on the same keys during a rolling
 * upgrade.
 *
 * @module
 */
import { GAPS_MAX } from "../log/gaps.ts";
import { HERE, NOW, type Script, script } from "../redis/script.ts";
import { BATCH, BEGIN } from "../redis_log/batch_script.ts";

/**
 * How long a node stays in the list of synchronized nodes (nodes that can append what they receive) after its last
 * heartbeat, in ms of Redis' clock: the time of three heartbeats.
 */
const SYNCHRONIZED_TTL_MS = 3000;
/**
 * How long a node that is not synchronized keeps its listener slot, the right to subscribe to the Redis channels, in ms
 * of Redis' clock.
 */
const LISTENER_TTL_MS = 5000;
/**
 * Maximum number of nodes that subscribe to the Redis channels. With three subscribed nodes, two may fail at once.
 * Redis sends a copy of every message to each of them, so a higher maximum would cost more copies.
 */
const LISTENERS_MAX = 3;

/**
 * Lua that defines `look(key)`, which returns the bridge position up to which the log has all items, and `move(key,
 * …)`, which sets and announces this position.
 */
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
 * Lua that defines `sweep(key, ms)`, which removes from a list the nodes whose last heartbeat is older than `ms`. It
 * also removes nodes whose heartbeat lies in the future, because a Redis server whose clock was ahead has recorded that
 * heartbeat.
 */
const SWEEP = `
local function sweep(key, ms)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. now - ms)
  redis.call('ZREMRANGEBYSCORE', key, now + 1000, '+inf')
end
`;

/**
 * Appends those of the given items that the log does not have yet. Appends nothing if the log's bridge position has
 * another marker than the given one, or lies before the first given item. Appends nothing either if the script runs on
 * another server than the given one, or on the same server after it has been a replica: the node may then have received
 * other messages than those that this log counts.
 *
 * - KEYS: log, epoch, known rooms, server, the bridge's state, the list of synchronized nodes, then the history of each
 *   room.
 * - ARGV: name for a new epoch; maximum messages of the log; maximum messages and seconds of a history; control
 *   channel; node; server, as `here()` returns it; channel group; marker before the first item; number of the first
 *   item after this marker; number of rooms; names of the rooms; then two arguments for each item: the room's index and
 *   the message, or `marker` and the marker's name, or `refused` and ''.
 * - Returns `{outcome, marker, number, group, previous writer, number of items that the log already had, number of
 *   items added, error or '', indexes of the items that Redis refuses permanently}`.
 */
export const COMPARE_AND_APPEND = script(`${BATCH}${STATE}
local CHANNEL, NODE, SERVER, GROUP, MARKER = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local FIRST, ROOMS = tonumber(ARGV[10]), tonumber(ARGV[11])
local marker, number, group = look(KEYS[5])
local before = redis.call('HGET', KEYS[5], 'writer') or ''
local function reply(outcome, known, taken, why, refused)
  local marker, number, group = look(KEYS[5])
  return {outcome, marker, number, group, before, known, taken, why, refused}
end
if here() ~= SERVER then return reply('other_server', 0, 0, '', {}) end
if marker ~= MARKER or group ~= GROUP then return reply('elsewhere', 0, 0, '', {}) end
local known = number + 1 - FIRST
if known < 0 then return reply('back', 0, 0, '', {}) end
open(ARGV[1])
local first, taken, index, passed = 12 + ROOMS + 2 * known, 0, 0, {}
for i = first, #ARGV, 2 do
  local kind, value = ARGV[i], ARGV[i + 1]
  if kind == 'marker' then
    marker, number = value, 0
    passed[#passed + 1] = value
  else
    number = number + 1
    if kind ~= 'refused' then
      put(ARGV[11 + kind], KEYS[6 + kind], 1, index, index .. ' ' .. value)
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
-- Nothing was added, but the same items may be added later, so the bridge position stays.
if why and not some then return reply('appended', known, 0, why, {}) end
if taken == 0 then return reply('appended', known, 0, '', {}) end
for i = first, #ARGV, 2 do
  local kind = tonumber(ARGV[i])
  if kind and failed(ARGV[11 + kind]) then refused[#refused + 1] = known + (i - first) / 2 end
end
for _, value in ipairs(passed) do
  -- The node that published this marker has received everything after it, so it is synchronized now.
  redis.pcall('ZADD', KEYS[6], now, string.match(value, '^[^.]*'))
end
move(KEYS[5], CHANNEL, marker, number, group, NODE)
return reply('appended', known, taken, '', refused)
`);

/**
 * Publishes a marker and returns the bridge position up to which the log has all items at that moment. The log does not
 * have the messages yet that subscribers receive after the marker, because these messages were published later.
 *
 * - KEYS: the bridge's state, the list of synchronized nodes.
 * - ARGV: control channel; node; marker; '1' if the node has just subscribed and is therefore not synchronized.
 * - Returns `{marker, number, group, server as here() returns it}`.
 */
export const PUBLISH_MARKER = script(`${STATE}${HERE}
if ARGV[4] == '1' then redis.call('ZREM', KEYS[2], ARGV[2]) end
redis.call('PUBLISH', ARGV[1], 'marker ' .. ARGV[3])
local marker, number, group = look(KEYS[1])
return {marker, number, group, (here())}
`);

/**
 * Moves the log's bridge position to a later one, and records a gap for the messages in between. Does so only if the
 * log is still at the given marker, on the given server, and no node is synchronized, because a synchronized node could
 * append these messages. In a new log, which has neither a bridge position nor messages, no message can be missing, so no gap is
 * recorded.
 *
 * - KEYS: log, epoch, known rooms, server, the bridge's state, the list of synchronized nodes, the gaps.
 * - ARGV: name for a new epoch; maximum entries of the log; control channel; node; server, as `here()` returns it;
 *   channel group; the log's current marker; marker and number of the position at which to continue; the channels, as
 *   JSON.
 * - Returns `{1 if the log now continues at the given position, 1 if a gap was recorded}`, each otherwise 0.
 */
export const RESUME_AFTER_GAP = script(`${BEGIN}${STATE}${SWEEP}
local CHANNEL, NODE, SERVER, GROUP = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local FROM, TO, NUMBER = ARGV[7], ARGV[8], tonumber(ARGV[9])
local marker, number = look(KEYS[5])
if here() ~= SERVER then return {0, 0} end
if marker ~= FROM or (marker == TO and number > NUMBER) then return {0, 0} end
sweep(KEYS[6], ${SYNCHRONIZED_TTL_MS})
if redis.call('ZCARD', KEYS[6]) > 0 then return {0, 0} end
ensure(ARGV[1])
local gap = marker ~= ''
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 32)) do
  gap = gap or entry[2][1] == 'run'
end
if gap then
  local id = add(ARGV[1], ARGV[2], 'ingress', ARGV[10])
  local function remember() return redis.pcall('XADD', KEYS[7], 'MAXLEN', ${GAPS_MAX}, id, 'channels', ARGV[10]) end
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
 * Publishes a node's heartbeat, by which the node sees whether its own subscription still delivers. Also assigns or
 * renews the node's listener slot; only nodes with a slot subscribe to the Redis channels.
 *
 * Ignores errors while it adds the node to a list, for example if Redis is out of memory. Otherwise such an error would
 * make the node unsubscribe.
 *
 * - KEYS: the list of nodes with a listener slot, the list of synchronized nodes.
 * - ARGV: control channel; node; number of the heartbeat; '1' if the node is synchronized.
 * - Returns `{1 if the node has a listener slot, number of synchronized nodes}`.
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
  -- A node whose slot has just expired, because it was not synchronized, gives other nodes the chance to take the slot.
  if not had and redis.call('ZCARD', KEYS[1]) < ${LISTENERS_MAX} then
    redis.pcall('ZADD', KEYS[1], now, NODE)
    has = true
  end
end
return {has and 1 or 0, redis.call('ZCARD', KEYS[2])}
`);

/**
 * Gives up a node's listener slot, the right to subscribe to the Redis channels, and removes the node from the list of
 * synchronized nodes.
 *
 * - KEYS: the list of nodes with a listener slot, the list of synchronized nodes.
 * - ARGV: node.
 */
export const LEAVE = script(`
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('ZREM', KEYS[2], ARGV[1])
`);

/** All Lua scripts of the bridge. They are loaded into Redis on each new connection. */
export const BRIDGE_SCRIPTS: readonly Script[] = [
  COMPARE_AND_APPEND,
  PUBLISH_MARKER,
  RESUME_AFTER_GAP,
  HEARTBEAT,
  LEAVE,
];
