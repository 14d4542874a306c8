/**
 * The Lua scripts that append publishes and other entries to the log.
 *
 * @module
 */
import { type Script, script } from "../redis/script.ts";
import { BATCH, BEGIN } from "./batch_script.ts";

/**
 * Approximate number of messages that the log keeps. If a node falls behind by more messages, its clients receive a gap
 * with the reason `trimmed`.
 */
export const LOG_LENGTH = 100_000;

/**
 * Appends publishes, which are given as pieces. A piece is one of these:
 * - several messages for one room, without idempotency keys;
 * - one message with an idempotency key;
 * - a probe, which is an entry without a room. Nodes recognize probes, and no client receives them.
 *
 * Returns `{now, ms, base, newest, outcome, …}`. The message with index `i` has the id `<ms>-<base + i>`. `newest` is
 * the id of the log's newest entry except probes. The outcome of a piece is '' (appended), '=id' (the key was used
 * before for this message, which has this id), '~' (the key was used before for another message) or '!error' (not in
 * the log).
 *
 * KEYS: log, epoch, known rooms, server, the histories of all rooms, the idempotency keys, each once. ARGV: name for a
 * new epoch; deadline, in ms of Redis' clock; maximum messages of the log; maximum messages and seconds of a history;
 * seconds of an idempotency key; number of rooms; names of the rooms; then five arguments for each piece. These are: ''
 * without a key, otherwise the publish's fingerprint, or '+' for a further room of the same publish; the room's place
 * in the list from 1, or 0 for a probe; number of messages; index of the last message; the text. The text is the
 * message if there is only one, otherwise their lines. It is '' if it equals the text of the piece before.
 *
 * The script does nothing after its deadline. Otherwise, if Redis was paused, the message of a publish that failed with
 * 503 could still appear afterwards.
 */
export const APPEND = script(`${BATCH}
if now > tonumber(ARGV[2]) then return {now, 'late'} end
open(ARGV[1])
local rooms, answer, publishes, waiting, probes = tonumber(ARGV[7]), {now, ms, base, ''}, {}, {}, {}
local function recall(key, fingerprint)
  local ids, value = {}, redis.pcall('GET', key)
  if type(value) == 'string' then
    for word in string.gmatch(value, '%S+') do ids[#ids + 1] = word end
  end
  local known = ids[1]
  ids[1] = fingerprint
  return {key = key, ids = ids, known = known, reused = known and known ~= fingerprint, next = 1}
end
local function once(publish, slot)
  publish.next = publish.next + 1
  local known = publish.ids[publish.next]
  if publish.reused then answer[slot] = '~'
  elseif known and known ~= '-' then answer[slot] = '=' .. known
  else return true end
end
local json
for a = 8 + rooms, #ARGV, 5 do
  local mark, room, count, place = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  if ARGV[a + 4] ~= '' then json = ARGV[a + 4] end
  local slot = #answer + 1
  answer[slot] = ''
  if mark ~= '' and mark ~= '+' then
    publishes[#publishes + 1] = recall(KEYS[5 + rooms + #publishes], mark)
  end
  local publish = mark ~= '' and publishes[#publishes] or nil
  if room == 0 then probes[#probes + 1] = json
  elseif not publish or once(publish, slot) then
    put(ARGV[7 + room], KEYS[4 + room], count, place, count == 1 and place .. ' ' .. json or json)
    waiting[#waiting + 1] = {slot, ARGV[7 + room], publish, publish and publish.next, place}
  end
end
commit(ARGV[3], ARGV[4], ARGV[5])
for _, piece in ipairs(waiting) do
  local slot, room, publish, word, place = unpack(piece, 1, 5)
  local err = failed(room)
  if err then answer[slot] = '!' .. err end
  if publish then publish.ids[word], publish.changed = err and '-' or id(place), true end
end
for _, publish in ipairs(publishes) do
  local value = table.concat(publish.ids, ' ')
  if publish.changed and publish.known then redis.pcall('SET', publish.key, value, 'KEEPTTL')
  elseif publish.changed then redis.pcall('SET', publish.key, value, 'EX', ARGV[6]) end
end
for _, nonce in ipairs(probes) do
  add(ARGV[1], ARGV[3], 'probe', nonce)
end
answer[4] = latest
return answer
`);

/**
 * Adds an entry without messages to the log, and returns the entry's id. If the log does not exist, adds nothing and
 * returns ''.
 *
 * KEYS: log. ARGV: random text for the id; maximum entries of the log; fields and values of the entry.
 */
export const ADD = script(`${BEGIN}
if not inspectLog() then return '' end
return add(ARGV[1], ARGV[2], unpack(ARGV, 3))
`);

/** The Lua scripts that append to the log. They are loaded into Redis on each new connection. */
export const LOG_SCRIPTS: readonly Script[] = [APPEND, ADD];
