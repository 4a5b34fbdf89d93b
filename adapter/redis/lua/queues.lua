#!lua name=gatehouse
-- Queues: a library of Redis functions, which nodes load and any client may call
-- (docs/queues.md is the contract). Each takes the queue as its only key, and makes the
-- names of the others from it; they carry the same tag.
--
--   <queue>:meta      hash: last (number drawn), bytes, settings, and counters
--   <queue>:ids       sorted set: each message that is not dead, by id
--   <queue>:dead      sorted set: each dead letter, by id
--   <queue>:messages  hash: id -> "expires failures lost group"
--   <queue>:payloads  hash: id -> payload
--   <queue>:errors    hash: id -> what the last failure said
--   <queue>:groups    hash: group -> "ready", "delayed" or "held token id consumer";
--                     a group that is not in it is idle
--   <queue>:group<g>  list: the messages of a group, in order, the one held included
--   <queue>:ready     list: groups that are ready, in the order they became so
--   <queue>:leases    sorted set: groups that are held, by the end of the lease in ms
--   <queue>:due       sorted set: groups that are delayed, and "@id" of messages that
--                     are in no group yet, by the time in ms
--   <queue>:key:<k>   string: id of the message that was pushed with this key
--   <queue>:wake      channel: something is ready, or will be at another time than before
--
-- A group is ":name", or "#id" for a message without one, which needs no list. Numbers
-- drawn are microseconds of Redis's clock, or the last one and one: they are in order, and
-- none comes again even if the queue was forgotten in between. All is checked before the
-- first write, since a function that fails is not rolled back.
local VERSION = 2
local MOVES = 100 -- groups promoted, and given back, in one call
local STEPS = 1000 -- messages looked at in one call
local TAKE_BYTES = 1048576 -- of payloads in one answer, but for the first
local META_TTL = 604800 -- s: how long an empty queue is remembered
local KEEP_MS = 86400000 -- how long an idempotency key is, unless the push says
local MS_MAX = 315360000000 -- ten years
-- length, bytes, failures, backoff in ms, its maximum
local DEFAULTS = {100000, 67108864, 5, 1000, 60000}

local function text(n)
  return string.format('%.0f', n)
end

local function whole(s, min, max)
  local n = s and string.match(s, '^%d+$') and tonumber(s)
  return n and n >= min and n <= max and n or nil
end

local function open(keys)
  local time = redis.call('TIME')
  local q = {base = keys[1], us = time[1] * 1000000 + time[2]}
  q.now = math.floor(q.us / 1000)
  for _, part in ipairs({'meta', 'ids', 'dead', 'messages', 'payloads', 'errors', 'groups',
                         'ready', 'leases', 'due'}) do
    q[part] = q.base .. ':' .. part
  end
  return q
end

local function bad(what)
  return redis.error_reply('BADARG ' .. what)
end

local function length(q)
  return redis.call('ZCARD', q.ids) + redis.call('ZCARD', q.dead)
end

-- At the end of whatever may have changed something.
local function finish(q, answer)
  if q.wake then
    redis.call('PUBLISH', q.base .. ':wake', '')
  end
  if q.removed and length(q) == 0 then
    redis.call('EXPIRE', q.meta, META_TTL)
  end
  return answer
end

local function count(q, name, n)
  redis.call('HINCRBY', q.meta, name, n)
end

local function draw(q)
  local last = tonumber(redis.call('HGET', q.meta, 'last') or '0')
  last = math.max(last + 1, q.us)
  redis.call('HSET', q.meta, 'last', text(last))
  return text(last)
end

local function parse_settings(s)
  local a, b, c, d, e = string.match(s, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  if not a or tonumber(a) < 1 or tonumber(b) < 1 or tonumber(c) < 1 then
    return nil
  end
  return {tonumber(a), tonumber(b), tonumber(c), tonumber(d), tonumber(e)}
end

-- Those of the queue. `given` takes their place once `keep` is called.
local function settings(q, given)
  local stored = redis.call('HGET', q.meta, 'settings')
  q.stored = stored
  return parse_settings(given or stored or '') or DEFAULTS
end

local function keep_settings(q, given)
  if given and given ~= q.stored then
    redis.call('HSET', q.meta, 'settings', given)
  end
end

-- name, value, and so on from args[i] on. nil: one is unknown or has no value.
local function options(args, i, known)
  local o = {}
  while args[i] do
    if not known[args[i]] or not args[i + 1] then
      return nil
    end
    o[args[i]] = args[i + 1]
    i = i + 2
  end
  return o
end

local function read(q, id)
  local m = redis.call('HGET', q.messages, id)
  if not m then
    return nil
  end
  local expires, failures, lost, group = string.match(m, '^(%d+) (%d+) (%d+) (.*)$')
  return {expires = tonumber(expires), failures = tonumber(failures),
          lost = tonumber(lost), group = group}
end

local function write(q, id, m)
  redis.call('HSET', q.messages, id,
             text(m.expires) .. ' ' .. text(m.failures) .. ' ' .. text(m.lost) .. ' ' .. m.group)
end

local function is_named(g)
  return string.sub(g, 1, 1) == ':'
end

local function size(q, id, m)
  return redis.call('HSTRLEN', q.payloads, id) + (is_named(m.group) and #m.group or 1)
end

-- The message leaves the queue for good.
local function remove(q, id, m)
  count(q, 'bytes', -size(q, id, m))
  redis.call('HDEL', q.messages, id)
  redis.call('HDEL', q.payloads, id)
  redis.call('HDEL', q.errors, id)
  redis.call('ZREM', q.ids, id)
  q.removed = true
end

-- --- the states of a group ---

local function head(q, g)
  if is_named(g) then
    return redis.call('LINDEX', q.base .. ':group' .. g, 0)
  end
  return string.sub(g, 2)
end

local function make_ready(q, g, front)
  redis.call('HSET', q.groups, g, 'ready')
  redis.call(front and 'LPUSH' or 'RPUSH', q.ready, g)
  q.wake = true
end

local function make_delayed(q, g, ms)
  redis.call('HSET', q.groups, g, 'delayed')
  redis.call('ZADD', q.due, text(q.now + ms), g)
  q.wake = true -- so that who waits asks how long
end

-- Its first message is gone: the next one's turn, or idle.
local function advance(q, g, front)
  if is_named(g) then
    redis.call('LPOP', q.base .. ':group' .. g)
    if redis.call('LLEN', q.base .. ':group' .. g) > 0 then
      make_ready(q, g, front)
      return
    end
  end
  redis.call('HDEL', q.groups, g)
end

-- A message comes to its group. Only an idle one becomes ready by that: not one in
-- back-off.
local function enter(q, id, g)
  if is_named(g) then
    redis.call('RPUSH', q.base .. ':group' .. g, id)
  end
  if redis.call('HEXISTS', q.groups, g) == 0 then
    make_ready(q, g)
  end
end

-- What a held group says of itself: token, id.
local function holder(q, g)
  local state = redis.call('HGET', q.groups, g)
  if not state then
    return nil
  end
  return string.match(state, '^held (%d+) (%d+) ')
end

-- The message `id`, if it is held with this token. nil: a late answer.
local function held(q, id, token)
  local m = read(q, id)
  if not m then
    return nil
  end
  local t, i = holder(q, m.group)
  return t == token and i == id and m or nil
end

local function give_back(q, g, delay)
  local _, id = holder(q, g)
  local m = id and read(q, id)
  redis.call('ZREM', q.leases, g)
  if not m then
    return
  end
  m.lost = m.lost + 1
  write(q, id, m)
  count(q, 'lost', 1)
  if delay > 0 then
    make_delayed(q, g, delay)
  else
    make_ready(q, g, true)
  end
end

-- What is due becomes ready.
local function promote(q)
  for _, what in ipairs(redis.call('ZRANGEBYSCORE', q.due, '-inf', text(q.now), 'LIMIT', 0,
                                   MOVES)) do
    redis.call('ZREM', q.due, what)
    if string.sub(what, 1, 1) == '@' then
      local id = string.sub(what, 2)
      local m = read(q, id)
      if m then
        enter(q, id, m.group)
      end
    elseif redis.call('HGET', q.groups, what) == 'delayed' then
      make_ready(q, what)
    end
  end
end

-- Groups of consumers that let their lease run out go to the front, the longest overdue
-- first.
local function reap_some(q, limit)
  local over = redis.call('ZRANGEBYSCORE', q.leases, '-inf', text(q.now), 'LIMIT', 0, limit)
  for i = #over, 1, -1 do
    give_back(q, over[i], 0)
  end
  return #over
end

-- --- producers ---

local PUSH = {group = true, delay = true, ttl = true, key = true, keep = true, settings = true}

local function push(keys, args)
  local q, o = open(keys), options(args, 2, PUSH)
  if not args[1] or not o then
    return bad('gh_push takes a payload, then: group G, delay MS, ttl MS, key K, keep MS, settings S')
  end
  local delay = whole(o.delay or '0', 0, MS_MAX)
  local ttl = whole(o.ttl or '0', 0, MS_MAX)
  local keep = whole(o.keep or text(KEEP_MS), 1, MS_MAX)
  if not delay or not ttl or not keep then
    return bad('delay, ttl and keep are whole numbers of milliseconds')
  end
  if o.settings and not parse_settings(o.settings) then
    return bad('settings are "length bytes failures backoff_ms backoff_ms_max"')
  end
  local key = o.key and q.base .. ':key:' .. o.key
  local first = key and redis.call('GET', key)
  if first then
    return first
  end
  local c = settings(q, o.settings)
  local n, bytes = length(q), tonumber(redis.call('HGET', q.meta, 'bytes') or '0')
  local more = #args[1] + #(o.group or '') + 1
  if n >= c[1] then
    return redis.error_reply('FULL the queue holds ' .. text(n) .. ' messages of ' .. text(c[1]))
  end
  if bytes + more > c[2] then
    return redis.error_reply('FULL the queue holds ' .. text(bytes) .. ' bytes of ' .. text(c[2]))
  end
  if n == 0 then
    redis.call('PERSIST', q.meta)
  end
  keep_settings(q, o.settings)
  local id = draw(q)
  local g = o.group and o.group ~= '' and ':' .. o.group or '#' .. id
  local m = {expires = ttl > 0 and q.now + ttl or 0, failures = 0, lost = 0, group = g}
  write(q, id, m)
  redis.call('HSET', q.payloads, id, args[1])
  redis.call('ZADD', q.ids, id, id)
  count(q, 'bytes', size(q, id, m))
  count(q, 'pushed', 1)
  if key then
    redis.call('SET', key, id, 'PX', text(keep))
  end
  if delay > 0 then
    redis.call('ZADD', q.due, text(q.now + delay), '@' .. id)
    q.wake = true
  else
    enter(q, id, g)
  end
  return finish(q, id)
end

-- --- consumers ---

-- The first message of the group that has not expired; the others are dropped. Also how
-- many were looked at. nil: the group is idle now.
local function first_good(q, g)
  local steps = 0
  while true do
    local id = head(q, g)
    local m = id and read(q, id)
    steps = steps + 1
    if m and not (m.expires > 0 and m.expires <= q.now) then
      return steps, id, m
    end
    if m then
      remove(q, id, m)
      count(q, 'expired', 1)
    end
    if is_named(g) then
      redis.call('LPOP', q.base .. ':group' .. g)
    end
    if not is_named(g) or redis.call('LLEN', q.base .. ':group' .. g) == 0 then
      redis.call('HDEL', q.groups, g)
      return steps
    end
    if steps >= STEPS then
      make_ready(q, g, true)
      return steps
    end
  end
end

-- ms until somebody should ask again though nothing was pushed; -1: nothing is to come.
local function wait(q)
  if redis.call('LLEN', q.ready) > 0 then
    return 0
  end
  local at = -1
  for _, set in ipairs({q.due, q.leases}) do
    local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    local ms = first[2] and math.max(tonumber(first[2]) - q.now, 0)
    if ms and (at < 0 or ms < at) then
      at = ms
    end
  end
  return at
end

local function take(keys, args)
  local q, o = open(keys), options(args, 4, {settings = true})
  local consumer, lease, limit = args[1], whole(args[2], 1, MS_MAX), whole(args[3] or '1', 1, 1000)
  if not consumer or not lease or not limit or not o then
    return bad('gh_take takes a consumer, a lease in ms, and how many groups (1 to 1000)')
  end
  if o.settings and not parse_settings(o.settings) then
    return bad('settings are "length bytes failures backoff_ms backoff_ms_max"')
  end
  settings(q, o.settings)
  if redis.call('HEXISTS', q.meta, 'last') == 1 then -- else nothing was pushed that could fail
    keep_settings(q, o.settings)
  end
  promote(q)
  reap_some(q, MOVES)
  local taken, steps, bytes = {}, 0, 0
  while #taken < limit and steps < STEPS and bytes < TAKE_BYTES do
    local g = redis.call('LPOP', q.ready)
    if not g then
      break
    end
    local n, id, m = first_good(q, g)
    steps = steps + n
    if id then
      local token, payload = draw(q), redis.call('HGET', q.payloads, id) or ''
      redis.call('HSET', q.groups, g, 'held ' .. token .. ' ' .. id .. ' ' .. consumer)
      redis.call('ZADD', q.leases, text(q.now + lease), g)
      bytes = bytes + #payload
      taken[#taken + 1] = {id, token, is_named(g) and string.sub(g, 2) or '', m.failures,
                           m.lost, payload}
    end
  end
  return finish(q, {wait(q), taken})
end

-- id, token, id, token, and so on from args[i] on.
local function pairs_ok(args, i)
  if not args[i] or (#args - i) % 2 == 0 then
    return false
  end
  for k = i, #args do
    if not string.match(args[k], '^%d+$') then
      return false
    end
  end
  return true
end

local function done(keys, args)
  local q, n = open(keys), 0
  if not pairs_ok(args, 1) then
    return bad('gh_done takes the id and the token of a message, or of several')
  end
  for i = 1, #args, 2 do
    local m = held(q, args[i], args[i + 1])
    if m then
      redis.call('ZREM', q.leases, m.group)
      remove(q, args[i], m)
      advance(q, m.group)
      count(q, 'done', 1)
      n = n + 1
    end
  end
  return finish(q, n)
end

-- 0: a late answer; 1: it will be tried again; 2: it is a dead letter now.
local function fail(keys, args)
  local q = open(keys)
  local id, token, why = args[1], args[2], args[3] or ''
  if not id or not token or not string.match(id .. token, '^%d+$') then
    return bad('gh_fail takes the id and the token of a message, and why')
  end
  local m = held(q, id, token)
  if not m then
    return 0
  end
  local c = settings(q)
  m.failures = m.failures + 1
  redis.call('ZREM', q.leases, m.group)
  write(q, id, m)
  redis.call('HSET', q.errors, id, string.sub(why, 1, 1000))
  count(q, 'failed', 1)
  if m.failures >= c[3] then
    redis.call('ZREM', q.ids, id)
    redis.call('ZADD', q.dead, id, id)
    advance(q, m.group)
    count(q, 'died', 1)
    return finish(q, 2)
  end
  local ms = c[4] * 2 ^ math.min(m.failures - 1, 40)
  if c[4] > 0 then
    make_delayed(q, m.group, math.min(ms, math.max(c[5], c[4])))
  else
    make_ready(q, m.group, true)
  end
  return finish(q, 1)
end

local function release(keys, args)
  local q, delay, n = open(keys), whole(args[1], 0, MS_MAX), 0
  if not delay or not pairs_ok(args, 2) then
    return bad('gh_release takes a delay in ms, and the id and the token of a message, or of several')
  end
  for i = #args - 1, 2, -2 do -- so that the first is the first at the front
    local m = held(q, args[i], args[i + 1])
    if m then
      give_back(q, m.group, delay)
      n = n + 1
    end
  end
  return finish(q, n)
end

local function extend(keys, args)
  local q, lease, n = open(keys), whole(args[1], 1, MS_MAX), 0
  if not lease or not pairs_ok(args, 2) then
    return bad('gh_extend takes a lease in ms, and the id and the token of a message, or of several')
  end
  for i = 2, #args, 2 do
    local m = held(q, args[i], args[i + 1])
    if m then
      redis.call('ZADD', q.leases, text(q.now + lease), m.group)
      n = n + 1
    end
  end
  return n
end

local function reap(keys, args)
  local q, limit = open(keys), whole(args[1] or '100', 1, 1000)
  if not limit then
    return bad('gh_reap takes how many groups (1 to 1000)')
  end
  promote(q)
  return finish(q, reap_some(q, limit))
end

-- --- who looks after it ---

local function state_of(q, id, m)
  if redis.call('ZSCORE', q.due, '@' .. id) then
    return 'delayed'
  end
  local _, i = holder(q, m.group)
  if i == id then
    return 'in flight'
  end
  if redis.call('HGET', q.groups, m.group) == 'delayed' then
    return 'delayed'
  end
  return 'waiting'
end

local function page(q, set, args, name)
  local limit = whole(args[2] or '100', 1, 1000)
  if (args[1] and args[1] ~= '' and not string.match(args[1], '^%d+$')) or not limit then
    return bad(name .. ' takes the id behind which to begin, and how many (1 to 1000)')
  end
  local answer, bytes = {}, 0
  local from = args[1] and args[1] ~= '' and '(' .. args[1] or '-inf'
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', set, from, '+inf', 'LIMIT', 0, limit)) do
    local m = read(q, id)
    if m and bytes < TAKE_BYTES then
      local payload = redis.call('HGET', q.payloads, id) or ''
      bytes = bytes + #payload
      answer[#answer + 1] = {id, is_named(m.group) and string.sub(m.group, 2) or '', m.failures,
                             m.lost, payload, set == q.dead and 'dead' or state_of(q, id, m),
                             redis.call('HGET', q.errors, id) or ''}
    end
  end
  return answer
end

local function peek(keys, args)
  local q = open(keys)
  return page(q, q.ids, args, 'gh_peek')
end

local function dead_list(keys, args)
  local q = open(keys)
  return page(q, q.dead, args, 'gh_dead_list')
end

-- The ids given, or the first so many.
local function chosen(q, args)
  if args[1] == 'all' then
    return redis.call('ZRANGE', q.dead, 0, STEPS - 1)
  end
  local ids = {}
  for i = 1, #args do
    if not string.match(args[i], '^%d+$') then
      return nil
    end
    if redis.call('ZSCORE', q.dead, args[i]) then
      ids[#ids + 1] = args[i]
    end
  end
  return #args > 0 and ids or nil
end

local function dead_requeue(keys, args)
  local q, n, seen = open(keys), 0, {}
  local ids = chosen(q, args)
  if not ids then
    return bad('gh_dead_requeue takes ids, or "all" (1000 in one call)')
  end
  for _, id in ipairs(ids) do
    local m = not seen[id] and read(q, id)
    seen[id] = true
    if m then
      m.failures, m.lost, m.expires = 0, 0, 0
      write(q, id, m)
      redis.call('HDEL', q.errors, id)
      redis.call('ZREM', q.dead, id)
      redis.call('ZADD', q.ids, id, id)
      enter(q, id, m.group)
      n = n + 1
    end
  end
  return finish(q, n)
end

local function dead_drop(keys, args)
  local q, n, seen = open(keys), 0, {}
  local ids = chosen(q, args)
  if not ids then
    return bad('gh_dead_drop takes ids, or "all" (1000 in one call)')
  end
  for _, id in ipairs(ids) do
    local m = not seen[id] and read(q, id)
    seen[id] = true
    if m then
      remove(q, id, m)
      redis.call('ZREM', q.dead, id)
      n = n + 1
    end
  end
  return finish(q, n)
end

local function stats(keys)
  local q = open(keys)
  local answer = {'length', redis.call('ZCARD', q.ids), 'in_flight', redis.call('ZCARD', q.leases),
                  'ready', redis.call('LLEN', q.ready), 'delayed', redis.call('ZCARD', q.due),
                  'dead', redis.call('ZCARD', q.dead)}
  local first = redis.call('ZRANGE', q.ids, 0, 0)[1]
  answer[#answer + 1] = 'oldest_ms'
  answer[#answer + 1] = first and math.max(math.floor((q.us - tonumber(first)) / 1000), 0) or 0
  for _, name in ipairs({'bytes', 'pushed', 'done', 'failed', 'lost', 'expired', 'died'}) do
    answer[#answer + 1] = name
    answer[#answer + 1] = tonumber(redis.call('HGET', q.meta, name) or '0')
  end
  return answer
end

local function set_settings(keys, args)
  local q = open(keys)
  if not args[1] or not parse_settings(args[1]) then
    return bad('gh_settings takes "length bytes failures backoff_ms backoff_ms_max"')
  end
  redis.call('HSET', q.meta, 'settings', args[1])
  return redis.status_reply('OK')
end

local function version()
  return VERSION
end

-- Another key would be that of a queue nobody takes from.
local function of_queue(f)
  return function(keys, args)
    if not keys[1] or keys[2] or not string.find(keys[1] .. '@', '^gh:{q:[^}]+}@') then
      return bad('the one key is gh:{q:NAME}, or gh:{q:NAME}@ and the redisKey of the nodes')
    end
    return f(keys, args)
  end
end

redis.register_function('gh_push', of_queue(push))
redis.register_function('gh_take', of_queue(take))
redis.register_function('gh_done', of_queue(done))
redis.register_function('gh_fail', of_queue(fail))
redis.register_function('gh_release', of_queue(release))
redis.register_function('gh_extend', of_queue(extend))
redis.register_function('gh_reap', of_queue(reap))
redis.register_function('gh_dead_requeue', of_queue(dead_requeue))
redis.register_function('gh_dead_drop', of_queue(dead_drop))
redis.register_function('gh_settings', of_queue(set_settings))

-- These only read. (At load time there is no pairs() to go over a table of them.)
local function register_reader(name, f)
  redis.register_function{function_name = name, callback = f, flags = {'no-writes'}}
end
register_reader('gh_peek', of_queue(peek))
register_reader('gh_dead_list', of_queue(dead_list))
register_reader('gh_stats', of_queue(stats))
register_reader('gh_queues_version', version)
