-- A semaphore as libraries keep it in a sorted set (token, when it was taken): trim, count, add.
-- KEYS: the set. ARGV: limit, ttl in milliseconds, token, the client's time in milliseconds.
local now, ttl = tonumber(ARGV[4]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ttl)
if redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[1]) then
    redis.call('ZADD', KEYS[1], now, ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ttl)
    return 1
end
return 0
