-- end_tx: note that a transaction has ended: its natural key may come again with a new generation.
-- KEYS  1 {conn:<id>}:tx:<digest of the natural key>
-- ARGV  1 transaction id   2 ttl (ms)
-- reply 1 ended now or before | 0 unknown, or the key belongs to another transaction
local stored = redis.call('GET', KEYS[1])
if not stored or cjson.decode(stored).transactionId ~= ARGV[1] then return 0 end
local record = string.gsub(stored, '"ended":false', '"ended":true', 1)
redis.call('SET', KEYS[1], record, 'PX', ARGV[2])
return 1
