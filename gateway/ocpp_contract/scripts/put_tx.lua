-- put_tx: remember the whole answer to a StartTransaction, for the retry that may come to another pod.
-- KEYS  1 {conn:<id>}:tx:<digest of the natural key>   2 {conn:<id>}:tx:id:<transaction id>
-- ARGV  1 record (JSON: {"generation":n,"ended":false,...})   2 generation   3 digest   4 ttl (ms)
-- reply the stored record
--
-- A record of the same generation stays (two copies of one message get one answer); a later generation replaces an
-- ended one (a station with a broken clock repeats its natural key). The second key finds the record at the stop.
local stored = redis.call('GET', KEYS[1])
if stored then
  local generation, ended = string.match(stored, '^{"generation":(%d+),"ended":(%a+)')
  if ended ~= 'true' or tonumber(generation) >= tonumber(ARGV[2]) then return stored end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return ARGV[1]
