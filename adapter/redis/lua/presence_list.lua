-- A page of a room's members, after removing those of dead nodes.
-- KEYS: members of the room, nodes
-- ARGV: node code of the asker, lower bound as of ZRANGEBYLEX, most members to list, most
--       ghosts to remove
-- Answers: members in the room; the page, with one more than asked for if there are more;
-- the ghosts removed, of which the asker tells; 1 if there are more ghosts: ask again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ghosts, left = {}, tonumber(ARGV[4])
local dead = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)
if redis.call('ZCOUNT', KEYS[2], '(' .. now, '+inf') == 0 then
  dead = {} -- all at once: a clock that jumped, see heartbeat.lua
end
for _, code in ipairs(dead) do
  -- The asker lives: its own late heartbeat is on the way and will tell it.
  if code ~= ARGV[1] then
    local gone = redis.call('ZRANGEBYLEX', KEYS[1], '[' .. code, '(' .. code .. '\127',
                            'LIMIT', 0, left)
    if #gone > 0 then
      redis.call('ZREMRANGEBYLEX', KEYS[1], '[' .. code, '[' .. gone[#gone])
      for _, member in ipairs(gone) do
        ghosts[#ghosts + 1] = member
      end
      left = left - #gone
      if left <= 0 then
        return {0, {}, ghosts, 1}
      end
    end
  end
end
local page = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], '+', 'LIMIT', 0, ARGV[3] + 1)
return {redis.call('ZCARD', KEYS[1]), page, ghosts, 0}
