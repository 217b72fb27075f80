-- take: become the owner of a partition.
-- KEYS  1 partition:<n>
-- ARGV  1 incarnation   2 floor (us)   3 lease (us)   4 absent_ok (0|1)   5 run_id of the server, as the caller's connection knows it
-- reply {'taken', epoch, leaseUntil} | {'refused', stored record} | {'absent', stored record or ''}
--
-- Allowed when released, when the lease is over, or when the holder is an earlier process of the caller's own pod (same
-- name and uid, another random part: it cannot be alive). A record that is missing, or was written under another run of
-- the server (the last writes may be gone), proves nothing: whoever held the partition restores it, anybody else must
-- first have watched it so for a full lease (absent_ok); not even an earlier self shortens that. The epoch grows past all that was stored, the clock and what
-- the caller ever saw, so that it does not go back even when the store forgot it.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local stored = redis.call('GET', KEYS[1])
local record = stored and cjson.decode(stored)
local holder = record and record.incarnation
local mine = ARGV[1]
local earlier_self = type(holder) == 'string' and holder ~= mine
  and string.match(holder, '^(.*)/[^/]*$') == string.match(mine, '^(.*)/[^/]*$')

if not record or record.run ~= ARGV[5] then
  if ARGV[4] ~= '1' then return {'absent', stored or ''} end
elseif type(holder) == 'string' and record.leaseUntil > now and not earlier_self then
  return {'refused', stored}
end

local epoch = math.max((record and record.epoch or 0) + 1, now, tonumber(ARGV[2]))
local lease_until = now + ARGV[3]
redis.call('SET', KEYS[1], string.format('{"incarnation":"%s","epoch":%.0f,"leaseUntil":%.0f,"run":"%s"}',
  mine, epoch, lease_until, ARGV[5]))
return {'taken', epoch, lease_until}
