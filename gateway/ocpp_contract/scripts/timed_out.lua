-- timed_out: note in a claim that the station has not answered in time (reported, not terminal).
-- KEYS  1 {conn:<id>}:cmd:<command id>
-- ARGV  1-3 the claim: incarnation, epoch, since
-- reply 1 marked now or before | 0 the record is no longer that claim
local stored = redis.call('GET', KEYS[1])
if not stored or string.find(stored, '{"state":"done"', 1, true) == 1 then return 0 end
local held = cjson.decode(stored)
if held.incarnation ~= ARGV[1] or held.epoch ~= tonumber(ARGV[2]) or held.since ~= tonumber(ARGV[3]) then return 0 end
if held.timedOutAt then return 1 end
local t = redis.call('TIME')
redis.call('SET', KEYS[1], string.format('{"state":"claimed","incarnation":"%s","epoch":%.0f,"since":%.0f,"timedOutAt":%.0f}',
  held.incarnation, held.epoch, held.since, t[1] * 1000000 + t[2]), 'KEEPTTL')
return 1
