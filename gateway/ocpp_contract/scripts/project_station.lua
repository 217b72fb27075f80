-- project_station: bring one record of the topic ocpp-stations into the projection.
-- KEYS  1 station:<id> (hash: record, recordOffset, credential, credentialOffset)
-- ARGV  1 'record' | 'credential'   2 offset   3 value, or '' for a tombstone   4 ttl of an empty projection (ms)
-- reply 1 applied | 0 an equal or later offset was there
--
-- The two halves have offsets of their own, so that a password change and an edit do not overwrite each other. A
-- tombstone keeps its offset for a while: an older record that comes late must not bring the station back.
local offset_field = ARGV[1] .. 'Offset'
local applied = redis.call('HGET', KEYS[1], offset_field)
if applied and tonumber(applied) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], offset_field, ARGV[2])
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
if redis.call('HEXISTS', KEYS[1], 'record') == 0 and redis.call('HEXISTS', KEYS[1], 'credential') == 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
else
  redis.call('PERSIST', KEYS[1])
end
return 1
