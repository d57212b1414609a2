-- A bucket as of RL.TAKE, RL.PEEK and RL.GIVE, by a script. Levels are doubles, so they are rounded.
-- ARGV: the call, the tokens and milliseconds of the rate, burst, cost, keep, mode, milliseconds of MAXWAIT.
local call, rate, mode = ARGV[1], tonumber(ARGV[2]) / tonumber(ARGV[3]), ARGV[7]
local burst, cost, keep = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local most = 1e11
local function valid(n) return n and n >= 0 and n <= most and n % 1 == 0 end
if not (valid(burst) and valid(cost) and valid(keep)) then
  return redis.error_reply("ERR burst, COST and KEEP must be integers from 0 to 10^11")
end

-- A level this close to a whole number is that number.
local near = math.max(1, burst) * 1e-12
local function whole(tokens) return math.max(0, math.floor(tokens + near)) end
local function milliseconds(tokens) return math.max(0, math.ceil((tokens - near) / rate)) end

local time = redis.call("TIME")
local now = time[1] * 1e6 + time[2] -- Microseconds: a double holds them exactly.
local level, at = burst, now
local stored = redis.call("GET", KEYS[1])
if stored then
  if #stored ~= 16 then return redis.error_reply("WRONGTYPE the key holds something else") end
  level, at = struct.unpack("<dd", stored)
  level = math.min(burst, level + math.max(0, now - at) / 1000 * rate)
end

local function reply(taken, wait)
  return {taken, burst, whole(level), wait, milliseconds(burst - level)}
end
local function write()
  local left = milliseconds(burst - level)
  if left == 0 then
    redis.call("DEL", KEYS[1])
  else
    redis.call("SET", KEYS[1], struct.pack("<dd", level, now), "PX", left)
  end
end

if call == "GIVE" then
  local given = math.min(cost, burst - level)
  if given <= near or burst == 0 then return reply(0, 0) end
  level = level + given
  write()
  return reply(math.ceil(given - near), 0)
end

local taken, wait = cost, 0
if level + near < cost + keep then
  local need = (mode == "ATMOST" and math.min(1, cost) or cost) + keep
  taken, wait = 0, need > burst and -1 or math.max(1, milliseconds(need - level))
  local there = whole(level - keep)
  if mode == "ATMOST" and there > 0 then
    taken, wait = there, 0
  elseif mode == "FORCE" then
    taken, wait = cost, 0
  elseif mode == "MAXWAIT" and wait ~= -1 and cost > 0 then
    local longest = tonumber(ARGV[8])
    if wait > longest then wait = wait - longest else taken = cost end
  end
end
if call == "PEEK" then return reply(taken, wait) end
if level - taken < -most then
  return redis.error_reply("ERR COST would make the bucket owe more than 10^11 tokens")
end
if taken > 0 then
  level = level - taken
  write()
elseif wait ~= 0 and at > now then
  write() -- The clock stepped back: the bucket refills from now on.
elseif wait ~= 0 and stored then
  -- This limit may refill more slowly than the one of the last take.
  local left = milliseconds(burst - level)
  if redis.call("PTTL", KEYS[1]) < left then redis.call("PEXPIRE", KEYS[1], left) end
end
return reply(taken, wait)
