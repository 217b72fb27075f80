-- put_back: undo a claim under which nothing was written.
-- KEYS  1 {conn:<id>}:cmd:<command id>
-- ARGV  1-3 the claim: incarnation, epoch, since   4 the record that it replaced (JSON), or ''
-- reply 1 put back | 0 the record is no longer that claim
--
-- To what it replaced, not to nothing: back to nothing would make Expired legal for a command that an earlier claim
-- wrote. `since` is compared too: a put_back that arrives late must not undo the same pod's next claim.
local stored = redis.call('GET', KEYS[1])
if not stored or string.find(stored, '{"state":"done"', 1, true) == 1 then return 0 end
local held = cjson.decode(stored)
if held.incarnation ~= ARGV[1] or held.epoch ~= tonumber(ARGV[2]) or held.since ~= tonumber(ARGV[3]) then return 0 end
if ARGV[4] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[4], 'KEEPTTL') end
return 1
