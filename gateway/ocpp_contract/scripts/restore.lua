-- restore: put back the record of a partition that the store forgot; only for the pod that held it.
-- KEYS  1 partition:<n>
-- ARGV  1 incarnation   2 epoch   3 lease (us)   4 run_id
-- reply 'held' | 'lost'
--
-- Writes when the record is missing, or is an older one that came back with another run (a failover loses the last
-- writes). A record of this run, or one with a higher epoch, is somebody's take: it stays.
local stored = redis.call('GET', KEYS[1])
local epoch = tonumber(ARGV[2])
if stored then
  local record = cjson.decode(stored)
  local own = record.incarnation == ARGV[1] and record.epoch == epoch
  if not own and (record.run == ARGV[4] or record.epoch >= epoch) then return 'lost' end
end
local t = redis.call('TIME')
redis.call('SET', KEYS[1], string.format('{"incarnation":"%s","epoch":%.0f,"leaseUntil":%.0f,"run":"%s"}',
  ARGV[1], epoch, t[1] * 1000000 + t[2] + ARGV[3], ARGV[4]))
return 'held'
