-- put_boot: remember the answer to the last BootNotification of a station.
-- KEYS  1 conn:<id>   2 {conn:<id>}:boot
-- ARGV  1 boot record (JSON)   2 connection epoch   3 ttl (ms)
-- reply 1 | 0 the station has a newer connection, whose answer counts
local entry = redis.call('GET', KEYS[1])
if entry and cjson.decode(entry).epoch > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return 1
