-- refresh: keep, move or re-assert the own entry of a station.
-- KEYS  1 conn:<id>   2 {conn:<id>}:last
-- ARGV  1 connection record (JSON, whole)   2 epoch   3 connection   4 proven (0|1)   5 ttl (ms)   6 ttl of :last (ms)
-- reply {'ok', what was there: 'same' | 'older' | 'none'} | {'lost', stored record or ''} | {'unproven', 'older' | 'none'}
--
-- A higher epoch, stored or only remembered in :last, means that the station has moved: the caller's socket is the old
-- one. Equal: extend, and write the record (the partition may have changed). Missing or lower: the store forgot; the
-- record is written unchanged, but only for a socket that has answered a ping since (a half-open one must not win).
local epoch = tonumber(ARGV[2])
local stored = redis.call('GET', KEYS[1])
local record = stored and cjson.decode(stored)
local last = tonumber(redis.call('GET', KEYS[2]) or 0)
if last > epoch then return {'lost', stored or ''} end
local was = 'none'
if record then
  if record.epoch > epoch then return {'lost', stored} end
  if record.epoch == epoch and record.connection ~= ARGV[3] then return {'lost', stored} end
  was = record.epoch == epoch and 'same' or 'older'
end
if was ~= 'same' and ARGV[4] ~= '1' then return {'unproven', was} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[5])
redis.call('SET', KEYS[2], string.format('%.0f', epoch), 'PX', ARGV[6])
return {'ok', was}
