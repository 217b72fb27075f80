-- renew: prolong the lease of a partition that the caller holds.
-- KEYS  1 partition:<n>
-- ARGV  1 incarnation   2 epoch   3 lease (us)   4 run_id
-- reply {'held' | 'lost' | 'absent', stored epoch or 0}
--
-- 'absent' also answers a record of another run with a lower epoch: the store forgot the caller's tenure, nobody
-- succeeded it. The caller may restore, it has not lost.
local stored = redis.call('GET', KEYS[1])
if not stored then return {'absent', 0} end
local record = cjson.decode(stored)
local epoch = tonumber(ARGV[2])
if record.incarnation == ARGV[1] and record.epoch == epoch then
  local t = redis.call('TIME')
  redis.call('SET', KEYS[1], string.format('{"incarnation":"%s","epoch":%.0f,"leaseUntil":%.0f,"run":"%s"}',
    ARGV[1], epoch, t[1] * 1000000 + t[2] + ARGV[3], ARGV[4]))
  return {'held', epoch}
end
if record.run ~= ARGV[4] and record.epoch < epoch then return {'absent', record.epoch} end
return {'lost', record.epoch}
