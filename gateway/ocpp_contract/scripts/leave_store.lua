-- leave_store: take the own claim away; the resource is gone.
-- KEYS  1 claim
-- ARGV  1 uid
-- reply 1 taken away | 0 another's, or none
local stored = redis.call('GET', KEYS[1])
if not stored or string.find(stored, '{"uid":"' .. ARGV[1] .. '"', 1, true) ~= 1 then return 0 end
redis.call('DEL', KEYS[1])
return 1
