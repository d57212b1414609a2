-- Two fixed windows, the one before weighted by how much of it the sliding one still covers: what
-- most libraries call a sliding window. It admits up to twice the limit, less one.
-- KEYS: the counter of this window, that of the one before. ARGV: limit, now and window in
-- milliseconds, cost. Reply: what is left, or -1.
local limit, now, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local cost = tonumber(ARGV[4])
local current = tonumber(redis.call("GET", KEYS[1]) or "0")
local before = tonumber(redis.call("GET", KEYS[2]) or "0")
local part = (now % window) / window
before = math.floor((1 - part) * before)
if before + current + cost > limit then
  return {-1, limit}
end
local used = redis.call("INCRBY", KEYS[1], ARGV[4])
if used == cost then
  redis.call("PEXPIRE", KEYS[1], window * 2 + 1000)
end
return {limit - (used + before), limit}
