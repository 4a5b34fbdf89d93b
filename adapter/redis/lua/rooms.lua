#!lua name=gatehouse_rooms
-- Numbered events, their logs, and sessions: a library of Redis functions, which nodes load
-- and any client may call (docs/recovery.md is the contract for gh_emit and what follows
-- it). Each takes the base as its only key, `gh:{0}`, and makes the names of the others
-- from it; they carry the same tag.
--
--   <base>:head            hash: era, run (of the server), seq (last number), past ("A=95
--                          B=120": eras that still count, and the number where each
--                          ended), bytes (of recent), losses (another number whenever
--                          data was lost), caps (as of gh_publish)
--   <base>:pub:<code>      number of the last publish of a node
--   <base>:log:<nsp>#<room> list: "<cut> <bytes> <n> <ms>", then "<number> <ms> <message>" in
--                          order. cut: number of the last entry that was cut off; bytes: of
--                          the first n entries; ms: when it was last given time to live. An
--                          empty room: events to several rooms or to all
--   <base>:recent          list: the last messages of all; the last one has number seq.
--                          Where a number is that of a join or a leave: "member"
--   <base>:session:<sid>   hash: pid, user, nsp, owner (node), generation, floor (offset),
--                          parked (ms), gone, r:<room> "<flags>:<joined>-<left> ...", of
--                          which the last has no left while it is in it, and w:<room>
--                          "joined <number>" or "left": what a backend wants of one that
--                          is connected, until its node has done it; wishes: how many
--
-- An offset is "<era>-<number>". All is checked before the first write, since a function
-- that fails is not rolled back.
-- with parts/json.lua
local VERSION = 3
local PAST = 8 -- eras that are remembered
local PUB_TTL = 3600 -- s
local CHUNK = 64 -- entries read at once
local LAZY = 8 -- entries of a log that its header does not know of yet, at most
local PAGE = 262144 -- bytes of a page of recent
local ROOMS_MAX = 4096 -- of a session, with those it left after its floor
local SPANS_MAX = 256 -- of one of them
local MEMBER = 'member'
local DEFAULT_CAPS = '180000 1000 1000000 10000 16000000 16000000'
local ERA = 'abcdefghijklmnopqrstuvwxyz0123456789'

local function text(n)
  return string.format('%.0f', n)
end

-- The same for one number after the other, of which only the last digits change.
local low_texts, high, high_text = {}, nil, nil

local function number_text(n)
  local low = n % 1000
  if n < 1000 then
    return text(n)
  elseif n - low ~= high then
    high = n - low
    high_text = text(high / 1000)
  end
  local low_text = low_texts[low]
  if not low_text then
    low_text = string.format('%03d', low)
    low_texts[low] = low_text
  end
  return high_text .. low_text
end

local function bad(what)
  return redis.error_reply('BADARG ' .. what)
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- An era for who calls without one. Lua's own random repeats after a restart, so it is
-- made from the clock, which does not.
local function new_era()
  local time = redis.call('TIME')
  local n, era = time[1] * 1000000 + time[2], ''
  for _ = 1, 12 do
    local digit = n % 36
    era = era .. string.sub(ERA, digit + 1, digit + 1)
    n = (n - digit) / 36
  end
  return era
end

local function read_head(base)
  local h = redis.call('HMGET', base .. ':head', 'era', 'run', 'seq', 'past', 'bytes', 'losses')
  if not h[1] then
    return nil
  end
  return {key = base .. ':head', era = h[1], run = h[2], seq = tonumber(h[3]),
          past = h[4], bytes = tonumber(h[5]), losses = tonumber(h[6])}
end

local function write_head(h)
  if h.begun then
    redis.call('HSET', h.key, 'era', h.era, 'run', h.run, 'seq', text(h.seq), 'past', h.past,
               'bytes', text(h.bytes), 'losses', text(h.losses))
  else
    redis.call('HSET', h.key, 'seq', text(h.seq), 'bytes', text(h.bytes))
  end
end

-- The head, as of this run of the server. `begun`: a new era was begun here, and is to be
-- written.
local function open_head(base, run, era)
  local h = read_head(base)
  if not h then
    -- Whoever was here before knows another number of losses.
    return {key = base .. ':head', era = era, run = run, seq = 0, past = '', bytes = 0,
            losses = now_ms(), begun = true}
  end
  if run == h.run then
    return h
  end
  local past = {}
  for entry in string.gmatch(h.past .. ' ' .. h.era .. '=' .. text(h.seq), '%S+') do
    past[#past + 1] = entry
  end
  while #past > PAST do
    table.remove(past, 1)
  end
  h.past = table.concat(past, ' ')
  h.era, h.run, h.begun = era, run, true
  return h
end

-- This server's run_id, as nodes know it of their connections. A server keeps it as long as
-- it runs, also when a replica becomes the primary: asked once.
local own_run
local function this_run()
  own_run = own_run or string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  return own_run
end

-- What somebody had is gone: nothing from before counts any more.
local function lose(h, era)
  h.past, h.era, h.losses, h.begun = '', era, h.losses + 1, true
end

local function split(offset)
  local era, n = string.match(offset, '^(.+)%-(%d+)$')
  return era, tonumber(n)
end

-- The number where the era ended, or seq of the present one; nil: it does not count.
local function end_of(h, era)
  if era == h.era then
    return h.seq
  end
  for name, n in string.gmatch(h.past, '(%S+)=(%d+)') do
    if name == era then
      return tonumber(n)
    end
  end
end

-- The number of an offset that counts. nil: it does not.
local function good(h, offset)
  local era, n = split(offset)
  local last = era and end_of(h, era)
  return last and n <= last and n or nil
end

-- --- publishing ---

-- Those of the caller, or if it gives none, what nodes said last.
local function read_caps(h, s)
  if s == '' then
    s = redis.call('HGET', h.key, 'caps') or DEFAULT_CAPS
  end
  local a, b, c, d, e, f = string.match(s, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  return a and {age = tonumber(a), events = tonumber(b), bytes = tonumber(c), nsp_events = tonumber(d),
                nsp_bytes = tonumber(e), recent = tonumber(f)}
end

local function format_header(cut, bytes, n, now)
  return cut .. ' ' .. text(bytes) .. ' ' .. n .. ' ' .. text(now)
end

-- Cut the oldest entries, a sixteenth more than must be, so that it is seldom done. Answers
-- how many.
local function cut_log(key, n, cut, bytes, events_max, bytes_max, now)
  local goal_n, goal_bytes = events_max, bytes_max
  local before = n
  redis.call('LPOP', key)
  if n > events_max then
    goal_n = events_max - math.floor(events_max / 16)
  end
  if bytes > bytes_max then
    goal_bytes = bytes_max - math.floor(bytes_max / 16)
  end
  while n > 1 and (n > goal_n or bytes > goal_bytes) do
    local some = math.max(1, math.min(n - 1, n - goal_n, CHUNK))
    local entries = redis.call('LPOP', key, some)
    for _, entry in ipairs(entries) do
      bytes = bytes - #entry
    end
    cut = string.match(entries[some], '^%d+')
    n = n - some
  end
  redis.call('LPUSH', key, format_header(cut, bytes, n, now))
  return before - n
end

-- Entries that are older than they need to be kept, with the present header.
local function age_log(key, n, cut, bytes, before, now)
  local popped = false
  while n > 1 do
    local entry = redis.call('LINDEX', key, popped and 0 or 1)
    if tonumber(string.match(entry, '^%d+ (%d+)')) >= before then
      break
    end
    if not popped then
      redis.call('LPOP', key)
      popped = true
    end
    redis.call('LPOP', key)
    cut = string.match(entry, '^%d+')
    bytes, n = bytes - #entry, n - 1
  end
  if popped then
    redis.call('LPUSH', key, format_header(cut, bytes, n, now))
  end
end

-- What is published in one call: each message is numbered and published at once, and logged
-- with the others of its log at the end, which takes fewer steps.
local function open_batch(base, h, caps)
  local now = now_ms()
  return {base = base, h = h, caps = caps, now = now, logs = {}, entries = {}, recent = {},
          era = h.era .. '-', time = ' ' .. text(now) .. ' '}
end

-- Number a message, whose head counts its offset already, and publish it. Each string made
-- here costs as much as it is long: Redis's Lua hashes every byte of it.
local function append(b, channel, log, message)
  local h = b.h
  h.seq = h.seq + 1
  local number = number_text(h.seq)
  local n = #b.era + #number
  if b.head_n ~= n then
    b.head_n, b.head = n, pack_head(n, 160, 31, 217, 218, 219)
  end
  message = message .. b.head .. b.era .. number
  local entries = b.entries[log]
  if not entries then
    entries = {bytes = 0}
    b.entries[log] = entries
    b.logs[#b.logs + 1] = log
  end
  local entry = number .. b.time .. message
  entries[#entries + 1] = entry
  entries.bytes = entries.bytes + #entry
  b.recent[#b.recent + 1] = message
  h.bytes = h.bytes + #message
  redis.call('PUBLISH', channel, message)
end

-- Append to one log. Answers how many entries were cut. The header is brought up to date once
-- in a while only, which makes the cap of bytes vary by an eighth.
local function append_log(b, log)
  local caps, entries = b.caps, b.entries[log]
  local key = b.base .. ':log:' .. log
  local all = string.find(log, '#', 1, true) == #log -- a namespace has no #, a room may
  local events_max = all and caps.nsp_events or caps.events
  local bytes_max = all and caps.nsp_bytes or caps.bytes
  local header, cut = redis.call('LINDEX', key, 0), 0
  if not header then
    header = '0 0 0 0'
    redis.call('RPUSH', key, header)
  end
  local len = redis.call('RPUSH', key, unpack(entries)) - 1
  local last_cut, bytes, n, set = string.match(header, '^(%d+) (%d+) (%d+) (%d+)$')
  local behind = len - n
  if behind < LAZY and entries.bytes * 8 * LAZY < bytes_max and len <= events_max and
      b.now - set < caps.age / 8 then
    return 0
  end
  if behind == #entries then
    bytes = bytes + entries.bytes
  else
    for _, entry in ipairs(redis.call('LRANGE', key, -behind, -1)) do
      bytes = bytes + #entry
    end
  end
  if len > events_max or tonumber(bytes) > bytes_max then
    cut = cut_log(key, len, last_cut, bytes, events_max, bytes_max, b.now)
  else
    redis.call('LSET', key, 0, format_header(last_cut, bytes, len, b.now))
    if len % CHUNK < behind then
      age_log(key, len, last_cut, bytes, b.now - caps.age, b.now)
    end
  end
  redis.call('PEXPIRE', key, text(caps.age + math.ceil(caps.age / 8)))
  return cut
end

-- Cut what is more than the cap: one by one, or where that would be many, many at once.
local function trim_recent(base, h, caps)
  local some = 1
  while h.bytes > caps.recent do
    local messages = redis.call('LPOP', base .. ':recent', some)
    some = math.min(some * 2, CHUNK)
    if not messages then
      h.bytes = 0
      break
    end
    for _, message in ipairs(messages) do
      h.bytes = h.bytes - #message
    end
  end
end

-- Log what was appended. Answers how many entries were cut.
local function close_batch(b)
  local h, recent, cut = b.h, b.base .. ':recent', 0
  for _, log in ipairs(b.logs) do
    cut = cut + append_log(b, log)
  end
  if #b.recent > 0 then
    redis.call('RPUSH', recent, unpack(b.recent))
  end
  trim_recent(b.base, h, b.caps)
  write_head(h)
  return cut
end

-- Who is in a room gets a number, too: a node that was told of it knows by that if the
-- server has lost it.
local function number_member(base, h)
  h.seq = h.seq + 1
  h.bytes = h.bytes + #MEMBER
  redis.call('RPUSH', base .. ':recent', MEMBER)
  if h.seq % CHUNK == 0 then
    trim_recent(base, h, read_caps(h, ''))
  end
  write_head(h)
end

-- run, era to begin, node, number of its first publish here, number of the one that must
-- have been done before (or 0), caps, then of each: channel, log, message. Answers the last
-- number, entries cut, the era, losses. Those it has done already it does not do again. AHEAD:
-- what was sent before was not done (this library was not there for a moment), and would
-- be taken for done if these were.
local function gh_publish(keys, args)
  local base = keys[1]
  local h = open_head(base, args[1], args[2])
  local k, before = tonumber(args[4]), tonumber(args[5])
  local caps = args[6] and read_caps(h, args[6])
  if not k or not before or not caps or (#args - 6) % 3 ~= 0 then
    return bad('gh_publish takes run, era, node, two numbers, caps and three for each event')
  end
  local pub = base .. ':pub:' .. args[3]
  local last = tonumber(redis.call('GET', pub) or '0')
  if last < before then
    return redis.error_reply('AHEAD of ' .. args[5])
  end
  local batch = open_batch(base, h, caps)
  for i = 7, #args, 3 do
    if k > last then
      append(batch, args[i], args[i + 1], args[i + 2])
    end
    k = k + 1
  end
  redis.call('SET', pub, text(math.max(last, k - 1)), 'EX', PUB_TTL)
  local cut = close_batch(batch)
  return {h.seq, cut, h.era, h.losses}
end

-- --- the stream of a node ---

local function put(channel, ...)
  return redis.call('PUBLISH', channel, cmsgpack.pack({...}))
end

-- run, era to begin, log channel, token, the offset it knows of (or empty), where it is (or
-- empty), caps for those who give none. What it missed, or that it can't be had, comes on the channel:
-- {"sync", token, era, seq here, end, missed, losses, messages}
local function gh_sync(keys, args)
  local base = keys[1]
  local run, era, channel, token, known, position, caps = unpack(args)
  local h = open_head(base, run, era)
  local missed, messages, to_n = false, {}, h.seq
  local known_era, known_n = split(known)
  local known_end = known_era and end_of(h, known_era)
  -- An era that nobody remembers was lost before, and those who knew it are told by `losses`.
  if known_end and known_n > known_end then
    lose(h, era)
  end
  write_head(h)
  if caps ~= '' then
    redis.call('HSET', h.key, 'caps', caps)
  end
  if position ~= '' then
    local from = good(h, position)
    local behind = from and h.seq - from or 0
    if not from or redis.call('LLEN', base .. ':recent') < behind then
      missed = true
    elseif behind > 0 then
      local bytes = 0
      while bytes < PAGE and from < h.seq do
        local first = from - h.seq
        local some = redis.call('LRANGE', base .. ':recent', first, math.min(-1, first + CHUNK - 1))
        for _, message in ipairs(some) do
          if bytes > 0 and bytes + #message > PAGE then
            bytes = PAGE
            break
          end
          if message ~= MEMBER then
            messages[#messages + 1] = message
          end
          bytes = bytes + #message
          from = from + 1
        end
      end
      to_n = from
    end
  end
  return put(channel, 'sync', token, h.era, to_n, to_n == h.seq, missed, h.losses, messages)
end

-- The channel prefix of a base: what follows its mark, socket.io without one.
local function prefix_of(base)
  local mark = string.match(base, '@(.*)$')
  if not mark then
    return 'socket.io'
  end
  return (string.gsub(mark, '%%(%x%x)', function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function log_channel(base, code)
  return prefix_of(base) .. '-log#' .. code .. '#'
end

-- --- sessions ---

local function session_key(base, sid)
  return base .. ':session:' .. sid
end

local function parse_spans(value)
  local flags, rest = string.match(value, '^(%d+):(.*)$')
  local spans = {}
  for joined, left in string.gmatch(rest, '(%d+)%-(%d*)') do
    spans[#spans + 1] = {tonumber(joined), left ~= '' and tonumber(left) or nil}
  end
  return flags, spans
end

local function spans_of(key, room)
  local value = redis.call('HGET', key, 'r:' .. room)
  if not value then
    return {}
  end
  local _, spans = parse_spans(value)
  return spans
end

local function format_spans(flags, spans)
  local parts = {}
  for i, span in ipairs(spans) do
    parts[i] = text(span[1]) .. '-' .. (span[2] and text(span[2]) or '')
  end
  return flags .. ':' .. table.concat(parts, ' ')
end

-- nil, and what to answer: it is not there, or another's by now.
local function open_session(base, sid, generation)
  local key = session_key(base, sid)
  local s = redis.call('HMGET', key, 'generation', 'gone', 'nsp', 'floor', 'owner', 'parked', 'wishes')
  if not s[1] or s[2] then
    return nil, redis.error_reply('NOSESSION there is none of this id')
  end
  if generation and s[1] ~= generation then
    return nil, redis.error_reply('STALE another connection has it')
  end
  return {key = key, nsp = s[3], floor = s[4], owner = s[5], parked = s[6], wishes = tonumber(s[7] or 0)}
end

-- The number a log entry begins with.
local function number_at(key, i)
  return tonumber(string.match(redis.call('LINDEX', key, i), '^%d+'))
end

-- The index of the first entry behind `after`, from the end on, since what was missed is
-- little and what is logged is much. nil: there is none.
local function find(key, len, after)
  local hi, step, lo = len - 1, 1, 1
  if hi < 1 or number_at(key, -1) <= after then
    return nil
  end
  while hi > 1 do
    local i = math.max(1, hi - step)
    if number_at(key, i - len) <= after then
      lo = i + 1
      break
    end
    hi, step = i, step * 2
  end
  while lo < hi do
    local mid = math.floor((lo + hi) / 2)
    if number_at(key, mid - len) <= after then
      lo = mid + 1
    else
      hi = mid
    end
  end
  return hi
end

-- Collect entries of a log into `page`: up to CHUNK, and until they are more than bytes_max,
-- of which little is read at first, since they may be large. Answers the number up to which
-- they are all of them, nil if there are no more; or false: the log does not go back so far.
local function read_log(key, after, to_n, bytes_max, page)
  local header = redis.call('LINDEX', key, 0)
  if not header or (to_n and to_n <= after) then
    return nil
  end
  if tonumber(string.match(header, '^%d+')) > after then
    return false
  end
  local len = redis.call('LLEN', key)
  local i = find(key, len, after)
  if not i then
    return nil
  end
  local at, step, bytes, last = i - len, 2, 0, nil
  local stop = math.min(0, at + CHUNK)
  while at < stop and bytes <= bytes_max do
    local some = redis.call('LRANGE', key, at, math.min(stop, at + step) - 1)
    for _, entry in ipairs(some) do
      local number, message = string.match(entry, '^(%d+) %d+ (.*)$')
      last = tonumber(number)
      bytes = bytes + #message
      if not to_n or last <= to_n then
        page[#page + 1] = {last, message}
      end
    end
    at, step = at + #some, step * 4
  end
  return at < 0 and (not to_n or last < to_n) and last or nil
end

-- The logs a session reads: name, from which number, to which (nil: on and on).
local function logs_of(base, s, sid, after)
  local prefix = base .. ':log:' .. s.nsp .. '#'
  local logs = {{prefix, after}, {prefix .. sid, after}}
  local fields = redis.call('HGETALL', s.key)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'r:' and string.sub(fields[i], 3) ~= sid then
      local _, spans = parse_spans(fields[i + 1])
      local first, last = spans[1], spans[#spans]
      if first then
        logs[#logs + 1] = {prefix .. string.sub(fields[i], 3), math.max(after, first[1]), last[2]}
      end
    end
  end
  return logs
end

-- Is all there that a session needs of what came after this number?
local function reaches(base, s, sid, after)
  for _, log in ipairs(logs_of(base, s, sid, after)) do
    local header = redis.call('LINDEX', log[1], 0)
    if header and not (log[3] and log[3] <= log[2]) and
       tonumber(string.match(header, '^%d+')) > log[2] then
      return false
    end
  end
  return true
end

-- --- what backends want of a session that is connected ---

local function set_wish(s, room, wish)
  if redis.call('HSET', s.key, 'w:' .. room, wish) == 1 then
    redis.call('HINCRBY', s.key, 'wishes', 1)
  end
end

-- Its node did something about this room.
local function clear_wish(s, room)
  if s.wishes > 0 and redis.call('HDEL', s.key, 'w:' .. room) == 1 then
    redis.call('HINCRBY', s.key, 'wishes', -1)
  end
end

-- {room, "joined <number>" or "left"} of each.
local function wishes_of(fields)
  local wishes = {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'w:' then
      wishes[#wishes + 1] = {string.sub(fields[i], 3), fields[i + 1]}
    end
  end
  return wishes
end

local function by_number(a, b)
  return a[1] < b[1]
end

-- sid, generation, the offset after which, bytes.
local function session_replay(base, h, answer, args)
  local sid, generation, offset, bytes_max = unpack(args)
  local s, refused = open_session(base, sid, generation)
  if not s then
    return refused
  end
  local after = good(h, offset)
  if not after then
    return redis.error_reply('LOST the logs do not go back so far')
  end
  local page, complete = {}, h.seq
  bytes_max = tonumber(bytes_max)
  for _, log in ipairs(logs_of(base, s, sid, after)) do
    local to_n = read_log(log[1], log[2], log[3], bytes_max, page)
    if to_n == false then
      return redis.error_reply('LOST the logs do not go back so far')
    end
    if to_n and to_n < complete then
      complete = to_n
    end
  end
  table.sort(page, by_number)
  local messages, bytes = {}, 0
  for _, entry in ipairs(page) do
    if entry[1] > complete then
      break
    end
    bytes = bytes + #entry[2]
    if #messages > 0 and bytes > bytes_max then
      complete = messages.last
      break
    end
    messages[#messages + 1] = entry[2]
    messages.last = entry[1]
  end
  messages.last = nil
  return answer(complete, complete == h.seq, messages)
end

-- Does it need the room no more?
local function is_over(spans, floor)
  local last = spans[#spans]
  return not last or last[2] and last[2] <= floor
end

-- Rooms that were left before the floor go when others come, so that a socket that is in
-- ever new ones has no more than it needs. False: it is in too many.
local function make_room(key, floor)
  local n = redis.call('HLEN', key)
  if n % CHUNK ~= 0 and n < ROOMS_MAX then
    return true
  end
  local fields, rooms = redis.call('HGETALL', key), 0
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'r:' then
      local _, spans = parse_spans(fields[i + 1])
      if is_over(spans, floor) then
        redis.call('HDEL', key, fields[i])
      else
        rooms = rooms + 1
      end
    end
  end
  return rooms < ROOMS_MAX
end

-- sid, generation, room, flags, history, bytes
local function session_join(base, h, answer, args)
  local sid, generation, room, flags, history, bytes_max = unpack(args)
  local s, refused = open_session(base, sid, generation)
  if not s then
    return refused
  end
  local spans, kept = spans_of(s.key, room), {}
  local floor = good(h, s.floor) or 0
  if #spans == 0 and not make_room(s.key, floor) then
    return redis.error_reply('TOOMANY rooms')
  end
  for _, span in ipairs(spans) do
    if not span[2] or span[2] > floor then
      kept[#kept + 1] = span
    end
  end
  local last = kept[#kept]
  local is_in = last and not last[2]
  if not is_in and #kept >= SPANS_MAX then
    return redis.error_reply('TOOMANY stays in one room')
  elseif not is_in then
    number_member(base, h)
    kept[#kept + 1] = {h.seq}
  end
  redis.call('HSET', s.key, 'r:' .. room, format_spans(flags, kept))
  clear_wish(s, room)
  local messages, bytes = {}, 0
  history, bytes_max = tonumber(history), tonumber(bytes_max)
  if history > 0 then
    local key = base .. ':log:' .. s.nsp .. '#' .. room
    local n = math.min(history, math.max(0, redis.call('LLEN', key) - 1))
    local some = n > 0 and redis.call('LRANGE', key, -n, -1) or {}
    for i = #some, 1, -1 do
      local message = string.match(some[i], '^%d+ %d+ (.*)$')
      bytes = bytes + #message
      if #messages > 0 and bytes > bytes_max then
        break
      end
      table.insert(messages, 1, message)
    end
  end
  return answer(h.seq, true, messages)
end

-- Answers whether it was in it. A leave of before it joined, which is asked again because
-- nobody heard the answer, is none of this stay.
local function leave(s, room, number)
  local value = redis.call('HGET', s.key, 'r:' .. room)
  if not value then
    return false
  end
  local flags, spans = parse_spans(value)
  local last = spans[#spans]
  if not last or last[2] or number < last[1] then
    return false
  end
  if number > last[1] then
    last[2] = number
  else
    table.remove(spans) -- nothing came meanwhile
  end
  if #spans > 0 then
    redis.call('HSET', s.key, 'r:' .. room, format_spans(flags, spans))
  else
    redis.call('HDEL', s.key, 'r:' .. room)
  end
  return true
end

-- sid, pid, nsp, user, node, floor, ttl. Asked again, because nobody heard the answer, it
-- leaves what came since as it is.
local function session_new(base, _, _, args)
  local sid, pid, nsp, user, node, floor, ttl = unpack(args)
  local key = session_key(base, sid)
  if redis.call('HGET', key, 'pid') == pid then
    return 1
  end
  redis.call('DEL', key)
  redis.call('HSET', key, 'pid', pid, 'nsp', nsp, 'user', user, 'owner', node, 'generation',
             '1', 'floor', floor)
  redis.call('PEXPIRE', key, ttl)
  return 1
end

-- Into the rooms a backend wants it in, since then; what its node did not do any more.
-- Where its client has something newer, it was connected, and is in them from now on.
local function grant(base, h, s, wishes, after, rooms)
  for _, wish in ipairs(wishes) do
    local room, number = wish[1], tonumber(string.match(wish[2], '^joined (%d+)$'))
    redis.call('HDEL', s.key, 'w:' .. room)
    if number then
      local spans = spans_of(s.key, room)
      number_member(base, h)
      spans[#spans + 1] = {number >= after and number or h.seq}
      local value = format_spans('4', spans)
      redis.call('HSET', s.key, 'r:' .. room, value)
      for i = 1, #rooms, 2 do
        if rooms[i] == room then
          table.remove(rooms, i)
          table.remove(rooms, i)
          break
        end
      end
      rooms[#rooms + 1] = room
      rooms[#rooms + 1] = value
    end
  end
  redis.call('HDEL', s.key, 'wishes')
end

-- sid, pid, nsp, user, offset (or empty), node, ttl. Answers generation, was it parked,
-- after which number, and for each room its name and spans.
local function session_take(base, h, _, args)
  local sid, pid, nsp, user, offset, node, ttl = unpack(args)
  local key = session_key(base, sid)
  local fields, s, rooms = redis.call('HGETALL', key), {}, {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'r:' then
      rooms[#rooms + 1] = string.sub(fields[i], 3)
      rooms[#rooms + 1] = fields[i + 1]
    else
      s[fields[i]] = fields[i + 1]
    end
  end
  if not s.pid or s.gone or s.pid ~= pid or s.nsp ~= nsp or s.user ~= user then
    return redis.error_reply('NOSESSION there is none of this id')
  end
  local after = good(h, s.floor)
  if not after then
    return redis.error_reply('LOST the logs do not go back so far')
  end
  local offset_era, number = split(offset)
  local last = offset_era and end_of(h, offset_era)
  if last and number > last then
    return redis.error_reply('LOST ' .. offset) -- it has what is not there any more, or says so
  end
  if last then
    after = math.max(after, number)
  end
  if not reaches(base, {key = key, nsp = nsp}, sid, after) then
    return redis.error_reply('LOST the logs do not go back so far')
  end
  local generation = text(tonumber(s.generation) + 1)
  redis.call('HSET', key, 'owner', node, 'generation', generation)
  redis.call('HDEL', key, 'parked')
  redis.call('PEXPIRE', key, ttl)
  if s.wishes then
    grant(base, h, {key = key}, wishes_of(fields), after, rooms)
  end
  if not s.parked then
    put(log_channel(base, s.owner), 'session', 'taken', sid, generation, '')
  end
  return {tonumber(generation), s.parked and 1 or 0, after, rooms}
end

local session_ops = {
  new = session_new,
  join = session_join,
  take = session_take,
  replay = session_replay,
}

-- sid, generation, room, number. Answers the last number, and its era.
function session_ops.leave(base, h, _, args)
  local s, refused = open_session(base, args[1], args[2])
  if not s then
    return refused
  end
  if leave(s, args[3], tonumber(args[4])) then
    number_member(base, h)
  end
  clear_wish(s, args[3])
  return {h.seq, h.era}
end

-- sid, generation, floor, ttl, node (or empty: as it was). The floor does not go back. What
-- a backend wants of it and its node has not done is told again: it may not have heard.
function session_ops.renew(base, h, _, args)
  local sid, generation, floor, ttl, node = unpack(args)
  local s, refused = open_session(base, sid, generation)
  if not s then
    return refused
  end
  local to, was = good(h, floor), good(h, s.floor)
  if not to or (was and was > to) then
    floor = s.floor
  end
  redis.call('HSET', s.key, 'floor', floor)
  if node ~= '' then
    redis.call('HSET', s.key, 'owner', node)
  end
  redis.call('HDEL', s.key, 'parked')
  redis.call('PEXPIRE', s.key, ttl)
  if s.wishes > 0 then
    local channel = log_channel(base, node ~= '' and node or s.owner)
    for _, wish in ipairs(wishes_of(redis.call('HGETALL', s.key))) do
      put(channel, 'session', string.match(wish[2], '^%a+'), sid, '0', wish[1])
    end
  end
  return 1
end

-- sid, generation, ttl
function session_ops.park(base, _, _, args)
  local s, refused = open_session(base, args[1], args[2])
  if not s then
    return refused
  end
  redis.call('HSET', s.key, 'parked', text(now_ms()))
  redis.call('PEXPIRE', s.key, args[3])
  return 1
end

-- sid, generation
session_ops['end'] = function(base, _, _, args)
  local s, refused = open_session(base, args[1], args[2])
  if not s then
    return refused
  end
  redis.call('DEL', s.key)
  return 1
end

-- what, run, era to begin, log channel, token, and what it takes. What has a place in the
-- order of messages comes on the channel: {"reply", token, era, number, end, messages}
local function gh_session(keys, args)
  local what, run, era, channel, token = unpack(args)
  local op = session_ops[what]
  if not op then
    return bad('gh_session knows no ' .. tostring(what))
  end
  local h = open_head(keys[1], run, era)
  if h.begun then
    write_head(h)
  end
  local function answer(number, last, messages)
    return put(channel, 'reply', token, h.era, number, last, messages)
  end
  return op(keys[1], h, answer, {unpack(args, 6)})
end

-- --- for backends ---

-- Another key would be that of a cluster that is not there.
local function of_cluster(f)
  return function(keys, args)
    if not keys[1] or keys[2] or not string.find(keys[1] .. '@', '^gh:{0}@') then
      return bad('the one key is gh:{0}, or gh:{0}@ and the redisKey of the nodes')
    end
    return f(keys, args)
  end
end

-- namespace, room (or empty: all), the event as a JSON array or MessagePack
local function gh_emit(keys, args)
  local nsp, room, data = args[1], args[2], args[3]
  if not data or args[4] or string.sub(nsp, 1, 1) ~= '/' or string.find(nsp, '#', 1, true) then
    return bad('gh_emit takes a namespace such as /, a room or an empty string, and an event')
  end
  if string.sub(data, 1, 1) == '[' then
    local packed, why = json_to_msgpack(data)
    if not packed then
      return bad(why)
    end
    data = packed
  end
  local why = event_fault(data)
  if why then
    return bad(why)
  end
  local base = keys[1]
  -- A backend may be the first to speak to a server that has taken over.
  local h = open_head(base, this_run(), new_era())
  local caps = read_caps(h, '')
  local rooms = room == '' and '\144' or '\145' .. pack_str(room)
  local message = '\148' .. pack_str('gh-emit') .. '\131' .. pack_str('type') .. '\2' ..
    pack_str('data') .. data .. pack_str('nsp') .. pack_str(nsp) .. '\131' ..
    pack_str('rooms') .. rooms .. pack_str('except') .. '\144' .. pack_str('flags') .. '\128'
  local channel = prefix_of(base) .. '#' .. nsp .. '#' .. (room == '' and '' or room .. '#')
  local batch = open_batch(base, h, caps)
  append(batch, channel, nsp .. '#' .. room, message)
  close_batch(batch)
  return h.era .. '-' .. text(h.seq)
end

-- Its node is told, which may have it, or be about to park it or to go on with it.
local function tell_node(base, s, what, sid, room)
  put(log_channel(base, s.owner), 'session', what, sid, '0', room)
end

local function gh_disconnect(keys, args)
  local base = keys[1]
  if not args[1] or args[2] then
    return bad('gh_disconnect takes a socket id')
  end
  local s = open_session(base, args[1])
  if not s then
    return 0
  end
  tell_node(base, s, 'disconnected', args[1], '')
  redis.call('HSET', s.key, 'gone', '1')
  return 1
end

local function gh_join(keys, args)
  local base = keys[1]
  if not args[2] or args[3] or args[2] == '' then
    return bad('gh_join takes a socket id and a room')
  end
  local h = open_head(base, this_run(), new_era())
  local s = open_session(base, args[1])
  if not s then
    return 0
  end
  local spans = spans_of(s.key, args[2])
  if #spans >= SPANS_MAX then
    return bad('it was in this room too often since it answered a ping')
  end
  tell_node(base, s, 'joined', args[1], args[2])
  if #spans > 0 and not spans[#spans][2] then
    clear_wish(s, args[2])
    return 1
  end
  number_member(base, h)
  if s.parked then
    spans[#spans + 1] = {h.seq}
    redis.call('HSET', s.key, 'r:' .. args[2], format_spans('4', spans))
  else
    set_wish(s, args[2], 'joined ' .. text(h.seq))
  end
  return 1
end

local function gh_leave(keys, args)
  local base = keys[1]
  if not args[2] or args[3] or args[2] == '' then
    return bad('gh_leave takes a socket id and a room')
  end
  local h = open_head(base, this_run(), new_era())
  local s = open_session(base, args[1])
  if not s then
    return 0
  end
  tell_node(base, s, 'left', args[1], args[2])
  if leave(s, args[2], h.seq) then
    number_member(base, h)
  end
  if s.parked then
    clear_wish(s, args[2])
  else
    set_wish(s, args[2], 'left')
  end
  return 1
end

redis.register_function('gh_publish', gh_publish)
redis.register_function('gh_sync', gh_sync)
redis.register_function('gh_session', gh_session)
redis.register_function('gh_emit', of_cluster(gh_emit))
redis.register_function('gh_disconnect', of_cluster(gh_disconnect))
redis.register_function('gh_join', of_cluster(gh_join))
redis.register_function('gh_leave', of_cluster(gh_leave))
redis.register_function{
  function_name = 'gh_rooms_version',
  callback = function() return VERSION end,
  flags = {'no-writes'},
}
