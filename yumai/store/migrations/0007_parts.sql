-- The ledger keeps parts of 256 MB (0005), so their number grows for ever, by design. The engine delays
-- inserts from 1,000 parts on and refuses them at 3,000, unless parts are of this size on average: only many
-- small parts are a fault.
ALTER TABLE entries{shard} MODIFY SETTING max_avg_part_size_for_too_many_parts = 67108864;

ALTER TABLE cells{shard} MODIFY SETTING max_avg_part_size_for_too_many_parts = 134217728;
