-- Add one member to a room. Adding it again replaces it, also where another node had it.
-- with parts/members.lua
-- KEYS: members of the room, guests of the room, nodes, rooms of the node
-- ARGV: node code, lease in ms, <nsp>#<room>, sid, the string that follows all that begin
--       with the sid, user, prefix of the presence keys
-- Answers: members in the room; 1 if the node's lease was good, else 0: it was registered
-- anew, and what it had added before may be gone.
-- The node and its room are registered in the same step, so a node that dies right after
-- it leaves nothing that the reaper would not find.
local code, room, sid, user = ARGV[1], ARGV[3], ARGV[4], ARGV[6]
local home = sid:sub(1, #code)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('ZSCORE', KEYS[3], code)
local known = lease and tonumber(lease) > now
if not known then
  -- As in heartbeat.lua: if no lease is good, each gets another.
  if lease and redis.call('ZCOUNT', KEYS[3], '(' .. now, '+inf') == 0 then
    for _, node in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
      redis.call('ZADD', KEYS[3], now + ARGV[2], node)
    end
  end
  redis.call('ZADD', KEYS[3], now + ARGV[2], code)
end
redis.call('SADD', KEYS[4], room)

local had -- by which node
if redis.call('ZREMRANGEBYLEX', KEYS[1], '[' .. sid, '(' .. ARGV[5]) > 0 then
  had = home
end
local guest = beginning(KEYS[2], '!' .. sid, 1)[1]
if guest then
  had = guest:sub(#sid + 2, #sid + 1 + #code)
  redis.call('ZREM', KEYS[2], guest, '@' .. had .. sid)
end
if home == code then
  redis.call('ZADD', KEYS[1], 0, sid .. user)
else
  redis.call('ZADD', KEYS[2], 0, '!' .. sid .. code .. user, 0, '@' .. code .. sid)
end
-- It may never have a reason to look after this room again.
if had and had ~= code and not has_any(KEYS[1], KEYS[2], had) then
  redis.call('SREM', ARGV[7] .. 'node:' .. had .. ':rooms', room)
end
return {count(KEYS[1], KEYS[2]), known and 1 or 0}
