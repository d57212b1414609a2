-- A fixed window as small limiters send it: a counter that expires with its window.
-- KEYS[1]; ARGV: limit, window in milliseconds, cost. Reply: allowed, remaining, milliseconds left.
local used = redis.call("INCRBY", KEYS[1], ARGV[3])
if used == tonumber(ARGV[3]) then
  redis.call("PEXPIRE", KEYS[1], ARGV[2])
end
local left = redis.call("PTTL", KEYS[1])
local limit = tonumber(ARGV[1])
if used > limit then
  return {0, 0, left}
end
return {1, limit - used, left}
