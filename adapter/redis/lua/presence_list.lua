-- A page of a room's members, after removing those of dead nodes.
-- with parts/members.lua
-- KEYS: members of the room, guests of the room, nodes
-- ARGV: node code of the asker, lower bound as of ZRANGEBYLEX, most members to list, most
--       ghosts to remove (see take())
-- Answers: members in the room; the page of those at home and the page of guests, each
-- with one more than asked for if there are more (the asker puts them in order: strings
-- compare by Redis's locale in here); the ghosts removed, of which the asker tells; 1 if
-- there are more ghosts: ask again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ghosts, left = {}, tonumber(ARGV[4])
local dead = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)
if redis.call('ZCOUNT', KEYS[3], '(' .. now, '+inf') == 0 then
  dead = {} -- all at once: a clock that jumped, see heartbeat.lua
end
for _, code in ipairs(dead) do
  -- The asker lives: its own late heartbeat is on the way and will tell it.
  if code ~= ARGV[1] then
    local gone, cost = take(KEYS[1], KEYS[2], code, left)
    for _, member in ipairs(gone) do
      ghosts[#ghosts + 1] = member
    end
    left = left - cost
    if cost > 0 and left <= 0 then
      return {0, {}, {}, ghosts, 1}
    end
  end
end
local low, most = ARGV[2], ARGV[3] + 1
local low_guest = low == '-' and '[!' or low:sub(1, 1) .. '!' .. low:sub(2)
local home = redis.call('ZRANGEBYLEX', KEYS[1], low, '+', 'LIMIT', 0, most)
local guests = redis.call('ZRANGEBYLEX', KEYS[2], low_guest, '(@', 'LIMIT', 0, most)
return {count(KEYS[1], KEYS[2]), home, guests, ghosts, 0}
