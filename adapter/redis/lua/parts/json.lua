-- JSON text to MessagePack, as JavaScript reads it. Redis's own cjson cannot tell [] from {}.
local function json_to_msgpack(_)
  return nil, 'the event is MessagePack here'
end

local function event_fault(data)
  local first = string.byte(data, 1)
  return not first and 'the event is empty' or nil
end
