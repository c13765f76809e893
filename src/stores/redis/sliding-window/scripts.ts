import { redisScript } from "../connection.js";

/*
 * One client's log is one string: a header and six bytes for each accepted request, oldest first.
 *
 *   header   base    double, the time of offset 0, in ticks of Redis' clock                       8 bytes
 *            before  units ever recorded before the first record here                             4 bytes
 *   record   time    offset from base, in ticks                                                   4 bytes
 *            units   ever recorded up to and with this one; 4 bytes when the limit needs them     2 bytes
 *
 * Sums of units wrap around at 2^16 (2^32). The difference of two of them is the units used in between, since that is
 * never more than the limit. So the units in a window are known from its ends, and as long as no record has left, the
 * new log is the old one plus a record.
 *
 * A tick is a microsecond or, for long windows, a few, so that a window is never more than 2^31 of them. Times are
 * rounded up when recorded and down when compared: a record never leaves its window early.
 *
 * The script reads and writes the whole string: two commands, whatever the limit. test/bench/stores/README.md compares
 * it with a sorted set, and names its limits.
 */

/**
 * KEYS: one for each limit. ARGV: one text for each key, as `keyArgument` of keys.ts builds it: the limit and how long
 * the key lives, in milliseconds. Nothing more is needed when a request costs 1, a tick is one microsecond and the
 * window is whole milliseconds. Then, when needed, the sizes of the groups: the costs of one group are recorded all or
 * none; different groups are independent, and share a call only to share the fixed cost of a script. Without sizes,
 * each key is a group. After the sizes, any text: decide without recording.
 *
 * Answers for each key: units used times 2^32, plus milliseconds until the oldest record leaves; negative when its own
 * limit refuses and would allow at that time. Where these two numbers cannot express the answer, an array: 1 or 0 for
 * allowed, units used, milliseconds until it would allow, milliseconds until the oldest record leaves. Or an array of
 * one text: the failure of that key. For one key without sizes the reply is this answer alone; else it is an array of
 * the answers, followed by the time of the records, in microseconds.
 *
 * The usual group of one key uses only local variables: tables, closures and arguments are most of a script's cost.
 */
export const CONSUME = redisScript(`
local call, unpack, pack, sub, match = redis.pcall, struct.unpack, struct.pack, string.sub, string.match
local ceil, floor = math.ceil, math.floor
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local keys = #KEYS
local groups, looks = ARGV[keys + 1], ARGV[keys + 2]

-- What most requests are: one more record for one client, of whom nothing has left. All below does the same for any request.
local found = nil
if keys == 1 and (not groups or (groups == '1' and not looks)) then
  found = call('GET', KEYS[1])
  local limit, life = match(ARGV[1], '^(%d+) (%d+)$')
  if found and limit and limit + 0 <= 65535 and not found.err and #found > 17 then
    local base, before, oldest = unpack('<dI4I4', found)
    local newest, last = unpack('<I4I2', found, #found - 5)
    local window, since, used = life * 1000 - 2000, now - base, (last - before) % 65536 + 1
    if newest < since and since <= 4294967295 and since < oldest + window and used <= limit + 0 then
      local problem = call('SET', KEYS[1], found .. pack('<I4I2', since, (last + 1) % 65536), 'PX', life).err
      if problem then return groups and {{problem}, now} or {problem} end
      local answer = used * 4294967296 + ceil((oldest + window - since) / 1000)
      if groups then return {answer, now} end
      return answer
    end
  end
end

local sizes = groups and string.gmatch(groups, '%d+')
local answers = (groups or keys > 1) and {}
local done = 0
repeat
  local size, fits = sizes and sizes() + 0 or 1, not looks
  local held = size > 1 and {}
  local life, window, cost, stamp, wide, form, text, problem, moved, base, before, last, latest, used, first, offset, allowed, retry, reset
  for at = done + 1, done + size do
    local limit, tick
    limit, life = match(ARGV[at], '(%S+) (%S+)')
    limit, window, tick, cost, stamp, form = limit + 0, life * 1000 - 2000, 1, 1, now, ''
    local span, edge = window, now - window
    if window < 0 then
      life, window, tick, cost, form = match(ARGV[at], '-(%S+) (%S+) (%S+) (%S+) ?(%S*)')
      window, tick, cost = window + 0, tick + 0, cost + 0
      stamp, span = ceil(now / tick), ceil(window / tick)
      edge = floor(now / tick) - span
    end
    wide = limit > 65535 or form == 'w'
    text, problem, moved = found, false, false
    if text == nil then text = call('GET', KEYS[at]) end
    base, before, last, latest, used, first, offset = stamp, 0, 0, 0, 0, 13, 0
    if text then
      if text.err then
        problem, text, fits = text.err, false, false
      elseif #text < (wide and 20 or 18) or (#text - 12) % (wide and 8 or 6) ~= 0 then
        problem, text, fits = 'UNREADABLE a window that holds something else', false, false
      else
        local format, width, length = wide and '<I4I4' or '<I4I2', wide and 8 or 6, #text
        base, before, offset = unpack('<dI4I4', text)
        latest, last = unpack(format, text, length - width + 1)
        latest = base + latest
        -- The clock was set back, or a server with a slower one took over. What is recorded moves back as far: time stands
        -- still between the newest record and now, and nothing leaves its window early.
        if latest > stamp then base, latest, moved = base - latest + stamp, stamp, true end
        edge = edge - base
        if offset <= edge then
          -- The last record that has left, by halving: a long log is read in as few steps as a short one.
          local beyond = length + 1
          while beyond - first > width do
            local middle = first + floor((beyond - first) / width / 2) * width
            if unpack('<I4', text, middle) <= edge then first = middle else beyond = middle end
          end
          offset, before = unpack(format, text, first)
          first = beyond
          if first <= length then offset = unpack('<I4', text, first) end
        end
        used = (last - before) % (wide and 4294967296 or 65536)
      end
    end
    allowed, retry = used + cost <= limit, 0
    reset = used > 0 and ceil(((base + offset + span) * tick - now) / 1000) or 0
    if not allowed then
      fits = false
      if cost > limit then retry = ceil(window / 1000)
      elseif cost == 1 and used == limit then retry = reset
      else
        -- The record with which enough units have left, by halving.
        local surplus, width = used + cost - limit, wide and 8 or 6
        local format, round = wide and '<I4' or '<I2', wide and 4294967296 or 65536
        local low, high = first - width, #text - width + 1
        while high - low > width do
          local middle = low + floor((high - low) / width / 2) * width
          if (unpack(format, text, middle + 4) - before) % round >= surplus then high = middle else low = middle end
        end
        retry = ceil(((base + unpack('<I4', text, high) + span) * tick - now) / 1000)
      end
    end
    if held then
      held[at] = {life, window, cost, stamp, wide, text, problem, moved, base, before, last, latest, used, first, offset, allowed, retry, reset}
    end
  end
  for at = done + 1, done + size do
    if held then
      life, window, cost, stamp, wide, text, problem, moved, base, before, last, latest, used, first, offset, allowed, retry, reset = _G.unpack(held[at])
    end
    local spent = fits and cost or 0
    if spent > 0 or (moved and not looks) then
      local log, added = text, ''
      if used == 0 then
        base, before, last, reset = stamp, 0, 0, ceil(window / 1000)
        log = pack('<dI4', base, before)
      elseif stamp - base > 4294967295 then
        -- Offsets have outgrown their four bytes: count them from the oldest live record.
        local format, width, parts = wide and '<I4I4' or '<I4I2', wide and 8 or 6, {pack('<dI4', base + offset, before)}
        for from = first, #text, width do
          local since, units = unpack(format, text, from)
          parts[#parts + 1] = pack(format, since - offset, units)
        end
        log, base = table.concat(parts), base + offset
      elseif moved or first > 13 then
        log = pack('<dI4', base, before) .. sub(text, first)
      end
      if spent > 0 then
        if used > 0 and latest == stamp then log = sub(log, 1, wide and -9 or -7) end
        if wide then added = pack('<I4I4', stamp - base, (last + spent) % 4294967296)
        else added = pack('<I4I2', stamp - base, (last + spent) % 65536) end
        used = used + spent
      end
      problem = call('SET', KEYS[at], log .. added, 'PX', life).err
    end
    local answer
    if problem then
      answer = {problem}
    elseif used < 1048576 and reset < 4294967296 and (allowed or retry == reset) then
      answer = used * 4294967296 + reset
      if not allowed then answer = -answer end
    else
      answer = {allowed and 1 or 0, used, retry, reset}
    end
    if not answers then return answer end
    answers[at] = answer
  end
  done = done + size
until done == keys
answers[keys + 1] = now
return answers
`);

/**
 * KEYS: one, and the mark of its last reset where a tick is longer than a microsecond. ARGV: highest limit, window and
 * tick (microseconds), units, and the time in microseconds at which they were recorded, or "" for the oldest. Units
 * that are no longer there are not refunded, so the count is never too low. Answers how many were.
 */
export const REFUND = redisScript(`
local text = redis.call('GET', KEYS[1])
if not text then return 0 end
if KEYS[2] and ARGV[5] ~= '' and tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(ARGV[5]) then return 0 end
local wide, window, tick, units = tonumber(ARGV[1]) > 65535, tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local format, width, round = wide and '<I4I4' or '<I4I2', wide and 8 or 6, wide and 4294967296 or 65536
local unpack, pack, sub = struct.unpack, struct.pack, string.sub
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local base, before = unpack('<dI4', text)
local length = #text
local edge = math.floor(now / tick) - math.ceil(window / tick) - base

-- The first record from a place on whose offset is greater, by halving.
local function after(offset, from)
  local low, high = from - width, length + 1
  while high - low > width do
    local middle = low + math.floor((high - low) / width / 2) * width
    if unpack('<I4', text, middle) <= offset then low = middle else high = middle end
  end
  return high
end
-- The records from one place up to another, with other sums.
local function shifted(from, to, units)
  local parts = {}
  for at = from, to - 1, width do
    local offset, sum = unpack(format, text, at)
    parts[#parts + 1] = pack(format, offset, (sum + units) % round)
  end
  return table.concat(parts)
end
local function sumAt(at)
  if at < 13 then return before end
  local _, sum = unpack(format, text, at)
  return sum
end

local first = after(edge, 13)
if first > length then return 0 end
before = sumAt(first - width)
local back, records
if ARGV[5] == '' then
  -- The oldest: more units have left before the first record.
  back = math.min(units, (sumAt(length - width + 1) - before) % round)
  local low, high = first - width, length + 1
  while high - low > width do
    local middle = low + math.floor((high - low) / width / 2) * width
    if (sumAt(middle) - before) % round <= back then low = middle else high = middle end
  end
  before = before + back
  records = sub(text, high)
else
  local wanted = math.ceil(tonumber(ARGV[5]) / tick) - base
  local at = wanted > edge and after(wanted, first) - width or 0
  if at < first or unpack('<I4', text, at) ~= wanted then return 0 end
  local held = (sumAt(at) - (at == first and before or sumAt(at - width))) % round
  back = math.min(units, held)
  local rest = back < held and at or at + width
  -- The sums of the fewer records are rewritten: those before the record, or those from it on.
  if at - first < length - at then
    records = shifted(first, at, back) .. sub(text, rest)
    before = before + back
  else
    records = sub(text, first, at - 1) .. shifted(rest, length + 1, -back)
  end
end
if back == 0 then return 0 end
if records == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], pack('<dI4', base, before % 4294967296) .. records, 'KEEPTTL') end
return back
`);

/**
 * Forgets a log whose tick is longer than a microsecond: units recorded before and after the reset may have the same
 * time. KEYS: the log, and the mark of its last reset. ARGV: how long the mark lives, in milliseconds.
 */
export const RESET = redisScript(`
local time = redis.call('TIME')
redis.call('SET', KEYS[2], string.format('%.0f', time[1] * 1000000 + time[2]), 'PX', ARGV[1])
return redis.call('DEL', KEYS[1])
`);
