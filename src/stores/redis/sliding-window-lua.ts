import { redisScript } from "./connection.js";

/*
 * One client's log is one string: a header and six bytes for each accepted request, oldest first.
 *
 *   header   base    double, the time of offset 0, in ticks of Redis' clock     8 bytes
 *            used    units in the log                                           4 bytes
 *            newest  offset of the last record                                  4 bytes
 *   record   time    offset from base, in ticks                                 4 bytes
 *            units   what the request cost; 4 bytes when the limit needs them   2 bytes
 *
 * A tick is a microsecond or, for long windows, a few, so that a window is never more than 2^31 of them. Times are
 * rounded up when recorded and down when compared: a record never leaves its window early.
 *
 * The string is read and written whole: two commands, whatever the limit. test/bench/stores/README.md compares it with a
 * sorted set, and says where it ends.
 */

/**
 * KEYS: one for each limit. ARGV: "1" to record or "0" to look only; then groups, each beginning with the number of its
 * keys and having limit, window and tick (microseconds), cost, and life of the key (milliseconds) for each of them. The
 * costs of a group are recorded all or none; groups have nothing to do with each other, and travel together to share
 * what a script costs by itself.
 *
 * Answers for each key: 1 when its own limit allows, 0 when not; the units used; milliseconds until it would allow;
 * milliseconds until the oldest unit leaves. Or -1 and what went wrong with that key, and two zeros. Last of all the time
 * of the records, in microseconds.
 *
 * The usual group of one key passes through local variables alone: tables and calls are most of what a script costs.
 */
export const CONSUME = redisScript(`
local MOST_OFFSET = 4294967295
local call, unpack, pack, sub, ceil = redis.pcall, struct.unpack, struct.pack, string.sub, math.ceil
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local record = ARGV[1] == '1'
local answer, out = {0, 0, 0, 0, 0}, 0

-- Writes the live records, with one more of that cost unless it is 0. Says what went wrong.
local function write(key, wide, tick, cost, life, text, first, base, used, newest)
  local format, width = wide and '<I4I4' or '<I4I2', wide and 8 or 6
  local body = text and sub(text, first) or ''
  local added = ''
  if cost > 0 then
    local stamp = tick > 1 and ceil(now / tick) or now
    if body == '' then base = stamp end
    if stamp - base > MOST_OFFSET then
      local by, parts = unpack('<I4', body), {}
      for at = 1, #body, width do
        local offset, units = unpack(format, body, at)
        parts[#parts + 1] = pack(format, offset - by, units)
      end
      body, base, newest = table.concat(parts), base + by, newest - by
    end
    local offset, units = stamp - base, cost
    if body ~= '' and newest == offset then
      local _, held = unpack(format, body, #body - width + 1)
      body, units = sub(body, 1, -width - 1), units + held
    end
    used, newest, added = used + cost, offset, pack(format, offset, units)
  end
  local written = call('SET', key, pack('<dI4I4', base, used, newest) .. body .. added, 'PX', life)
  return written.err
end

local key, arg, keys = 0, 2, #KEYS
while key < keys do
  local size, fits, held = ARGV[arg] + 0, record, nil
  local from = out
  if size > 1 then held = {} end
  for j = 1, size do
    local at = arg + j * 5 - 4
    local limit, window, tick, cost = ARGV[at] + 0, ARGV[at + 1] + 0, ARGV[at + 2] + 0, ARGV[at + 3] + 0
    local stamp, span, edge = now, window, now - window
    if tick > 1 then
      stamp, span = ceil(now / tick), ceil(window / tick)
      edge = math.floor(now / tick) - span
    end
    local wide = limit > 65535
    local text, problem, moved = call('GET', KEYS[key + j]), nil, false
    local base, used, newest, first, offset, units = stamp, 0, 0, 17, 0, 0
    if text then
      if text.err then
        problem, text, fits = text.err, false, false
      else
        base, used, newest, offset, units = unpack(wide and '<dI4I4I4I4' or '<dI4I4I4I2', text)
        -- The clock was set back, or a server with a slower one took over. What is recorded moves back as far: time stands
        -- still between the newest record and now, and nothing leaves its window early.
        if base + newest > stamp then base, moved = stamp - newest, true end
        edge = edge - base
        if offset <= edge then
          local format, width, length = wide and '<I4I4' or '<I4I2', wide and 8 or 6, #text
          repeat
            used, first = used - units, first + width
            if first > length then break end
            offset, units = unpack(format, text, first)
          until offset > edge
        end
      end
    end
    local allowed, retry = used + cost <= limit, 0
    local reset = used > 0 and ceil(((base + offset + span) * tick - now) / 1000) or 0
    if not allowed then
      fits = false
      if cost > limit then retry = ceil(window / 1000)
      elseif cost == 1 and used == limit then retry = reset
      else
        -- The record with which enough units have left.
        local surplus, from, last = used + cost - limit, first, offset
        local format, width = wide and '<I4I4' or '<I4I2', wide and 8 or 6
        while surplus > 0 do
          local left
          last, left = unpack(format, text, from)
          surplus, from = surplus - left, from + width
        end
        retry = ceil(((base + last + span) * tick - now) / 1000)
      end
    end
    if size == 1 and record and ((allowed and cost > 0 and not problem) or moved) then
      local spent = allowed and cost or 0
      problem = write(KEYS[key + 1], wide, tick, spent, ARGV[at + 4], text, first, base, used, newest)
      if spent > 0 and used == 0 then reset = ceil(window / 1000) end
      used = used + spent
    elseif size > 1 then
      held[j] = {wide, tick, cost, text, first, base, used, newest, moved, window}
    end
    if problem then
      answer[out + 1], answer[out + 2], answer[out + 3], answer[out + 4] = -1, problem, 0, 0
    else
      answer[out + 1], answer[out + 2], answer[out + 3], answer[out + 4] = allowed and 1 or 0, used, retry, reset
    end
    out = out + 4
  end
  if size > 1 and record then
    for j = 1, size do
      local wide, tick, cost, text, first, base, used, newest, moved, window = _G.unpack(held[j])
      local spent, reply = fits and cost or 0, from + j * 4 - 3
      if spent > 0 or moved then
        local problem = write(KEYS[key + j], wide, tick, spent, ARGV[arg + j * 5], text, first, base, used, newest)
        if problem then answer[reply], answer[reply + 1], answer[reply + 2], answer[reply + 3] = -1, problem, 0, 0
        else
          answer[reply + 1] = used + spent
          if spent > 0 and used == 0 then answer[reply + 3] = ceil(window / 1000) end
        end
      end
    end
  end
  key, arg = key + size, arg + 1 + size * 5
end
answer[out + 1] = now
return answer
`);

/**
 * KEYS: one. ARGV: limit, window and tick (microseconds), units, and the time in microseconds at which they were recorded, or
 * "" for the oldest. What is not there any more is not taken back: the count is never lower than the truth.
 */
export const REFUND = redisScript(`
local text = redis.call('GET', KEYS[1])
if not text then return 0 end
local wide, window, tick, units = tonumber(ARGV[1]) > 65535, tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local format, width = wide and '<I4I4' or '<I4I2', wide and 8 or 6
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local base, used, newest = struct.unpack('<dI4I4', text)
local edge = math.floor(now / tick) - math.ceil(window / tick) - base
local wanted = ARGV[5] ~= '' and math.ceil(tonumber(ARGV[5]) / tick) - base
local parts, back, last = {}, 0, 0
for at = 17, #text, width do
  local offset, held = struct.unpack(format, text, at)
  if offset > edge and back < units and (not wanted or offset == wanted) then
    local less = math.min(units - back, held)
    back, held = back + less, held - less
  end
  if held > 0 then
    parts[#parts + 1] = struct.pack(format, offset, held)
    last = offset
  end
end
if back == 0 then return 0 end
if used == back then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], struct.pack('<dI4I4', base, used - back, last) .. table.concat(parts), 'KEEPTTL')
return back
`);
