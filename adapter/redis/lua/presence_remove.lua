-- Remove one member from a room, if this node still has it.
-- with parts/members.lua
-- KEYS: members of the room, guests of the room, rooms of the node
-- ARGV: node code, <nsp>#<room>, sid, the string that follows all that begin with the sid
-- Answers: members left in the room.
local code, sid = ARGV[1], ARGV[3]
if sid:sub(1, #code) == code then
  redis.call('ZREMRANGEBYLEX', KEYS[1], '[' .. sid, '(' .. ARGV[4])
elseif redis.call('ZREM', KEYS[2], '@' .. code .. sid) == 1 then
  redis.call('ZREMRANGEBYLEX', KEYS[2], '[!' .. sid, '(!' .. sid .. '\127')
end
if not has_any(KEYS[1], KEYS[2], code) then
  redis.call('SREM', KEYS[3], ARGV[2])
end
return count(KEYS[1], KEYS[2])
