-- An exact sliding window: a sorted set with a member for each token taken.
-- KEYS[1]; ARGV: limit, window in milliseconds, now in milliseconds, a name for the call, cost.
-- Reply: allowed, remaining.
local now = tonumber(ARGV[3])
redis.call("ZREMRANGEBYSCORE", KEYS[1], 0, now - tonumber(ARGV[2]))
local used = redis.call("ZCARD", KEYS[1])
local limit, cost = tonumber(ARGV[1]), tonumber(ARGV[5])
if used + cost > limit then
  return {0, limit - used}
end
for n = 1, cost do
  redis.call("ZADD", KEYS[1], now, ARGV[4] .. ":" .. used + n)
end
redis.call("PEXPIRE", KEYS[1], ARGV[2])
return {1, limit - used - cost}
