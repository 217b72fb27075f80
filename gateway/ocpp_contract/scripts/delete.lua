-- delete: take an entry away, only the one that is meant.
-- KEYS  1 conn:<id>   2 {conn:<id>}:last
-- ARGV  1 epoch, or ''   2 connection, or ''   3 ttl of :last (ms)
-- reply 1 deleted | 0 another one, or none
--
-- By epoch for the owner and the operator's sweep; by connection after a registration whose reply was lost. The epoch
-- stays in :last: the next registration must be higher, and an older socket must not come back.
local stored = redis.call('GET', KEYS[1])
if not stored then return 0 end
local record = cjson.decode(stored)
if not ((ARGV[1] ~= '' and record.epoch == tonumber(ARGV[1])) or (ARGV[2] ~= '' and record.connection == ARGV[2])) then
  return 0
end
redis.call('DEL', KEYS[1])
local last = math.max(record.epoch, tonumber(redis.call('GET', KEYS[2]) or 0))
redis.call('SET', KEYS[2], string.format('%.0f', last), 'PX', ARGV[3])
return 1
