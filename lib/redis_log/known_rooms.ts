/**
 * Lua that maintains the set of known rooms: the rooms that had messages within `HISTORY_SECONDS`, each with the time
 * of its newest message.
 *
 * A room's history is a stream with an expiry. Redis may evict it, and any program can delete it. A missing history
 * alone does not show whether the room ever had a message. This sorted set, which never expires, shows it:
 *
 *     member   score
 *     <room>   the time of the room's newest message, in ms since 1970
 *     ''       the mark: the set contains every room that got a message after this time. The score is the negative
 *              time in ms since 1970, or 0 for the beginning of the epoch. No room has an empty name.
 *
 * If the mark is missing, the set was deleted or evicted and does not prove that a room had no message. See
 * `docs/decisions/0013-rooms-known.md`.
 *
 * A script that embeds one of these parts takes log, epoch and the set as its first three KEYS, and defines `now`.
 *
 * @module
 */

/**
 * Maximum number of rooms that one call of the Lua function `prune` removes. Redis took 6 ms to remove 1,000 of
 * 1,000,000 rooms.
 */
const PRUNED_MAX = 1000;
/**
 * How long a room stays in the set of known rooms after its messages have expired, in ms, because the clock may be set
 * back.
 */
const MARGIN_MS = 60_000;
/** The greatest sequence number that an id can have. */
const SEQUENCE_MAX = "999999999999999";

/**
 * Lua that adds rooms to the set of known rooms and removes them from it.
 *
 * `note(…)` is `ZADD` on the set of known rooms. If the set's key holds another type of value, `note` replaces the
 * value. `note` returns an error instead of raising it.
 *
 * `forget(seconds of a history, most)` removes at most `most` rooms whose messages have all expired, and moves the
 * mark, the time since which the set is complete. Otherwise a node with a longer `HISTORY_SECONDS` would conclude that
 * a removed room never had messages.
 */
export const KNOWN_ROOMS = `
local function note(...)
  local added = redis.pcall('ZADD', KEYS[3], ...)
  if type(added) == 'table' and string.find(added.err, 'WRONGTYPE') then
    redis.call('DEL', KEYS[3])
    added = redis.pcall('ZADD', KEYS[3], ...)
  end
  return added
end
local function forget(seconds, most)
  local old = now - seconds * 1000 - ${MARGIN_MS}
  local over = redis.pcall('ZCOUNT', KEYS[3], '(0', old)
  if type(over) ~= 'number' or over == 0 then return end
  local first = redis.pcall('ZCOUNT', KEYS[3], '-inf', 0)
  -- Remove rooms before ZADD: without free memory, Redis accepts ZADD only after another write of the same script.
  redis.pcall('ZREMRANGEBYRANK', KEYS[3], first, first + math.min(over, most) - 1)
  redis.pcall('ZADD', KEYS[3], 'XX', 'LT', -old - 1, '')
end
`;

/**
 * Lua that defines `prune(last id of the log, seconds of a history)`, which each node calls about once a second. If the
 * set has no mark (the time since which the set is complete), `prune` adds one for the time of the log's last id. It
 * also removes at most `PRUNED_MAX` rooms whose messages have all expired, and raises no error.
 */
export const PRUNE_ROOMS = `
local function prune(last, seconds)
  note('NX', -(tonumber(string.match(last, '^%d+')) + 1), '')
  forget(seconds, ${PRUNED_MAX})
end
`;

/**
 * Lua that finds lost histories.
 *
 * `inspect(key)` returns the reply of `XINFO STREAM` as a table, which is empty if there is no such key.
 *
 * `lost(room, history, stream, filled, oldest)` returns the id up to which messages of the room may be missing without
 * a trace in its history, or nil if none are. `history` is the key of the history, `stream` its `inspect()` result or
 * nil, and `filled` says whether it has messages. Messages from before `oldest`, in ms since 1970, are ignored.
 */
export const LOST_MESSAGES = `
local function inspect(key)
  local info, stream = redis.pcall('XINFO', 'STREAM', key), {}
  if info.err and string.find(info.err, 'no such key') then return stream end
  if info.err then error(info.err) end
  for i = 1, #info, 2 do stream[info[i]] = info[i + 1] end
  return stream
end
local function lost(room, history, stream, filled, oldest)
  local score = tonumber(redis.pcall('ZSCORE', KEYS[3], room))
  if score then
    if score < oldest then return nil end
    local at = string.format('%.0f', math.min(score, 9e14))
    -- If the history has a message of the time in the set, it is still the stream to which that message was written.
    stream = stream or inspect(history)
    local last, entry = stream['last-generated-id'], stream['last-entry']
    if entry and string.match(entry[1], '^%d+') == at then return nil end
    if #redis.call('XRANGE', history, at, at, 'COUNT', 1) > 0 then return nil end
    return last and string.match(last, '^%d+') == at and last or at .. '-${SEQUENCE_MAX}'
  end
  if filled then return nil end
  local mark = tonumber(redis.pcall('ZSCORE', KEYS[3], ''))
  if not mark then return '${SEQUENCE_MAX}-${SEQUENCE_MAX}' end
  if -mark > oldest then return string.format('%.0f-${SEQUENCE_MAX}', -mark - 1) end
end
`;
