-- register: publish which pod holds a station's socket, under a new epoch.
-- KEYS  1 conn:<id>   2 {conn:<id>}:last
-- ARGV  1 connection record (JSON; its epoch is stamped here)   2 floor (us)   3 not_after (us)   4 ttl (ms)   5 ttl of :last (ms)
-- reply {'ok', epoch} | {'late', now}
--
-- Last writer wins: the newest socket is the station's. The epoch grows past the stored one, past the last one ever
-- given (:last outlives the entry), the clock, and the highest time that the caller's pod ever saw (a store that came
-- back with an older clock or without data). A request that arrives after not_after was given up by its sender.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
if now > tonumber(ARGV[3]) then return {'late', now} end
local stored = redis.call('GET', KEYS[1])
local epoch = math.max(
  (stored and cjson.decode(stored).epoch or 0) + 1,
  tonumber(redis.call('GET', KEYS[2]) or 0) + 1,
  now,
  tonumber(ARGV[2]))
local text = string.format('%.0f', epoch)
redis.call('SET', KEYS[1], (string.gsub(ARGV[1], '"epoch":%d+', '"epoch":' .. text, 1)), 'PX', ARGV[4])
redis.call('SET', KEYS[2], text, 'PX', ARGV[5])
return {'ok', epoch}
