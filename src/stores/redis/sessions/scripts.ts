import { redisScript } from "../connection.js";

/**
 * A session is one string: a head of fixed width (see `value.ts`), then JSON. `-` in its place says that the
 * session has ended; it stays for as long as a request that began before could still write. Each script touches one key,
 * so each runs on a cluster as it is.
 */

/** KEYS session · ARGV "set" | "create" | "replace", value, life ms → 1 when written */
export const WRITE = redisScript(`
local held = redis.call('GETRANGE', KEYS[1], 0, 0)
if held == '-' or (ARGV[1] == 'create' and held ~= '') or (ARGV[1] == 'replace' and held == '') then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
`);

/** KEYS session · ARGV where the times stand in the head, the times, life ms → 1 when the session is there */
export const TOUCH = redisScript(`
local held = redis.call('GETRANGE', KEYS[1], 0, 0)
if held == '-' or held == '' then return 0 end
redis.call('SETRANGE', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
`);

/** KEYS session · ARGV length of the head, how long it stays ended ms, the owner's tag or nothing → head, empty when there was none */
export const END = redisScript(`
local head = redis.call('GETRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)
local alive = head ~= '' and head ~= '-'
if alive and ARGV[3] ~= '' and string.sub(head, -#ARGV[3]) ~= ARGV[3] then return '' end
redis.call('SET', KEYS[1], '-', 'PX', ARGV[2])
return alive and head or ''
`);

/**
 * KEYS index · ARGV session id, its end, now, how long after its end an entry is kept ms. Deleted is only what has ended by
 * the server's clock too: a process whose clock is ahead must not hide other sessions from who ends them all.
 */
export const INDEX = redisScript(`
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
local time = redis.call('TIME')
local now = math.min(tonumber(ARGV[3]), time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - tonumber(ARGV[4])))
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or now
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(tonumber(last) - now, 0) + tonumber(ARGV[4])))
return 1
`);
