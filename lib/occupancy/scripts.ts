/**
 * The Lua scripts that keep the occupancy of all nodes in Redis.
 *
 * A node writes under a tag: a random text of 8 characters without spaces. It takes a new tag if Redis has lost what it
 * wrote. `docs/decisions/0025-rooms-and-clients-from-the-server.md` describes the stored form.
 *
 * @module
 */
import type { Keys } from "../redis/keys.ts";
import { NOW, type Script, script } from "../redis/script.ts";

/**
 * Time since a node's last heartbeat after which its clients no longer count, in ms. Heartbeats are sent every 2 s, and
 * a node that is not dead may be suspended, or wait for Redis, for a few seconds.
 */
const DEAD_MS = 8000;
/**
 * If no node has sent a heartbeat for this long, in ms, Redis was not reachable. For {@linkcode GRACE_MS} after that no
 * node counts as dead, so that all of them can send a heartbeat first.
 */
const SILENT_MS = 4000;
const GRACE_MS = 5000;
/** Maximum number of entries of users that one run of a script looks at. */
const SCANNED_MAX = 2000;

/**
 * Lua that defines `retire(nodes, states, versions, gone, grace)`, which removes the tags of dead nodes, and returns
 * some of the tags whose entries have to be deleted.
 */
const RETIRE = `${NOW}
local function retire(nodes, states, versions, gone, grace)
  -- The clock of Redis was set back. A dead node would otherwise count until the clock has caught up.
  for _, tag in ipairs(redis.call('ZRANGE', nodes, string.format('(%.0f', now), '+inf', 'BYSCORE')) do
    redis.call('ZADD', nodes, string.format('%.0f', now), tag)
  end
  local newest = redis.call('ZRANGE', nodes, 0, 0, 'REV', 'WITHSCORES')[2]
  local isSilent = newest and now - tonumber(newest) > ${SILENT_MS}
  if not isSilent and redis.call('EXISTS', grace) == 0 then
    local oldest = string.format('%.0f', now - ${DEAD_MS})
    for _, tag in ipairs(redis.call('ZRANGE', nodes, '-inf', oldest, 'BYSCORE')) do
      redis.call('ZREM', nodes, tag)
      redis.call('HDEL', states, tag)
      redis.call('HDEL', versions, tag)
      redis.call('ZADD', gone, now, tag)
    end
  end
  return redis.call('ZRANGE', gone, 0, 9)
end
`;

/**
 * Lua that defines two functions:
 * - `unmark(users, user, mark)` removes a node's mark from a user.
 * - `left(clients, users, rooms, room)` deletes the users and the name of a room if no node has clients in the room.
 */
const LEFT = `
local function unmark(users, user, mark)
  local tags = redis.call('HGET', users, user) or ''
  local first, last = string.find(tags, mark, 1, true)
  if first and #tags == #mark then redis.call('HDEL', users, user)
  elseif first then redis.call('HSET', users, user, string.sub(tags, 1, first - 1) .. string.sub(tags, last + 1)) end
end
local function left(clients, users, rooms, room)
  if redis.call('HLEN', clients) > 0 then return end
  redis.call('DEL', users)
  redis.call('ZREM', rooms, room)
end
`;

/** Returns the keys of the nodes that {@linkcode BEAT}, {@linkcode COUNT} and {@linkcode NODES} begin with. */
export function nodeKeys(keys: Keys): string[] {
  return [
    keys.occupancy,
    keys.occupancyStates,
    keys.occupancyVersions,
    keys.occupancyGone,
    keys.occupancyGrace,
  ];
}

/** Returns the keys of some rooms that {@linkcode WRITE}, {@linkcode COUNT} and {@linkcode DROP} end with. */
export function roomKeys(keys: Keys, rooms: Iterable<string>): string[] {
  return [...rooms].flatMap((room) => [
    keys.occupancyClients(room),
    keys.occupancyUsers(room),
  ]);
}

/**
 * Records that a node lives, with its state. Returns `lost` if Redis lacks what the node wrote under its tag. Otherwise
 * returns some of the tags whose entries have to be deleted.
 *
 * KEYS: nodes, states, versions, gone, grace, rooms, reported. ARGV: tag, state, the two versions that Redis may have,
 * whether the tag is new, the lifetime of the keys in s.
 */
export const BEAT: Script = script(`${RETIRE}
local tag = ARGV[1]
local newest = redis.call('ZRANGE', KEYS[1], 0, 0, 'REV', 'WITHSCORES')[2]
if newest and now - tonumber(newest) > ${SILENT_MS} then redis.call('SET', KEYS[5], '', 'PX', ${GRACE_MS}) end
local version = redis.call('HGET', KEYS[3], tag)
if not version and ARGV[5] == '1' then redis.call('HSET', KEYS[3], tag, ARGV[3])
elseif version ~= ARGV[3] and version ~= ARGV[4] then return 'lost' end
redis.call('ZADD', KEYS[1], now, tag)
redis.call('HSET', KEYS[2], tag, ARGV[2])
for i = 1, #KEYS do if i ~= 5 then redis.call('EXPIRE', KEYS[i], ARGV[6]) end end
return retire(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
`);

/**
 * Stores the state of a node and, for some rooms, how many clients the node has in the room, and which users have come
 * or left. Returns `lost` if Redis lacks what the node wrote under its tag before.
 *
 * KEYS: versions, rooms, reported, states, then for each room its clients and its users. ARGV: tag, the two versions
 * that Redis may have, the next version, the lifetime of the keys in s, the state, then for each room: its name, the
 * number of clients, how many users are in the room and how many are not, and their names.
 */
export const WRITE: Script = script(`${LEFT}local tag = ARGV[1]
local version = redis.call('HGET', KEYS[1], tag)
if not version or (version ~= ARGV[2] and version ~= ARGV[3]) then return 'lost' end
local mark, at = tag .. ' ', 7
for i = 5, #KEYS, 2 do
  local clients, users, room, count = KEYS[i], KEYS[i + 1], ARGV[at], ARGV[at + 1]
  local present, absent = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 4
  for j = 1, present do
    local tags = redis.call('HGET', users, ARGV[at]) or ''
    if not string.find(tags, mark, 1, true) then redis.call('HSET', users, ARGV[at], tags .. mark) end
    at = at + 1
  end
  for j = 1, absent do
    unmark(users, ARGV[at], mark)
    at = at + 1
  end
  if count == '0' then
    redis.call('HDEL', clients, tag)
    redis.call('ZREM', KEYS[3], room)
    left(clients, users, KEYS[2], room)
  else
    redis.call('HSET', clients, tag, count)
    redis.call('ZADD', KEYS[3], 0, room)
    redis.call('ZADD', KEYS[2], 0, room)
    redis.call('EXPIRE', clients, ARGV[5])
    redis.call('EXPIRE', users, ARGV[5])
  end
end
redis.call('HSET', KEYS[1], tag, ARGV[4])
redis.call('HSET', KEYS[4], tag, ARGV[6])
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[5]) end
return 'stored'
`);

/**
 * Counts the clients and users of rooms. Returns a list of tags whose entries have to be deleted before the numbers are
 * right, and then two numbers for each room.
 *
 * KEYS: nodes, states, versions, gone, grace, rooms, then for each room its clients and its users. ARGV: the rooms.
 */
export const COUNT: Script = script(`${RETIRE}
local reply = { retire(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]) }
for i, room in ipairs(ARGV) do
  local counts = redis.call('HGETALL', KEYS[5 + 2 * i])
  local clients = 0
  for j = 1, #counts, 2 do
    if redis.call('ZSCORE', KEYS[1], counts[j]) then clients = clients + tonumber(counts[j + 1]) end
  end
  if #counts == 0 then redis.call('ZREM', KEYS[6], room) end
  reply[#reply + 1] = clients
  reply[#reply + 1] = redis.call('HLEN', KEYS[6 + 2 * i])
end
return reply
`);

/**
 * Returns the time, and for each node the time of its last heartbeat and its state.
 *
 * KEYS: nodes, states, versions, gone, grace.
 */
export const NODES: Script = script(`${RETIRE}
retire(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
local reply = { string.format('%.0f', now) }
local beats = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #beats, 2 do
  reply[#reply + 1] = beats[i + 1]
  reply[#reply + 1] = redis.call('HGET', KEYS[2], beats[i]) or ''
end
return reply
`);

/**
 * Retires one tag at once, because its node stops or has taken a new tag.
 *
 * KEYS: nodes, states, versions, gone. ARGV: tag, the lifetime of the keys in s.
 */
export const LEAVE: Script = script(`${NOW}
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], now, ARGV[1])
redis.call('EXPIRE', KEYS[4], ARGV[2])
`);

/**
 * Deletes the entries of a retired tag in some rooms. Stops after a limited number of entries, and returns how many of
 * the rooms are done and the cursor with which the next room continues.
 *
 * KEYS: rooms, reported, then for each room its clients and its users. ARGV: tag, the cursor of the first room, the
 * rooms.
 */
export const DROP: Script = script(
  `${LEFT}local tag, cursor, scanned = ARGV[1], ARGV[2], 0
local mark = tag .. ' '
for i = 3, #ARGV do
  local clients, users, room = KEYS[2 * i - 3], KEYS[2 * i - 2], ARGV[i]
  redis.call('HDEL', clients, tag)
  repeat
    if scanned >= ${SCANNED_MAX} then return { i - 3, cursor } end
    local page = redis.call('HSCAN', users, cursor, 'COUNT', 500)
    cursor = page[1]
    for j = 1, #page[2], 2 do
      if string.find(page[2][j + 1], mark, 1, true) then unmark(users, page[2][j], mark) end
    end
    scanned = scanned + 1 + #page[2] / 2
  until cursor == '0'
  redis.call('ZREM', KEYS[2], room)
  left(clients, users, KEYS[1], room)
end
return { #ARGV - 2, '0' }
`,
);

/** The Lua scripts of the occupancy. They are loaded into Redis on each new connection. */
export const OCCUPANCY_SCRIPTS: readonly Script[] = [
  BEAT,
  WRITE,
  COUNT,
  NODES,
  LEAVE,
  DROP,
];
