-- A row of the ledger need not be merged again once its part is of this size: rows are sorted and
-- unique as they come, and on 20 million rows merging them once more cost as much as writing them.
ALTER TABLE entries{shard} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 268435456;

ALTER TABLE cells{shard} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 536870912;
