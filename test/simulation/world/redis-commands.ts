/**
 * The commands of Redis that the library sends, in Lua, so that the library's scripts run as they are. One Lua state is one
 * server with one database. `redis-engine.test.ts` compares it with a real server.
 *
 * `pairs` has no fixed order, so what it collects is sorted.
 */
export const REDIS_COMMANDS = String.raw`
unpack = table.unpack
struct = { pack = string.pack, unpack = string.unpack }

local values, ends, scripts = {}, {}, {}
local now, told = 0, {}
local OK = { ok = 'OK' }
local WRONG = { err = 'WRONGTYPE Operation against a key holding the wrong kind of value' }
local NOT_WHOLE = { err = 'ERR value is not an integer or out of range' }

-- The value of a key, of the right type. A string is a Lua string; other types are tables with their kind.
local function read(key, kind)
  if ends[key] and ends[key] <= now // 1000 then values[key], ends[key] = nil, nil end
  local value = values[key]
  if value == nil then return nil end
  if (type(value) == 'string' and 'string' or value.kind) ~= kind then error(WRONG, 0) end
  return value
end

local function exists(key)
  if ends[key] and ends[key] <= now // 1000 then values[key], ends[key] = nil, nil end
  return values[key] ~= nil
end

local function whole(text)
  local number = math.tointeger(tonumber(text))
  if not number then error(NOT_WHOLE, 0) end
  return number
end

local function made(key, kind)
  local value = read(key, kind)
  if not value then
    value = { kind = kind, map = {} }
    values[key], ends[key] = value, nil
  end
  return value
end

local function drop(key)
  local was = exists(key)
  values[key], ends[key] = nil, nil
  return was
end

-- Where a range begins and ends, counted from one.
local function range(low, high, length)
  low, high = whole(low), whole(high)
  if low < 0 then low = math.max(length + low, 0) end
  if high < 0 then high = length + high end
  return low + 1, math.min(high, length - 1) + 1
end

local function scoreText(score)
  local number = math.tointeger(score)
  return number and tostring(number) or string.format('%.17g', score)
end

local function score(text)
  local infinite = string.match(text, '^([+-]?)inf$')
  if infinite then return infinite == '-' and -math.huge or math.huge end
  local number = tonumber(text)
  if not number then error({ err = 'ERR value is not a valid float' }, 0) end
  return number + 0.0
end

-- The members of a sorted set, in order.
local function sorted(key)
  local set = read(key, 'zset')
  local list = {}
  for member, at in pairs(set and set.map or {}) do list[#list + 1] = { member, at } end
  table.sort(list, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[1] < b[1]) end)
  return list
end

local function listed(members, first, last, withScores)
  local list = {}
  for at = first, last do
    list[#list + 1] = members[at][1]
    if withScores then list[#list + 1] = scoreText(members[at][2]) end
  end
  return list
end

-- A test of the lower or the upper end of a range of scores.
local function bound(text, isUpper)
  local open = string.sub(text, 1, 1) == '('
  local limit = score(open and string.sub(text, 2) or text)
  if isUpper then return function(at) if open then return at < limit end return at <= limit end end
  return function(at) if open then return at > limit end return at >= limit end
end

local function within(key, low, high)
  local above, below, list = bound(low, false), bound(high, true), {}
  for _, entry in ipairs(sorted(key)) do
    if above(entry[2]) and below(entry[2]) then list[#list + 1] = entry end
  end
  return list
end

-- A type whose last element left is no key any more.
local function dropEmpty(key, value)
  if next(value.map) == nil then values[key], ends[key] = nil, nil end
end

local commands = {}

function commands.PING() return { ok = 'PONG' } end
function commands.TIME() return { tostring(now // 1000000), tostring(now % 1000000) } end
function commands.ROLE() return { 'master', 0, {} } end
function commands.PUBLISH(channel, message)
  told[#told + 1] = { channel, message }
  return 0
end

function commands.GET(key) return read(key, 'string') end
function commands.SET(key, value, ...)
  local options, at, life, keep = { ... }, 1, nil, false
  while options[at] do
    local option = string.upper(options[at])
    if option == 'NX' then
      if exists(key) then return nil end
    elseif option == 'KEEPTTL' then keep = true
    elseif option == 'PX' then
      at = at + 1
      life = whole(options[at])
      if life <= 0 then return { err = "ERR invalid expire time in 'set' command" } end
    else return { err = 'ERR syntax error' } end
    at = at + 1
  end
  local old = exists(key) and ends[key]
  values[key] = value
  ends[key] = life and now // 1000 + life or (keep and old or nil)
  return OK
end
function commands.GETDEL(key)
  local value = read(key, 'string')
  drop(key)
  return value
end
function commands.DEL(...)
  local count = 0
  for _, key in ipairs({ ... }) do if drop(key) then count = count + 1 end end
  return count
end
function commands.GETRANGE(key, low, high)
  local value = read(key, 'string') or ''
  low, high = whole(low), whole(high)
  if low < 0 and high < 0 and low > high then return '' end
  -- Unlike that of a list, an end before the beginning is the first character.
  if low < 0 then low = math.max(#value + low, 0) end
  if high < 0 then high = math.max(#value + high, 0) end
  return string.sub(value, low + 1, high + 1)
end
function commands.SETRANGE(key, at, text)
  local value = read(key, 'string') or ''
  if text == '' then return #value end
  at = whole(at)
  if #value < at then value = value .. string.rep('\0', at - #value) end
  local life = ends[key]
  values[key] = string.sub(value, 1, at) .. text .. string.sub(value, at + #text + 1)
  ends[key] = life
  return #values[key]
end
function commands.PEXPIRE(key, life)
  if not exists(key) then return 0 end
  ends[key] = now // 1000 + whole(life)
  return 1
end
function commands.PTTL(key)
  if not exists(key) then return -2 end
  return ends[key] and ends[key] - now // 1000 or -1
end

function commands.HGET(key, field)
  local hash = read(key, 'hash')
  return hash and hash.map[field]
end
function commands.HSET(key, field, value)
  local hash = made(key, 'hash')
  local isNew = hash.map[field] == nil
  hash.map[field] = value
  return isNew and 1 or 0
end
function commands.HSETNX(key, field, value)
  local hash = made(key, 'hash')
  if hash.map[field] ~= nil then return 0 end
  hash.map[field] = value
  return 1
end
function commands.HINCRBY(key, field, by)
  local hash = read(key, 'hash')
  local sum = whole(hash and hash.map[field] or '0') + whole(by)
  made(key, 'hash').map[field] = tostring(sum)
  return sum
end

function commands.RPUSH(key, ...)
  local list = made(key, 'list')
  for _, value in ipairs({ ... }) do list.map[#list.map + 1] = value end
  return #list.map
end
function commands.LLEN(key)
  local list = read(key, 'list')
  return list and #list.map or 0
end
function commands.LINDEX(key, at)
  local list = read(key, 'list')
  at = whole(at)
  if not list then return nil end
  return list.map[at < 0 and #list.map + at + 1 or at + 1]
end
function commands.LRANGE(key, low, high)
  local list = read(key, 'list')
  if not list then return {} end
  local first, last = range(low, high, #list.map)
  return { table.unpack(list.map, first, last) }
end
function commands.LTRIM(key, low, high)
  local list = read(key, 'list')
  if not list then return OK end
  local first, last = range(low, high, #list.map)
  list.map = { table.unpack(list.map, first, last) }
  dropEmpty(key, list)
  return OK
end

function commands.ZADD(key, ...)
  local words = { ... }
  local onlyNew = string.upper(words[1]) == 'NX'
  local first = onlyNew and 2 or 1
  for at = first, #words, 2 do score(words[at]) end
  local set, added = made(key, 'zset'), 0
  for at = first, #words, 2 do
    local member = words[at + 1]
    if set.map[member] == nil then added = added + 1 end
    if set.map[member] == nil or not onlyNew then set.map[member] = score(words[at]) end
  end
  return added
end
function commands.ZSCORE(key, member)
  local set = read(key, 'zset')
  local at = set and set.map[member]
  return at and scoreText(at)
end
function commands.ZCARD(key) return #sorted(key) end
function commands.ZRANK(key, member)
  for at, entry in ipairs(sorted(key)) do if entry[1] == member then return at - 1 end end
  return nil
end
function commands.ZRANGE(key, low, high, withScores)
  local members = sorted(key)
  local first, last = range(low, high, #members)
  return listed(members, first, last, withScores)
end
function commands.ZREVRANGE(key, low, high, withScores)
  local members, reverse = sorted(key), {}
  for at = #members, 1, -1 do reverse[#reverse + 1] = members[at] end
  local first, last = range(low, high, #reverse)
  return listed(reverse, first, last, withScores)
end
function commands.ZRANGEBYSCORE(key, low, high, ...)
  local members, words = within(key, low, high), { ... }
  local withScores, first, last, at = false, 1, #members, 1
  while words[at] do
    if string.upper(words[at]) == 'WITHSCORES' then withScores = true
    else
      first = whole(words[at + 1]) + 1
      local count = whole(words[at + 2])
      if count >= 0 then last = math.min(last, first + count - 1) end
      at = at + 2
    end
    at = at + 1
  end
  return listed(members, first, last, withScores)
end
function commands.ZREM(key, ...)
  local set, removed = read(key, 'zset'), 0
  if not set then return 0 end
  for _, member in ipairs({ ... }) do
    if set.map[member] ~= nil then removed = removed + 1 end
    set.map[member] = nil
  end
  dropEmpty(key, set)
  return removed
end
function commands.ZREMRANGEBYSCORE(key, low, high)
  local members, set = within(key, low, high), read(key, 'zset')
  if not set then return 0 end
  for _, entry in ipairs(members) do set.map[entry[1]] = nil end
  dropEmpty(key, set)
  return #members
end

-- What redis.pcall gives: a script sees a missing value as false, and numbers as the text that a client would send.
local function ask(name, ...)
  local words = { ... }
  for at, word in ipairs(words) do
    if type(word) == 'number' then words[at] = scoreText(word) end
  end
  local command = commands[string.upper(name)]
  if not command then return { err = 'ERR unknown command ' .. name } end
  local worked, reply = pcall(command, table.unpack(words))
  if not worked then
    if type(reply) ~= 'table' then error(reply, 0) end
    return reply
  end
  if reply == nil then return false end
  return reply
end

redis = {
  pcall = ask,
  call = function(...)
    local reply = ask(...)
    if type(reply) == 'table' and reply.err then error(reply, 0) end
    return reply
  end,
}

-- A reply as one text: a letter and a value for each part.
local SEPARATOR = '\30'
local function write(reply, parts)
  local kind = type(reply)
  if kind == 'number' then parts[#parts + 1] = ':' .. string.format('%d', reply < 0 and math.ceil(reply) or math.floor(reply))
  elseif kind == 'string' then
    if string.find(reply, SEPARATOR, 1, true) then error('a reply with a separator') end
    parts[#parts + 1] = '$' .. reply
  elseif kind == 'table' and reply.err then parts[#parts + 1] = '-' .. reply.err
  elseif kind == 'table' and reply.ok then parts[#parts + 1] = '$' .. reply.ok
  elseif kind == 'table' then
    parts[#parts + 1] = '*' .. #reply
    for _, part in ipairs(reply) do write(part, parts) end
  elseif reply == true then parts[#parts + 1] = ':1'
  else parts[#parts + 1] = '_' end
  return parts
end

local function runScript(script, count, words)
  KEYS = { table.unpack(words, 1, count) }
  ARGV = { table.unpack(words, count + 1) }
  local worked, reply = pcall(script)
  if worked then return reply end
  return type(reply) == 'table' and reply or { err = 'ERR ' .. tostring(reply) }
end

-- One call of a client. After the reply comes what was published: channel and message, one after the other.
function serve(microseconds, name, ...)
  now, told = whole(microseconds), {}
  local words, reply = { ... }, nil
  if name == 'EVALSHA' then
    local script = scripts[words[1]]
    if script then reply = runScript(script, whole(words[2]), { table.unpack(words, 3) })
    else reply = { err = 'NOSCRIPT No matching script. Please use EVAL.' } end
  else reply = ask(name, ...) end
  local parts = write(reply, {})
  for _, one in ipairs(told) do
    parts[#parts + 1] = one[1]
    parts[#parts + 1] = one[2]
  end
  return table.concat(parts, SEPARATOR)
end

function learn(sha, source) scripts[sha] = assert(load(source)) end

-- Everything that the server kept is gone: with a restart its scripts, and its data where it has no disk.
function forgetScripts() scripts = {} end
function forgetData() values, ends = {}, {} end

-- The keys there are, for callers of the simulation that damage a record.
function keys()
  local list = {}
  for key in pairs(values) do list[#list + 1] = key end
  table.sort(list)
  return table.concat(list, SEPARATOR)
end
`;
