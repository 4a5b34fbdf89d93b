-- Remove one member from a room.
-- KEYS: members of the room, rooms of the node
-- ARGV: node code, <nsp>#<room>, sid, the string that follows all that begin with the sid
-- Answers: members left in the room.
redis.call('ZREMRANGEBYLEX', KEYS[1], '[' .. ARGV[3], '(' .. ARGV[4])
-- Ids are url-safe, so \127 sorts behind every character of one.
local left = redis.call('ZRANGEBYLEX', KEYS[1], '[' .. ARGV[1], '(' .. ARGV[1] .. '\127',
                        'LIMIT', 0, 1)
if #left == 0 then
  redis.call('SREM', KEYS[2], ARGV[2])
end
return redis.call('ZCARD', KEYS[1])
