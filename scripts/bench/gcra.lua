-- The generic cell rate algorithm as Go's redis_rate sends it: the same arguments, the same calls
-- of the server, the same reply.
redis.replicate_commands()

local key = KEYS[1]
local burst = ARGV[1]
local rate = ARGV[2]
local period = ARGV[3]
local cost = tonumber(ARGV[4])

local interval = period / rate
local increment = interval * cost
local tolerance = interval * burst

-- Seconds since 2017: a double keeps the microseconds.
local time = redis.call("TIME")
local now = (time[1] - 1483228800) + (time[2] / 1000000)

local arrival = redis.call("GET", key)
if arrival then
  arrival = tonumber(arrival)
else
  arrival = now
end
arrival = math.max(arrival, now)

local next_arrival = arrival + increment
local room = now - (next_arrival - tolerance)
local remaining = room / interval
if remaining < 0 then
  return {0, 0, tostring(-room), tostring(arrival - now)}
end

local reset_after = next_arrival - now
if reset_after > 0 then
  redis.call("SET", key, next_arrival, "EX", math.ceil(reset_after))
end
return {cost, remaining, tostring(-1), tostring(reset_after)}
