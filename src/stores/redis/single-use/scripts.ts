import { redisScript } from "../connection.js";

/**
 * Enters a record into the index of its person and kind, by its end. Returns the ids that have to give way: those that
 * would end first, and never the one that enters. They leave the index at once. Work is bounded by the most entries.
 *
 * KEYS index · ARGV record id, its end, its life ms, most entries → ids
 */
export const ENTER = redisScript(`
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
local over = redis.call('ZCARD', KEYS[1]) - ARGV[4]
local leaving = {}
if over > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, over)) do
    if id ~= ARGV[1] and #leaving < over then leaving[#leaving + 1] = id end
  end
  redis.call('ZREM', KEYS[1], unpack(leaving))
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return leaving
`);
