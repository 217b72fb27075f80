-- assert_record: tell the store again what the caller knows of a command, after the store lost data.
-- KEYS  1 {conn:<id>}:cmd:<command id>
-- ARGV  1 record (JSON, claimed or done)   2 ttl (ms)
-- reply the stored record
--
-- none < claimed < done: the record only ever moves up.
local stored = redis.call('GET', KEYS[1])
local function done(text) return string.find(text, '{"state":"done"', 1, true) == 1 end
if stored and (done(stored) or not done(ARGV[1])) then return stored end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
