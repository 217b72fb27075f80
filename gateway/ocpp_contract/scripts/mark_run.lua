-- mark_run: when was this run of the server first seen?
-- KEYS  1 run:<run_id>
-- ARGV  (none)
-- reply {first seen (us), now (us)}
--
-- Both from the clock of the server that answers, so the age of the run needs no other clock.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
redis.call('SET', KEYS[1], string.format('%.0f', now), 'NX')
return {tonumber(redis.call('GET', KEYS[1])), now}
