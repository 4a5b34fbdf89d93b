-- JSON text to MessagePack, as JavaScript reads it. Redis's own cjson takes [] for {}, and
-- loses what it cannot keep in its tables. One pass over the text; the pieces are joined at
-- the end.
local JSON_DEPTH = 100
local json_escapes = {['"'] = '"', ['\\'] = '\\', ['/'] = '/', b = '\b', f = '\f', n = '\n',
                      r = '\r', t = '\t'}

local function json_fail(at, what)
  error({why = what .. ' at byte ' .. at}, 0)
end

local function pack_head(n, fix, fix_max, h8, h16, h32)
  if n <= fix_max then
    return string.char(fix + n)
  elseif h8 and n < 256 then
    return string.char(h8, n)
  elseif n < 65536 then
    return string.char(h16) .. struct.pack('>I2', n)
  end
  return string.char(h32) .. struct.pack('>I4', n)
end

local function pack_str(s)
  return pack_head(#s, 160, 31, 217, 218, 219) .. s
end

local function utf8_char(c)
  if c < 128 then
    return string.char(c)
  elseif c < 2048 then
    return string.char(192 + math.floor(c / 64), 128 + c % 64)
  elseif c < 65536 then
    return string.char(224 + math.floor(c / 4096), 128 + math.floor(c / 64) % 64, 128 + c % 64)
  end
  return string.char(240 + math.floor(c / 262144), 128 + math.floor(c / 4096) % 64,
                     128 + math.floor(c / 64) % 64, 128 + c % 64)
end

-- What \uXXXX at `at` stands for, and where it goes on; two that are a pair are one.
local function json_unicode(text, at)
  local hex = string.match(text, '^%x%x%x%x', at + 2)
  if not hex then
    json_fail(at, 'a bad \\u')
  end
  local c = tonumber(hex, 16)
  at = at + 6
  if c >= 55296 and c < 56320 then
    local low = string.match(text, '^\\u(%x%x%x%x)', at)
    low = low and tonumber(low, 16)
    if low and low >= 56320 and low < 57344 then
      return utf8_char(65536 + (c - 55296) * 1024 + low - 56320), at + 6
    end
  end
  if c >= 55296 and c < 57344 then
    c = 65533
  end
  return utf8_char(c), at
end

-- The string that begins at `at`, and where it goes on.
local function json_string(text, at)
  local start, parts = at + 1, nil
  at = start
  while true do
    local stop = string.find(text, '[%z\1-\31"\\]', at)
    if not stop then
      json_fail(#text, 'a string that does not end')
    end
    local c = string.sub(text, stop, stop)
    if c == '"' then
      local rest = string.sub(text, at, stop - 1)
      return parts and table.concat(parts) .. rest or rest, stop + 1
    elseif c ~= '\\' then
      json_fail(stop, 'a control character in a string')
    end
    parts = parts or {}
    parts[#parts + 1] = string.sub(text, at, stop - 1)
    c = string.sub(text, stop + 1, stop + 1)
    if c == 'u' then
      parts[#parts + 1], at = json_unicode(text, stop)
    elseif json_escapes[c] then
      parts[#parts + 1], at = json_escapes[c], stop + 2
    else
      json_fail(stop, 'a bad escape')
    end
  end
end

local function json_number(text, at)
  local whole, fraction, exponent, stop = string.match(text, '^(-?%d+)(%.?%d*)([eE]?[+-]?%d*)()', at)
  if not whole or string.find(whole, '^-?0%d') or fraction == '.' or
      (exponent ~= '' and not string.find(exponent, '^[eE][+-]?%d')) then
    json_fail(at, 'neither a value nor a number')
  end
  local n = tonumber(whole .. fraction .. exponent)
  if n == math.floor(n) and n >= -9007199254740991 and n <= 9007199254740991 and
      not (n == 0 and string.sub(whole, 1, 1) == '-') then
    if n >= 0 and n < 128 then
      return string.char(n), stop
    elseif n < 0 and n >= -32 then
      return string.char(256 + n), stop
    elseif n >= 0 and n < 4294967296 then
      return '\206' .. struct.pack('>I4', n), stop
    elseif n < 0 and n >= -2147483648 then
      return '\210' .. struct.pack('>i4', n), stop
    end
  end
  return '\203' .. struct.pack('>d', n), stop
end

local json_words = {['t'] = {'true', '\195'}, ['f'] = {'false', '\194'}, ['n'] = {'null', '\192'}}

-- Appends to out the value at `at`; answers where it goes on.
local function json_value(text, at, out, depth)
  at = string.find(text, '[^ \t\r\n]', at) or #text + 1
  local c = string.sub(text, at, at)
  if c == '"' then
    local s
    s, at = json_string(text, at)
    out[#out + 1] = pack_str(s)
    return at
  elseif c == '[' or c == '{' then
    if depth == JSON_DEPTH then
      json_fail(at, 'more than ' .. JSON_DEPTH .. ' levels')
    end
    local close, count, place = c == '[' and ']' or '}', 0, #out + 1
    out[place] = ''
    at = string.find(text, '[^ \t\r\n]', at + 1) or #text + 1
    while string.sub(text, at, at) ~= close do
      if count > 0 then
        if string.sub(text, at, at) ~= ',' then
          json_fail(at, 'no , or ' .. close)
        end
        at = string.find(text, '[^ \t\r\n]', at + 1) or #text + 1
      end
      if c == '{' then
        if string.sub(text, at, at) ~= '"' then
          json_fail(at, 'a key that is no string')
        end
        local key
        key, at = json_string(text, at)
        out[#out + 1] = pack_str(key)
        at = string.find(text, '[^ \t\r\n]', at) or #text + 1
        if string.sub(text, at, at) ~= ':' then
          json_fail(at, 'no :')
        end
        at = at + 1
      end
      at = json_value(text, at, out, depth + 1)
      at = string.find(text, '[^ \t\r\n]', at) or #text + 1
      count = count + 1
    end
    if c == '[' then
      out[place] = pack_head(count, 144, 15, nil, 220, 221)
    else
      out[place] = pack_head(count, 128, 15, nil, 222, 223)
    end
    return at + 1
  end
  local word = json_words[c]
  if word and string.sub(text, at, at + #word[1] - 1) == word[1] then
    out[#out + 1] = word[2]
    return at + #word[1]
  end
  out[#out + 1], at = json_number(text, at)
  return at
end

-- nil, and why, if it is no JSON.
local function json_to_msgpack(text)
  local out = {}
  local good, at = pcall(json_value, text, 1, out, 0)
  if not good then
    return nil, type(at) == 'table' and at.why or tostring(at)
  end
  if string.find(text, '[^ \t\r\n]', at) then
    return nil, 'more than one value at byte ' .. at
  end
  return table.concat(out)
end

local reserved_events = {connect = true, connect_error = true, disconnect = true,
                         disconnecting = true, newListener = true, removeListener = true}

-- By the first byte from 0xc0 on: how many bytes follow; of how many a length has that follows,
-- and what it does not count; likewise for arrays and maps, and how many values it counts.
local mp_fixed = {[192] = 0, [194] = 0, [195] = 0, [202] = 4, [203] = 8, [204] = 1, [205] = 2,
                  [206] = 4, [207] = 8, [208] = 1, [209] = 2, [210] = 4, [211] = 8, [212] = 2,
                  [213] = 3, [214] = 5, [215] = 9, [216] = 17}
local mp_sized = {[196] = {1, 0}, [197] = {2, 0}, [198] = {4, 0}, [199] = {1, 1}, [200] = {2, 1},
                  [201] = {4, 1}, [217] = {1, 0}, [218] = {2, 0}, [219] = {4, 0}}
local mp_nested = {[220] = {2, 1}, [221] = {4, 1}, [222] = {2, 2}, [223] = {4, 2}}

local function mp_size(s, i, width)
  if i + width - 1 > #s then
    json_fail(#s + 1, 'MessagePack that is cut short')
  end
  return (struct.unpack('>I' .. width, s, i))
end

-- Where the value ends that begins at `i`.
local function mp_step(s, i, depth)
  local b = string.byte(s, i)
  if not b then
    json_fail(i, 'MessagePack that is cut short')
  elseif b < 128 or b >= 224 then
    return i + 1
  elseif b >= 160 and b < 192 then
    i = i + 1 + b - 160
  elseif mp_fixed[b] then
    i = i + 1 + mp_fixed[b]
  elseif mp_sized[b] then
    local width, more = mp_sized[b][1], mp_sized[b][2]
    i = i + 1 + width + more + mp_size(s, i + 1, width)
  elseif b == 193 then
    json_fail(i, 'no MessagePack')
  else
    local values
    if depth == JSON_DEPTH then
      json_fail(i, 'more than ' .. JSON_DEPTH .. ' levels')
    elseif b < 144 then
      values, i = (b - 128) * 2, i + 1
    elseif b < 160 then
      values, i = b - 144, i + 1
    else
      local width, each = mp_nested[b][1], mp_nested[b][2]
      values, i = mp_size(s, i + 1, width) * each, i + 1 + width
    end
    for _ = 1, values do
      i = mp_step(s, i, depth + 1)
    end
  end
  if i > #s + 1 then
    json_fail(#s + 1, 'MessagePack that is cut short')
  end
  return i
end

-- Why clients could not take this for an event; nil: they can. An event is an array that
-- begins with its name.
local function event_fault(data)
  local good, stop = pcall(mp_step, data, 1, 0)
  if not good then
    return type(stop) == 'table' and stop.why or tostring(stop)
  elseif stop ~= #data + 1 then
    return 'more than one value at byte ' .. stop
  end
  local first, name = string.byte(data, 1), nil
  local at = first and first > 144 and first <= 159 and 2 or first == 220 and 4 or
    first == 221 and 6
  if not at then
    return 'an event is an array that begins with its name'
  end
  local kind = string.byte(data, at)
  if kind and kind >= 160 and kind <= 191 then
    name = string.sub(data, at + 1, at + kind - 160)
  elseif kind == 217 then
    name = string.sub(data, at + 2, at + 1 + string.byte(data, at + 1))
  elseif kind == 218 then
    name = true
  end
  if not name or name == '' then
    return 'an event begins with its name, a string'
  elseif reserved_events[name] then
    return 'the name ' .. name .. ' is kept for Socket.IO'
  end
end
