import { redisScript } from "../connection.js";

/**
 * A session is one string: a header of fixed width (see `value.ts`), then JSON. `-` in its place marks a session that
 * has ended. The mark stays for as long as a request that began before could still write. Each script touches one key,
 * so each runs on a cluster unchanged.
 */

/**
 * KEYS session · ARGV "set" | "create" | "replace", value, life ms → 1 when written, 0 when there is no such session,
 * -1 when the id is taken
 */
export const WRITE = redisScript(`
local held = redis.call('GETRANGE', KEYS[1], 0, 0)
if held == '-' or (ARGV[1] == 'replace' and held == '') then return 0 end
if ARGV[1] == 'create' and held ~= '' then return -1 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
`);

/** KEYS session · ARGV position of the times in the header, the times, life ms → 1 when the session exists */
export const TOUCH = redisScript(`
local held = redis.call('GETRANGE', KEYS[1], 0, 0)
if held == '-' or held == '' then return 0 end
redis.call('SETRANGE', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
`);

/**
 * KEYS session · ARGV length of the header, how long the mark of an ended session stays ms, the owner's tag or nothing
 * → header, empty when there was none
 */
export const END = redisScript(`
local head = redis.call('GETRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)
local alive = head ~= '' and head ~= '-'
if alive and ARGV[3] ~= '' and string.sub(head, -#ARGV[3]) ~= ARGV[3] then return '' end
redis.call('SET', KEYS[1], '-', 'PX', ARGV[2])
return alive and head or ''
`);

/**
 * Adds a session to its principal's index: by its end, and by the time of its first entry on this server's clock. Both
 * keys share a hash slot. Work is bounded: one call cleans up at most 100 entries and returns at most two ids.
 *
 * It removes only entries that have ended by the server's clock too: a process whose clock is ahead must not hide the
 * sessions of others from a call that ends them all.
 *
 * When there are more entries than allowed, it returns the sessions to end: the first to end, which makes up for
 * interrupted calls, and one of this call's own, so that simultaneous log-ins do not all return the same one. They stay
 * in the index until they have ended. The added session may itself be returned, and is spared; both ids may be the
 * same.
 *
 * KEYS ends, begun · ARGV session id, its end, now, how long after its end an entry is kept ms, most entries → ids
 */
export const ENTER = redisScript(`
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', time[1] * 1000000 + time[2]), ARGV[1])
local now = math.min(tonumber(ARGV[3]), time[1] * 1000 + math.floor(time[2] / 1000))
local past = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[4]), 'LIMIT', 0, 100)
if #past > 0 then
  redis.call('ZREM', KEYS[1], unpack(past))
  redis.call('ZREM', KEYS[2], unpack(past))
end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or now
local life = string.format('%.0f', math.max(last - now, 0) + ARGV[4])
redis.call('PEXPIRE', KEYS[1], life)
redis.call('PEXPIRE', KEYS[2], life)
local over = redis.call('ZCARD', KEYS[1]) - ARGV[5]
if over <= 0 then return {} end
local own = redis.call('ZRANK', KEYS[1], ARGV[1]) < over and over or over - 1
return { redis.call('ZRANGE', KEYS[1], 0, 0)[1], redis.call('ZRANGE', KEYS[1], own, own)[1] }
`);

/**
 * KEYS begun · ARGV how long ago ms → ids of the sessions that began that long ago or longer, by this server's clock. A
 * session that seems to begin in the future began before the clock was set back.
 */
export const BEGUN = redisScript(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[1] * 1000))
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')) do ids[#ids + 1] = id end
return ids
`);
