-- claim: the right to write a command to a socket, taken before every write.
-- KEYS  1 conn:<id>   2 {conn:<id>}:cmd:<command id>
-- ARGV  1 incarnation   2 connection epoch   3 not_after (us)   4 ttl (ms)
--       5-7 the claim that may be replaced: incarnation, epoch, since; all '' when none may
-- reply {'ok', claimed record} | {'late', now} | {'moved', connection record or ''} | {'exists', stored record}
--
-- The entry of the station is checked in the same step (same slot): a half-open old socket cannot be written to after
-- the station has moved. A request that arrives after not_after was given up by its sender.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
if now > tonumber(ARGV[3]) then return {'late', now} end
local entry = redis.call('GET', KEYS[1])
local epoch = tonumber(ARGV[2])
if not entry or cjson.decode(entry).epoch ~= epoch then return {'moved', entry or ''} end
local stored = redis.call('GET', KEYS[2])
if stored then
  if string.find(stored, '{"state":"done"', 1, true) == 1 then return {'exists', stored} end
  local held = cjson.decode(stored)
  local replace = ARGV[5] ~= '' and held.incarnation == ARGV[5]
    and held.epoch == tonumber(ARGV[6]) and held.since == tonumber(ARGV[7])
  if not replace then return {'exists', stored} end
end
local record = string.format('{"state":"claimed","incarnation":"%s","epoch":%.0f,"since":%.0f}', ARGV[1], epoch, now)
redis.call('SET', KEYS[2], record, 'PX', ARGV[4])
return {'ok', record}
