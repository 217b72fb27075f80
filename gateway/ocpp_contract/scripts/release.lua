-- release: give a partition up; only the own tenure.
-- KEYS  1 partition:<n>
-- ARGV  1 incarnation   2 epoch
-- reply 1 released | 0 somebody else's, or already released
--
-- The incarnation is cleared, so a renewal that is still under way cannot bring the tenure back. The epoch stays: the
-- next one must be higher.
local stored = redis.call('GET', KEYS[1])
if not stored then return 0 end
local record = cjson.decode(stored)
if record.incarnation ~= ARGV[1] or record.epoch ~= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], string.format('{"incarnation":null,"epoch":%.0f,"leaseUntil":0,"run":"%s"}',
  record.epoch, record.run))
return 1
