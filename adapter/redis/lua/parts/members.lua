-- How the members of a room are kept, see presence.h. Ids and codes are url-safe, so \127
-- sorts behind every character of one.

-- The entries that begin so, `most` at most.
local function beginning(key, start, most)
  return redis.call('ZRANGEBYLEX', key, '[' .. start, '(' .. start .. '\127', 'LIMIT', 0, most)
end

local function count(members, guests)
  return redis.call('ZCARD', members) + redis.call('ZCARD', guests) / 2
end

local function has_any(members, guests, code)
  return #beginning(members, code, 1) > 0 or #beginning(guests, '@' .. code, 1) > 0
end

-- Each guest is looked up by its id: measured, that is as dear as seven members at home.
local GUEST_COST = 7

-- Remove members that this node has in the room, as long as they cost less than `most`.
-- Answers their entries and what they cost; less than `most`: that was all of them.
local function take(members, guests, code, most)
  local gone = beginning(members, code, most)
  if #gone > 0 then
    redis.call('ZREMRANGEBYLEX', members, '[' .. code, '[' .. gone[#gone])
  end
  local cost = #gone
  local at = beginning(guests, '@' .. code, math.ceil((most - cost) / GUEST_COST))
  if #at > 0 then
    redis.call('ZREMRANGEBYLEX', guests, '[' .. at[1], '[' .. at[#at])
  end
  for _, entry in ipairs(at) do
    local guest = beginning(guests, '!' .. entry:sub(#code + 2), 1)[1]
    if guest then
      redis.call('ZREM', guests, guest)
      gone[#gone + 1] = guest
    end
  end
  return gone, cost + #at * GUEST_COST
end
