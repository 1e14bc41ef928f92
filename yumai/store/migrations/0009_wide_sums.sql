-- A block holds up to 1,024 × 4,096 entries of up to 10^13 fen: more than 63 bits, in one cell too. The table that a
-- cluster's queries name has columns of its own; on one server the second statement changes nothing.
ALTER TABLE cells{shard}
    MODIFY COLUMN sales_fen Int128,
    MODIFY COLUMN refunds_fen Int128,
    MODIFY COLUMN sale_reversals_fen Int128,
    MODIFY COLUMN refund_reversals_fen Int128;

ALTER TABLE cells{everywhere}
    MODIFY COLUMN sales_fen Int128,
    MODIFY COLUMN refunds_fen Int128,
    MODIFY COLUMN sale_reversals_fen Int128,
    MODIFY COLUMN refund_reversals_fen Int128;

ALTER TABLE blocks{shard} MODIFY COLUMN net_fen Int128;

ALTER TABLE blocks{everywhere} MODIFY COLUMN net_fen Int128;
