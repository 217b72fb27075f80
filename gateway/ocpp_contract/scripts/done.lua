-- done: the one terminal outcome of a command, set if there is none.
-- KEYS  1 {conn:<id>}:cmd:<command id>
-- ARGV  1 done record (JSON)   2 only_from_none (0|1)   3 ttl (ms)
-- reply the stored record: the one that is to be published, or a claim that forbids an outcome which says "never written"
local stored = redis.call('GET', KEYS[1])
if stored and (ARGV[2] == '1' or string.find(stored, '{"state":"done"', 1, true) == 1) then return stored end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return ARGV[1]
