-- release_dead: release what exactly this incarnation holds; for whoever knows that its process is gone.
-- KEYS  1 partition:<n>
-- ARGV  1 incarnation
-- reply 1 released | 0 not held by it
--
-- The whole incarnation decides: a pod of the same name that was started since keeps what it took.
local stored = redis.call('GET', KEYS[1])
if not stored then return 0 end
local record = cjson.decode(stored)
if record.incarnation ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], string.format('{"incarnation":null,"epoch":%.0f,"leaseUntil":0,"run":"%s"}',
  record.epoch, record.run))
return 1
