-- Remove the members of one node, some at a time: of a dead one, or the asker's own.
-- with parts/members.lua
-- KEYS: nodes
-- ARGV: prefix of the presence keys, node code of the asker, what (`dead`: of a node whose
--       lease has run out; `mine`: the asker's; `leave`: the asker's and then the asker
--       itself), most rooms, most members (see take())
-- Answers: the node's code, empty if none is dead; 1 if there is more to do;
-- room, members, and so on, as removed.
-- A member is removed and answered in one step, so each is told of by one node. The keys
-- of rooms come from the node's set; they carry the tag of KEYS[1].
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function dead_node()
  if redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf') == 0 then
    return nil -- all at once: a clock that jumped, see heartbeat.lua
  end
  for _, code in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 2)) do
    if code ~= ARGV[2] then
      return code
    end
  end
end

local code = ARGV[2]
if ARGV[3] == 'dead' then
  code = dead_node()
  if not code then
    return {'', 0, {}}
  end
end

local rooms_key = ARGV[1] .. 'node:' .. code .. ':rooms'
local removed, left = {}, tonumber(ARGV[5])
for _, room in ipairs(redis.call('SRANDMEMBER', rooms_key, ARGV[4])) do
  local gone, cost =
    take(ARGV[1] .. 'members:' .. room, ARGV[1] .. 'guests:' .. room, code, left)
  if #gone > 0 then
    removed[#removed + 1] = room
    removed[#removed + 1] = gone
  end
  left = left - cost
  if left <= 0 then
    break -- the room may hold more of them
  end
  redis.call('SREM', rooms_key, room)
end

local more = redis.call('EXISTS', rooms_key) == 1
if not more and ARGV[3] ~= 'mine' then
  redis.call('ZREM', KEYS[1], code)
  more = ARGV[3] == 'dead' and dead_node() ~= nil
end
return {code, more and 1 or 0, removed}
