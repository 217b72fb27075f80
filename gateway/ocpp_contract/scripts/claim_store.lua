-- claim_store: name the resource whose keys these are.
-- KEYS  1 claim
-- ARGV  1 claim (JSON; its leaseUntil is stamped here)   2 text of the claim that the caller saw, or ''   3 uid   4 lease (us)
-- reply {1, the claim as written} | {0, what stands there, or ''}
--
-- Who may have it is decided by the caller, on what it saw; written only while that still stands there, so that two who
-- decide at once do not both have it. What is one's own already may be written again (a reply that was lost, a renewal).
-- The uid is the first field of a claim. No key expiry: a claim whose lease is over still names its resource to people.
local stored = redis.call('GET', KEYS[1])
if (stored or '') ~= ARGV[2] and not (stored and string.find(stored, '{"uid":"' .. ARGV[3] .. '"', 1, true) == 1) then
  return {0, stored or ''}
end
local t = redis.call('TIME')
local until_us = string.format('"leaseUntil":%.0f', t[1] * 1000000 + t[2] + ARGV[4])
local text = string.gsub(ARGV[1], '"leaseUntil":%d+', until_us, 1)
redis.call('SET', KEYS[1], text)
return {1, text}
