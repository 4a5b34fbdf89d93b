-- Add one member to a room. Adding it again replaces it.
-- KEYS: members of the room, nodes, rooms of the node
-- ARGV: node code, lease in ms, <nsp>#<room>, sid, the string that follows all that begin
--       with the sid, user
-- Answers: members in the room; 1 if the node's lease was good, else 0: it was registered
-- anew, and what it had added before may be gone.
-- The node and its room are registered in the same step, so a node that dies right after
-- it leaves nothing that the reaper would not find.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('ZSCORE', KEYS[2], ARGV[1])
local known = lease and tonumber(lease) > now
if not known then
  -- As in heartbeat.lua: if no lease is good, each gets another.
  if lease and redis.call('ZCOUNT', KEYS[2], '(' .. now, '+inf') == 0 then
    for _, code in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
      redis.call('ZADD', KEYS[2], now + ARGV[2], code)
    end
  end
  redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
end
redis.call('SADD', KEYS[3], ARGV[3])
redis.call('ZREMRANGEBYLEX', KEYS[1], '[' .. ARGV[4], '(' .. ARGV[5])
redis.call('ZADD', KEYS[1], 0, ARGV[4] .. ARGV[6])
return {redis.call('ZCARD', KEYS[1]), known and 1 or 0}
