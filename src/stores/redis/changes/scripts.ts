import { redisScript } from "../connection.js";

/**
 * The change log: a hash `state` (epoch, and how many lines were ever written), a list `log` of the newest lines, and a
 * sorted set `denied` of all denials in force, by their end. All three share a hash tag. Positions are counts, so a
 * step of the server's clock loses nothing. A denial is deleted only when it has ended by the writer's clock and the
 * server's: one process whose clock is ahead must not readmit what all the others denied.
 *
 * A line is a random mark, a space, and the change as JSON. The next read compares the mark of the last line that was
 * read: after a failover that lost lines, the count alone could look right.
 */

/** KEYS state log · ARGV initial epoch, life ms → epoch, count, mark of the last line */
export const POSITION = redisScript(`
if redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'count', 0)
  redis.call('DEL', KEYS[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local last = redis.call('LINDEX', KEYS[2], -1)
return { redis.call('HGET', KEYS[1], 'epoch'), redis.call('HGET', KEYS[1], 'count'), last and string.match(last, '^%S*') or '' }
`);

/** KEYS state log · ARGV epoch, count, mark, life ms → nil when there is a gap, else count and the lines since */
export const SINCE = redisScript(`
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return nil end
local count = tonumber(redis.call('HGET', KEYS[1], 'count'))
local behind = count - tonumber(ARGV[2])
local length = redis.call('LLEN', KEYS[2])
if behind < 0 or behind > length then return nil end
if behind < length then
  local last = redis.call('LINDEX', KEYS[2], -(behind + 1))
  if string.match(last, '^%S*') ~= ARGV[3] then return nil end
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) / 2 then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return { tostring(count), behind == 0 and {} or redis.call('LRANGE', KEYS[2], -behind, -1) }
`);

/**
 * KEYS state log denied · ARGV initial epoch, life ms, channel, lines kept, now, how long after its end a denial is
 * kept, "1" to omit known changes, then line, member and end (empty for a change without one) of each change
 */
export const RECORD = redisScript(`
if redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'count', 0)
  redis.call('DEL', KEYS[2])
end
local published = {}
for i = 8, #ARGV, 3 do
  local line, member, ends = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local known = false
  if ends ~= '' then
    local score = redis.call('ZSCORE', KEYS[3], member)
    known = score and tonumber(score) >= tonumber(ends)
    if not known then redis.call('ZADD', KEYS[3], ends, member) end
  end
  if not (known and ARGV[7] == '1') then
    redis.call('RPUSH', KEYS[2], line)
    published[#published + 1] = line
  end
end
if #published > 0 then
  redis.call('HINCRBY', KEYS[1], 'count', #published)
  redis.call('LTRIM', KEYS[2], '-' .. ARGV[4], -1)
end
local time = redis.call('TIME')
local now = math.min(tonumber(ARGV[5]), time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('(%.0f', now - tonumber(ARGV[6])))
local last = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
if last then
  redis.call('PEXPIRE', KEYS[3], string.format('%.0f', math.max(tonumber(last) - now, 0) + tonumber(ARGV[2])))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if #published > 0 then redis.pcall('PUBLISH', ARGV[3], table.concat(published, '\\n')) end
return #published
`);

/**
 * KEYS denied · ARGV lowest end, how many → members and their ends, in order. By the end and not by SCAN, whose cursor
 * is invalid on the server that takes over. An end is only ever moved later, so no member is skipped.
 */
export const PAGE = redisScript(`
return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
`);
