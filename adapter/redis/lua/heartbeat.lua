-- Renew a node's lease, by Redis's clock.
-- KEYS: nodes
-- ARGV: node code, lease in ms
-- Answers: 1 if the lease was still good, else 0: others may have removed its members;
-- the code of a node whose lease has run out, or an empty string.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
local known = lease and tonumber(lease) > now
-- All leases ran out at once: no node did, Redis's clock jumped (the machine slept, say).
-- Each gets another.
if lease and redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf') == 0 then
  for _, code in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    redis.call('ZADD', KEYS[1], now + ARGV[2], code)
  end
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)
return {known and 1 or 0, dead[1] or ''}
